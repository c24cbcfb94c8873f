//! `health`: asks the running gateway for its readiness, as a container's health check does.
//!
//! A process of its own, gone after one question: std's blocking sockets are enough.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::config::keys::tokens::{JWT_SECRET, JWT_SECRET_FILE};
use crate::config::{self, Config, Lowered, Mistakes, Written};

/// What the gateway said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Traffic should come: it is ready, or works with less than it was configured to.
    pub is_ready: bool,
    /// Its answer, line break included.
    pub text: String,
}

/// The configuration as `run` reads it, except that it needs no secret: nothing is signed or verified here, and
/// the gateway that is asked may have made up its own (`demo`).
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(written: Written) -> Result<Lowered, Mistakes> {
    let defaults = |written: &Written| {
        let secret = written.get(&JWT_SECRET).or(written.get(&JWT_SECRET_FILE));
        match secret {
            Some(_) => Written::default(),
            None => Written::default().with(&JWT_SECRET, "no token is signed or verified here"),
        }
    };
    // Whether the CPUs and routes would do for a start is not asked: this starts nothing.
    config::load_over(written, defaults, |_| Vec::new())
}

/// Asks the gateway that runs with this configuration: its admin listener, which tells more, or without one the
/// public listener.
///
/// # Errors
/// Nobody answers in time, or what answers is not this gateway; in words.
pub fn ask(config: &Config) -> Result<Report, String> {
    let (key, address) = address(config);
    if address.port() == 0 {
        return Err(format!("{key}: port 0 is one that the kernel chose: nobody can know it"));
    }
    let failed = |error: io::Error| format!("{key}: {address} does not answer: {error}");
    let answer = exchange(address, Instant::now() + TIMEOUT).map_err(failed)?;
    report(&answer).ok_or_else(|| format!("{key}: what listens on {address} is no gateway of ours"))
}

/// Where to ask, and the setting that says so.
fn address(config: &Config) -> (&'static str, SocketAddr) {
    let (key, ip, port) = match (config.admin_addr, config.listen.bind) {
        (Some(admin), _) => ("ADMIN_ADDR", admin.ip(), admin.port()),
        // Every address: IPv4 always, IPv6 too where the host has it.
        (None, None) => ("PORT", Ipv4Addr::UNSPECIFIED.into(), config.listen.port),
        (None, Some(bind)) => ("PORT", bind, config.listen.port),
    };
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (key, SocketAddr::new(ip, port))
}

/// One question and the whole answer, within one deadline.
fn exchange(address: SocketAddr, deadline: Instant) -> io::Result<Vec<u8>> {
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        // std takes a timeout of zero for a mistake.
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let question = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while answer.len() < ANSWER_BYTES_MAX {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            // What a socket of Linux calls a timeout.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// What the answer says; `None`: it is none of ours.
fn report(answer: &[u8]) -> Option<Report> {
    let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    let is_ready = match head.strip_prefix("HTTP/1.1 ")?.split_whitespace().next()? {
        "200" => true,
        "503" => false,
        _ => return None,
    };
    let readiness = body.lines().next()?;
    let is_word = !readiness.is_empty() && readiness.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_word.then(|| Report { is_ready, text: format!("{}\n", body.trim_end()) })
}

/// How long the gateway may take in all. Shorter than what a container's health check is given.
const TIMEOUT: Duration = Duration::from_secs(3);

/// More than 1,024 cores have to say.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(toml: &str) -> (&'static str, String) {
        let (key, address) = address(&config::testing::config(toml));
        (key, address.to_string())
    }

    #[test]
    fn asks_the_admin_listener_or_else_the_public_one() {
        for (toml, key, address) in [
            ("", "ADMIN_ADDR", "127.0.0.1:9901"),
            ("admin_addr = '10.0.0.1:7'", "ADMIN_ADDR", "10.0.0.1:7"),
            ("admin_addr = '0.0.0.0:7'", "ADMIN_ADDR", "127.0.0.1:7"),
            ("admin_addr = '[::]:7'", "ADMIN_ADDR", "[::1]:7"),
            ("admin_addr = 'off'", "PORT", "127.0.0.1:8080"),
            ("admin_addr = 'off'\nport = 9\nbind = '::'", "PORT", "[::1]:9"),
            ("admin_addr = 'off'\nbind = '192.0.2.1'", "PORT", "192.0.2.1:8080"),
        ] {
            assert_eq!(asked(toml), (key, address.to_owned()), "{toml}");
        }
    }

    #[test]
    fn needs_no_secret() {
        assert!(load(Written::default()).is_ok());
    }

    #[test]
    fn tells_our_answers_from_others() {
        let told = |answer: &str| report(answer.as_bytes()).map(|report| (report.is_ready, report.text));
        let admin = "HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\ndegraded\ncore 0: cpu 0, io_uring\n";
        assert_eq!(told(admin), Some((true, "degraded\ncore 0: cpu 0, io_uring\n".into())));
        let public = "HTTP/1.1 503 Service Unavailable\r\n\r\ncore_down";
        assert_eq!(told(public), Some((false, "core_down\n".into())));
        for other in [
            "",
            "+PONG\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n<html>",
            "HTTP/1.1 404 Not Found\r\n\r\nnot found\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n",
        ] {
            assert_eq!(told(other), None, "{other:?}");
        }
    }
}
