//! Listening sockets: bound here, one per core in a `SO_REUSEPORT` group, or taken over from another process.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use monoio::net::TcpStream;
use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};
use socket2::{SockFilter, SockRef};

use crate::limits::{UNACKNOWLEDGED_MS, UNSENT_BYTES_MAX};
use crate::net::{StreamSocket, Transport};
use crate::sys::fd_of;

/// A bound socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    keeper: Keeper,
}

/// Which other process has the socket too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// No other process. When this process drains, listening ends.
    Nobody,
    /// The service manager. It goes on listening, and connections that come after the end of this process wait for the
    /// next one.
    Manager,
}

/// Whether an IPv6 socket also takes IPv4 clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stack {
    Single,
    Dual,
}

/// Binds one socket of the group and listens. `bind`: one address; `None`: all (dual-stack if the host has IPv6).
///
/// # Errors
/// Those of `bind(2)` and `listen(2)`, unchanged.
pub fn bind(bind: Option<IpAddr>, port: u16) -> io::Result<Socket> {
    let socket = bind_silently(bind, port)?;
    rustix::net::listen(&socket.fd, BACKLOG)?;
    Ok(socket)
}

/// Binds one socket of the group without listening: no client gets into its queue before its core opens. Used while it
/// is not certain that this process will serve clients.
///
/// # Errors
/// Those of `bind(2)`, unchanged.
pub fn bind_silently(bind: Option<IpAddr>, port: u16) -> io::Result<Socket> {
    let fd = match bind {
        Some(address) => bind_one(SocketAddr::new(address, port), Stack::Single),
        None => match bind_one(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), Stack::Dual) {
            Err(error) if is_no_ipv6(&error) => {
                bind_one(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), Stack::Single)
            }
            bound => bound,
        },
    }?;
    Ok(Socket { fd, keeper: Keeper::Nobody })
}

/// Makes sure that no other process listens on a port that is about to be shared: a socket without `SO_REUSEPORT` can
/// be bound only if no socket listens there. Port 0 is always free.
///
/// # Errors
/// Another process listens on the port.
pub fn claim(address: Option<IpAddr>, port: u16) -> io::Result<()> {
    if port == 0 {
        return Ok(());
    }
    let any_v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let any_v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let claimed = match address {
        Some(address) => socket(SocketAddr::new(address, port), Stack::Single),
        None => match socket(any_v6, Stack::Dual) {
            Err(error) if is_no_ipv6(&error) => socket(any_v4, Stack::Single),
            claimed => claimed,
        },
    };
    claimed.map(drop)
}

impl Socket {
    /// Takes over a socket that another process has bound.
    ///
    /// # Errors
    /// It is not a listening TCP socket.
    pub fn adopt(fd: OwnedFd, keeper: Keeper) -> io::Result<Socket> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        let is_stream = sockopt::socket_type(&fd)? == SocketType::STREAM;
        if !is_stream || !matches!(sockopt::socket_domain(&fd)?, AddressFamily::INET | AddressFamily::INET6) {
            return wrong("it is not a TCP socket");
        }
        if !sockopt::socket_acceptconn(&fd)? {
            return wrong("it does not listen");
        }
        rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        inherit_to_accepted(&fd)?;
        Ok(Socket { fd, keeper })
    }

    /// The same socket once more. Both accept from one queue.
    pub fn share(&self) -> io::Result<Socket> {
        Ok(Socket { fd: self.fd.try_clone()?, keeper: self.keeper })
    }

    /// Whether another socket can be bound to its address.
    pub fn may_have_siblings(&self) -> bool {
        sockopt::socket_reuseport(&self.fd).unwrap_or(false)
    }

    /// The address to which the socket is bound.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::try_from(rustix::net::getsockname(&self.fd)?)?)
    }

    /// Which other process has the socket too.
    pub fn keeper(&self) -> Keeper {
        self.keeper
    }

    /// The descriptor, for another process.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

/// The listening side of a core.
pub struct Listener {
    /// The runtime's type for streams is used only for its polls; nothing is read from it.
    inner: TcpStream,
    keeper: Keeper,
}

/// Why no connection was accepted.
#[derive(Debug)]
pub enum AcceptError {
    /// No file descriptors or memory: wait before trying again.
    Exhausted(io::Error),
    /// This connection is gone or broken; the next one may be fine.
    Dropped(io::Error),
    /// The socket no longer listens: another core that shares it has closed it.
    Over,
}

impl Listener {
    /// Listens on a bound socket.
    ///
    /// # Errors
    /// The runtime cannot register the socket, or `listen(2)` fails.
    pub fn new(socket: Socket) -> io::Result<Listener> {
        if !sockopt::socket_acceptconn(&socket.fd)? {
            rustix::net::listen(&socket.fd, BACKLOG)?;
        }
        Ok(Listener { inner: TcpStream::from_std(socket.fd.into())?, keeper: socket.keeper })
    }

    /// Waits until there is a connection to accept.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.inner.readable(false)
    }

    /// Drops new SYNs from now on. Clients whose SYN has arrived already still get into the queue. A client whose SYN
    /// is dropped sends it again after a second, and then reaches another process or is refused. True: the caller
    /// should accept the clients that are on their way before it closes the socket.
    pub fn turn_away(&self) -> bool {
        if self.keeper != Keeper::Nobody {
            return false;
        }
        // If the filter cannot be attached, the close resets a few clients, as it does in most servers.
        SockRef::from(&fd_of(&self.inner)).attach_filter(&NO_SYN).is_ok()
    }

    /// Stops listening at once, in every process that has the socket. Dropping alone would leave the socket open until
    /// the ring has released its last poll, and the kernel would queue connections that are never accepted. A socket
    /// that the service manager has is left open.
    pub fn close(self) {
        if self.keeper == Keeper::Nobody {
            // On a listening socket this ends listening. An error means that it has ended already.
            let _ = rustix::net::shutdown(fd_of(&self.inner), Shutdown::Read);
        }
    }

    /// Leaves the socket open for the other process that has it.
    pub fn leave(self) {}

    /// Accepts the next connection. `None`: there is none.
    pub fn try_accept(&self) -> Result<Option<(Transport, SocketAddr)>, AcceptError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, peer) = match rustix::net::acceptfrom_with(fd_of(&self.inner), flags) {
            Ok(accepted) => accepted,
            Err(Errno::AGAIN) => return Ok(None),
            // accept(2): "Socket is not listening for connections".
            Err(Errno::INVAL) => return Err(AcceptError::Over),
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                return Err(AcceptError::Exhausted(error.into()));
            }
            Err(error) => return Err(AcceptError::Dropped(error.into())),
        };
        let unknown = || AcceptError::Dropped(io::Error::from(io::ErrorKind::NotConnected));
        let peer = peer.ok_or_else(unknown)?;
        let peer = SocketAddr::try_from(peer).map_err(|error| AcceptError::Dropped(error.into()))?;
        Ok(Some((Transport::Plain(StreamSocket::new(socket).map_err(AcceptError::Dropped)?), peer)))
    }
}

fn bind_one(address: SocketAddr, stack: Stack) -> io::Result<OwnedFd> {
    let socket = unbound(address, stack)?;
    let fd = socket.as_fd();
    sockopt::set_socket_reuseport(fd, true)?;
    inherit_to_accepted(&socket)?;
    rustix::net::bind(fd, &address)?;
    Ok(socket)
}

/// Sets options that accepted sockets inherit from their listener, which saves calls per connection.
fn inherit_to_accepted(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED_MS)?;
    // A kernel without the option holds more.
    let _ = SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    Ok(())
}

/// A socket that is bound without `SO_REUSEPORT`.
fn socket(address: SocketAddr, stack: Stack) -> io::Result<OwnedFd> {
    let socket = unbound(address, stack)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn unbound(address: SocketAddr, stack: Stack) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    let fd = socket.as_fd();
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(fd, stack == Stack::Single)?;
    }
    // Connections of an earlier process in TIME_WAIT must not block the port.
    sockopt::set_socket_reuseaddr(fd, true)?;
    Ok(socket)
}

fn is_no_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// Connections per core that may wait to be accepted. The kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Classic BPF over the TCP header (Linux, networking/filter): it drops segments with SYN and without ACK, and
/// passes all others. Accepted sockets inherit the filter, but never get such a segment.
const NO_SYN: [SockFilter; 5] = [
    // BPF_LD | BPF_B | BPF_ABS: the flags.
    SockFilter::new(0x30, 0, 0, 13),
    // BPF_ALU | BPF_AND | BPF_K: SYN and ACK of them.
    SockFilter::new(0x54, 0, 0, 0x12),
    // BPF_JMP | BPF_JEQ | BPF_K: SYN alone goes on to the next line, anything else to the last.
    SockFilter::new(0x15, 0, 1, 0x02),
    // BPF_RET | BPF_K: the number of bytes of the segment that pass.
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_share_a_port_and_accepted_sockets_inherit_their_options() {
        let first = bind(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0).expect("bind");
        let address = first.local_address().expect("address");
        let second = bind(Some(address.ip()), address.port()).expect("bind the same port");
        drop(second);
        let _client = std::net::TcpStream::connect(address).expect("connect");
        let accepted = loop {
            match rustix::net::accept(&first.fd) {
                Ok(socket) => break socket,
                Err(Errno::AGAIN) => std::thread::yield_now(),
                Err(error) => panic!("accept: {error}"),
            }
        };
        assert!(sockopt::tcp_nodelay(&accepted).expect("read the option"));
        assert!(sockopt::socket_keepalive(&accepted).expect("read the option"));
        assert_eq!(sockopt::tcp_user_timeout(&accepted).expect("read the option"), UNACKNOWLEDGED_MS);
        assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().expect("read the option"), UNSENT_BYTES_MAX);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_claimed() {
        let localhost = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let taken = bind(localhost, 0).expect("bind");
        let port = taken.local_address().expect("address").port();
        assert_eq!(claim(localhost, port).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        drop(taken);
        claim(localhost, port).expect("free again");
    }

    #[test]
    fn only_listening_tcp_sockets_are_taken_over() {
        let listening = bind(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0).expect("bind");
        let address = listening.local_address().expect("address");
        let adopted = Socket::adopt(listening.fd, Keeper::Manager).expect("a listening socket");
        assert_eq!(adopted.local_address().expect("address"), address);
        assert!(adopted.may_have_siblings());
        let silent = bind_silently(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0).expect("bind");
        let (unix, _far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let file = std::fs::File::open("/dev/null").expect("a file");
        for fd in [silent.fd, unix.into(), file.into()] {
            assert!(Socket::adopt(fd, Keeper::Nobody).is_err());
        }
    }

    #[test]
    fn nobody_gets_into_the_queue_of_a_silent_socket() {
        let socket = bind_silently(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0).expect("bind");
        let address = socket.local_address().expect("address");
        assert!(std::net::TcpStream::connect(address).is_err());
    }

    #[test]
    fn every_address_takes_ipv4_clients() {
        let socket = bind(None, 0).expect("bind");
        let port = socket.local_address().expect("address").port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("an IPv4 client");
    }
}
