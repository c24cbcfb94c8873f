//! Opens a connection to one address, or to the first of several addresses that accepts one.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use socket2::SockRef;

use super::errno::errno_name;
use crate::clock;
use crate::limits::{TICK_MS, UNSENT_BYTES_MAX, UPSTREAM_RECEIVE_BYTES};
use crate::net::tls::Fault;
use crate::net::{Elapsed, Endpoint, StreamSocket, Timers, Transport};

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The name is not resolved yet, or has no address.
    NoAddress,
    /// The address refuses or is unreachable, or the gateway has no ports or file descriptors left.
    Failed(io::Error),
    /// There was no answer in time.
    TimedOut,
    /// The TLS handshake has failed.
    Tls(Fault),
}

impl ConnectError {
    /// The cause as a stable word: `no_address`, `connect_timeout`, the name of the system's error, or that of a fault
    /// of TLS.
    pub fn cause(&self) -> &'static str {
        match self {
            ConnectError::NoAddress => "no_address",
            ConnectError::Failed(error) => errno_name(error),
            ConnectError::TimedOut => "connect_timeout",
            ConnectError::Tls(fault) => fault.cause(),
        }
    }

    /// The process or the machine has no file descriptors left.
    pub fn lacks_descriptors(&self) -> bool {
        matches!(self.errno(), Some(Errno::MFILE | Errno::NFILE))
    }

    /// This machine lacks something: descriptors, ports or memory. It says nothing about the address.
    pub fn is_own(&self) -> bool {
        let own = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOMEM, Errno::NOBUFS];
        matches!(self, ConnectError::NoAddress) || self.errno().is_some_and(|errno| own.contains(&errno))
    }

    fn errno(&self) -> Option<Errno> {
        match self {
            ConnectError::Failed(error) => Errno::from_io_error(error),
            _ => None,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::NoAddress => f.write_str("the name has no address"),
            ConnectError::Failed(error) => error.fmt(f),
            ConnectError::TimedOut => f.write_str("no answer in time"),
            ConnectError::Tls(fault) => f.write_str(fault.cause()),
        }
    }
}

/// Connects, until the coarse clock shows `deadline_ms`.
pub async fn connect(
    endpoint: &Endpoint,
    timers: &Timers,
    deadline_ms: u64,
) -> Result<Transport, ConnectError> {
    let failed = |errno: Errno| ConnectError::Failed(errno.into());
    let (socket, begun) = begin(endpoint, timers, deadline_ms).await?;
    let stream = match begun {
        Begun::Connected => return plain(socket),
        Begun::Pending => StreamSocket::new(socket).map_err(ConnectError::Failed)?,
    };
    match timers.until(deadline_ms, pin!(stream.writable())).await {
        Ok(polled) => polled.map_err(ConnectError::Failed)?,
        Err(Elapsed) => return Err(ConnectError::TimedOut),
    }
    // connect(2): once the socket is writable, SO_ERROR says whether it is connected.
    stream.connected().map_err(failed)?;
    Ok(Transport::Plain(stream))
}

/// An address that a connection may lead to.
pub trait Candidate {
    /// The address.
    fn endpoint(&self) -> &Endpoint;

    /// No connection to this address could be opened.
    fn failed(&self, _error: &ConnectError) {}
}

impl Candidate for &Endpoint {
    fn endpoint(&self) -> &Endpoint {
        self
    }
}

/// Connects to the first candidate that accepts, in their order. `deadline_ms` is called before each attempt. `secure`
/// is what else has to succeed on a new connection, until the same deadline. If a candidate does not answer in time,
/// the search ends, because the time is used up.
///
/// # Errors
/// Why the last candidate that was tried failed.
pub async fn connect_any<C: Candidate>(
    candidates: impl Iterator<Item = C>,
    timers: &Timers,
    deadline_ms: impl Fn() -> u64,
    secure: impl AsyncFn(Transport, u64) -> Result<Transport, ConnectError>,
) -> Result<(Transport, C), ConnectError> {
    let mut failure = ConnectError::NoAddress;
    for candidate in candidates {
        let deadline_ms = deadline_ms();
        let secured = match connect(candidate.endpoint(), timers, deadline_ms).await {
            Ok(transport) => secure(transport, deadline_ms).await,
            Err(error) => Err(error),
        };
        match secured {
            Ok(transport) => return Ok((transport, candidate)),
            Err(error) => failure = error,
        }
        candidate.failed(&failure);
        if matches!(failure, ConnectError::TimedOut) {
            break;
        }
    }
    Err(failure)
}

fn plain(socket: OwnedFd) -> Result<Transport, ConnectError> {
    StreamSocket::new(socket).map(Transport::Plain).map_err(ConnectError::Failed)
}

enum Begun {
    Connected,
    Pending,
}

async fn begin(
    endpoint: &Endpoint,
    timers: &Timers,
    deadline_ms: u64,
) -> Result<(OwnedFd, Begun), ConnectError> {
    let failed = |errno: Errno| ConnectError::Failed(errno.into());
    let socket = socket_for(endpoint).map_err(failed)?;
    loop {
        match begin_once(&socket, endpoint) {
            Ok(()) => return Ok((socket, Begun::Connected)),
            Err(Errno::INPROGRESS) => return Ok((socket, Begun::Pending)),
            // A Unix socket with a full backlog fails at once, and there is nothing to poll for.
            Err(Errno::AGAIN) if matches!(endpoint, Endpoint::Unix(..)) => {
                let now = clock::now_ms();
                if now >= deadline_ms {
                    return Err(ConnectError::TimedOut);
                }
                timers.sleep_until(deadline_ms.min(now + TICK_MS)).await;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

fn begin_once(socket: &OwnedFd, endpoint: &Endpoint) -> Result<(), Errno> {
    match endpoint {
        Endpoint::Tcp(address, _) => rustix::net::connect(socket, address),
        Endpoint::Unix(path, _) => rustix::net::connect(socket, &SocketAddrUnix::new(&**path)?),
    }
}

fn socket_for(endpoint: &Endpoint) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let family = match endpoint {
        Endpoint::Tcp(SocketAddr::V4(_), _) => AddressFamily::INET,
        Endpoint::Tcp(SocketAddr::V6(_), _) => AddressFamily::INET6,
        Endpoint::Unix(..) => AddressFamily::UNIX,
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if family != AddressFamily::UNIX {
        sockopt::set_tcp_nodelay(socket.as_fd(), true)?;
        // Before it connects: the window is agreed on in the handshake.
        sockopt::set_socket_recv_buffer_size(socket.as_fd(), UPSTREAM_RECEIVE_BYTES)?;
        // A kernel without the option holds more.
        let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failed_connect_names_its_cause() {
        assert_eq!(ConnectError::NoAddress.cause(), "no_address");
        assert_eq!(ConnectError::TimedOut.cause(), "connect_timeout");
        assert_eq!(ConnectError::Failed(Errno::MFILE.into()).cause(), "EMFILE");
        assert_eq!(ConnectError::Tls(Fault::PlainHttp).cause(), "tls_plain_http");
    }
}
