//! What is asked for.

use std::net::SocketAddr;
use std::time::Duration;

/// The one request that is sent over and over, ready to be written.
pub struct Request {
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

impl Request {
    /// `headers` are whole lines without their line break.
    pub fn get(to: SocketAddr, path: &str, headers: &[String]) -> Self {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        Self { to, bytes: format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n{headers}\r\n").into() }
    }
}

/// A load at a fixed rate.
pub struct Plan {
    pub request: Request,
    /// Requests per second, over all connections together.
    pub rate: f64,
    pub connections: usize,
    pub measured: Duration,
    /// What is due in this time before the measured one counts nowhere.
    pub warm_up: Duration,
    /// The status that every answer should have.
    pub expected: u16,
}

impl Plan {
    pub fn check(&self) -> Result<(), String> {
        match (self.rate > 0.0 && self.rate <= RATE_MAX, self.connections > 0) {
            (true, true) => Ok(()),
            (false, _) => Err(format!("--rate: above 0 and up to {RATE_MAX}")),
            (_, false) => Err("--connections: at least 1".to_owned()),
        }
    }
}

/// Connections that do nothing.
pub struct Hold {
    pub request: Request,
    pub connections: usize,
    /// Hold them until standard input says otherwise.
    pub stepped: bool,
}

/// A nanosecond apart: no two requests are due at once. Requests per second.
const RATE_MAX: f64 = 1e9;
