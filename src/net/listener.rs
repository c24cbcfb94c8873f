//! The listening socket of one core, one of a `SO_REUSEPORT` group.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};

use crate::net::Stream;
use crate::sys::fd_of;

/// Binds one socket of the group. `bind`: an address, or every one (dual-stack where the host has IPv6).
/// Errors: as `bind(2)` and `listen(2)`, unchanged.
pub fn bind(bind: Option<IpAddr>, port: u16) -> io::Result<OwnedFd> {
    match bind {
        Some(address) => bind_one(SocketAddr::new(address, port), false),
        None => match bind_one(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), true) {
            Err(error) if is_no_ipv6(&error) => {
                bind_one(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), false)
            }
            bound => bound,
        },
    }
}

/// Makes sure that nobody else listens on a port that is about to be shared: a socket without `SO_REUSEPORT`
/// can be bound only where no socket listens. Port 0 is always free.
pub fn claim(address: Option<IpAddr>, port: u16) -> io::Result<()> {
    if port == 0 {
        return Ok(());
    }
    let any_v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let any_v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let claimed = match address {
        Some(address) => socket(SocketAddr::new(address, port), false),
        None => match socket(any_v6, true) {
            Err(error) if is_no_ipv6(&error) => socket(any_v4, false),
            claimed => claimed,
        },
    };
    claimed.map(drop)
}

/// The address that a bound socket got.
pub fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(rustix::net::getsockname(socket)?)?)
}

/// The listening side of a core.
pub struct Listener {
    /// Only polled through the runtime's type for streams; nothing is ever read from it.
    inner: TcpStream,
}

/// Why no connection was taken.
#[derive(Debug)]
pub enum AcceptError {
    /// No file descriptors or memory: wait before trying again.
    Exhausted(io::Error),
    /// That one connection is gone or broken; the next may be fine.
    Dropped(io::Error),
}

impl Listener {
    /// Takes over a bound socket.
    pub fn new(socket: OwnedFd) -> io::Result<Listener> {
        Ok(Listener { inner: TcpStream::from_std(socket.into())? })
    }

    /// Waits until a connection is waiting.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.inner.readable(false)
    }

    /// Stops listening this instant. Dropping alone leaves the socket open, and the kernel queueing connections
    /// that nobody will take, until the ring has let go of the last poll.
    pub fn close(self) {
        // On a listening socket that is the end of listening; an error means that it has ended already.
        let _ = rustix::net::shutdown(fd_of(&self.inner), Shutdown::Read);
    }

    /// Takes the next waiting connection. `None`: none is waiting.
    pub fn try_accept(&self) -> Result<Option<(Stream, SocketAddr)>, AcceptError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, peer) = match rustix::net::acceptfrom_with(fd_of(&self.inner), flags) {
            Ok(accepted) => accepted,
            Err(Errno::AGAIN) => return Ok(None),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                return Err(AcceptError::Exhausted(error.into()));
            }
            Err(error) => return Err(AcceptError::Dropped(error.into())),
        };
        let unknown = || AcceptError::Dropped(io::Error::from(io::ErrorKind::NotConnected));
        let peer = peer.ok_or_else(unknown)?;
        let peer = SocketAddr::try_from(peer).map_err(|error| AcceptError::Dropped(error.into()))?;
        Ok(Some((Stream::new(socket).map_err(AcceptError::Dropped)?, peer)))
    }
}

fn bind_one(address: SocketAddr, dual_stack: bool) -> io::Result<OwnedFd> {
    let socket = unbound(address, dual_stack)?;
    let fd = socket.as_fd();
    sockopt::set_socket_reuseport(fd, true)?;
    // Accepted sockets inherit these from their listener, so they cost no call per connection.
    sockopt::set_tcp_nodelay(fd, true)?;
    sockopt::set_socket_keepalive(fd, true)?;
    rustix::net::bind(fd, &address)?;
    rustix::net::listen(fd, BACKLOG)?;
    Ok(socket)
}

/// A socket bound and nothing more.
fn socket(address: SocketAddr, dual_stack: bool) -> io::Result<OwnedFd> {
    let socket = unbound(address, dual_stack)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn unbound(address: SocketAddr, dual_stack: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    let fd = socket.as_fd();
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(fd, !dual_stack)?;
    }
    // Connections of a process before us, in TIME_WAIT, must not keep the port.
    sockopt::set_socket_reuseaddr(fd, true)?;
    Ok(socket)
}

fn is_no_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// Connections that may wait to be accepted, per core; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_share_a_port_and_accepted_sockets_inherit_nodelay() {
        let first = bind(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0).expect("bind");
        let address = local_address(&first).expect("address");
        let second = bind(Some(address.ip()), address.port()).expect("bind the same port");
        drop(second);
        let _client = std::net::TcpStream::connect(address).expect("connect");
        let accepted = loop {
            match rustix::net::accept(&first) {
                Ok(socket) => break socket,
                Err(Errno::AGAIN) => std::thread::yield_now(),
                Err(error) => panic!("accept: {error}"),
            }
        };
        assert!(sockopt::tcp_nodelay(&accepted).expect("read the option"));
        assert!(sockopt::socket_keepalive(&accepted).expect("read the option"));
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_claimed() {
        let localhost = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let taken = bind(localhost, 0).expect("bind");
        let port = local_address(&taken).expect("address").port();
        assert_eq!(claim(localhost, port).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        drop(taken);
        claim(localhost, port).expect("free again");
    }

    #[test]
    fn every_address_takes_ipv4_clients() {
        let socket = bind(None, 0).expect("bind");
        let port = local_address(&socket).expect("address").port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("an IPv4 client");
    }
}
