//! The subcommand `health`: queries the readiness of the running gateway, for example as the health check of a
//! container.
//!
//! The process ends after one request, so blocking sockets of the standard library are sufficient.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::config::keys::tokens::{JWT_SECRET, JWT_SECRET_FILE};
use crate::config::{self, Config, Lowered, Mistakes, Written};

/// The readiness of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the gateway should receive traffic: it is ready or degraded.
    pub is_ready: bool,
    /// The response body, including the line break.
    pub text: String,
}

/// Reads the configuration like `run`, but does not require a secret: this subcommand neither signs nor verifies
/// tokens, and a gateway in `demo` mode generates its own secret.
///
/// # Errors
/// Returns all mistakes in the configuration.
pub fn load(written: Written) -> Result<Lowered, Mistakes> {
    let defaults = |written: &Written| {
        let secret = written.get(&JWT_SECRET).or(written.get(&JWT_SECRET_FILE));
        match secret {
            Some(_) => Written::default(),
            None => Written::default().with(&JWT_SECRET, "no token is signed or verified here"),
        }
    };
    // CPUs and routes are not checked, because this subcommand starts no gateway.
    config::load_over(written, defaults, |_| Vec::new())
}

/// Queries the gateway that runs with this configuration. Uses the admin listener, which reports more details, or the
/// public listener if the admin listener is off.
///
/// # Errors
/// Returns a line for the operator if the address does not answer in time or the response is not from this gateway.
pub fn query(config: &Config) -> Result<Report, String> {
    let (key, address) = address(config);
    if address.port() == 0 {
        return Err(format!(
            "{key}: is port 0: the kernel has chosen the port, and the configuration does not show it"
        ));
    }
    let failed = |error: io::Error| format!("{key}: {address} does not answer: {error}");
    let response = exchange(address, Instant::now() + TIMEOUT).map_err(failed)?;
    report(&response).ok_or_else(|| format!("{key}: the server at {address} is not a realchat-gateway"))
}

/// Returns the address to query, and the name of the setting that defines the address.
fn address(config: &Config) -> (&'static str, SocketAddr) {
    let (key, ip, port) = match (config.admin_addr, config.listen.bind) {
        (Some(admin), _) => ("ADMIN_ADDR", admin.ip(), admin.port()),
        // The public listener listens on IPv4 in any case, and on IPv6 only if the host supports it.
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

/// Sends one request and reads the whole response before the deadline.
fn exchange(address: SocketAddr, deadline: Instant) -> io::Result<Vec<u8>> {
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        // The standard library rejects a timeout of zero.
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut response, mut piece) = (Vec::new(), [0; 4096]);
    while response.len() < RESPONSE_BYTES_MAX {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => response.extend_from_slice(&piece[..count]),
            // Linux reports a timeout of a blocking socket as EAGAIN.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(response)
}

/// Parses the response. Returns `None` if it is not a readiness response of this gateway.
fn report(response: &[u8]) -> Option<Report> {
    let (head, body) = std::str::from_utf8(response).ok()?.split_once("\r\n\r\n")?;
    let is_ready = match head.strip_prefix("HTTP/1.1 ")?.split_whitespace().next()? {
        "200" => true,
        "503" => false,
        _ => return None,
    };
    let readiness = body.lines().next()?;
    let is_word = !readiness.is_empty() && readiness.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_word.then(|| Report { is_ready, text: format!("{}\n", body.trim_end()) })
}

/// Timeout of the whole query. Shorter than the usual timeout of a container's health check.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum size of the response in bytes. Larger than the response of a gateway with 1,024 cores.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(toml: &str) -> (&'static str, String) {
        let (key, address) = address(&config::testing::config(toml));
        (key, address.to_string())
    }

    #[test]
    fn queries_the_admin_listener_or_else_the_public_listener() {
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
    fn recognizes_responses_of_the_gateway() {
        let parsed =
            |response: &str| report(response.as_bytes()).map(|report| (report.is_ready, report.text));
        let admin = "HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\ndegraded\ncore 0: cpu 0, io_uring\n";
        assert_eq!(parsed(admin), Some((true, "degraded\ncore 0: cpu 0, io_uring\n".into())));
        let public = "HTTP/1.1 503 Service Unavailable\r\n\r\ncore_down";
        assert_eq!(parsed(public), Some((false, "core_down\n".into())));
        for other in [
            "",
            "+PONG\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n<html>",
            "HTTP/1.1 404 Not Found\r\n\r\nnot found\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n",
        ] {
            assert_eq!(parsed(other), None, "{other:?}");
        }
    }
}
