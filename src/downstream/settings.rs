//! What a configuration says about clients' connections.

use crate::http1::HeadLimits;
use crate::net::Pace;

/// Bounds and timeouts of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bounds of a request's head.
    pub head_limits: HeadLimits,
    /// For a whole request head, in milliseconds (slowloris).
    pub request_head_ms: u64,
    /// For the next request on a connection, in milliseconds.
    pub keep_alive_ms: u64,
    /// For a client to move its body, or to take ours, in milliseconds.
    pub body_ms: u64,
    /// The floor of a body's average rate, in bytes per second of waiting; 0: none.
    pub body_rate_min: u64,
    /// A client may speak HTTP/2 from its first byte on a connection in the clear.
    pub is_h2c: bool,
}

impl Settings {
    /// The slowest pace that is accepted of a client that sends or receives a body.
    pub fn pace(&self) -> Pace {
        self.pace_of(self.body_ms)
    }

    /// The same with another time to move a body in, in milliseconds.
    pub fn pace_of(&self, body_ms: u64) -> Pace {
        Pace::new(body_ms, self.body_rate_min)
    }
}
