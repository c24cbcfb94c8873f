//! Listening sockets: bound here, one for each core in a `SO_REUSEPORT` group, or taken over from another process.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use monoio::net::TcpStream;
use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};
use socket2::{SockFilter, SockRef};

use crate::net::{StreamSocket, Transport};
use crate::sys::fd_of;

/// A bound socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    keeper: Keeper,
}

/// Who has a socket besides this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// Nobody: when this process drains, the socket's end is the end of listening.
    Nobody,
    /// The service manager: it listens on, and what comes after our end waits for the next process.
    Manager,
}

/// Binds one socket of the group. `bind`: an address, or every one (dual-stack where the host has IPv6).
/// Errors: as `bind(2)` and `listen(2)`, unchanged.
pub fn bind(bind: Option<IpAddr>, port: u16) -> io::Result<Socket> {
    let socket = bind_silently(bind, port)?;
    rustix::net::listen(&socket.fd, BACKLOG)?;
    Ok(socket)
}

/// The same, but nobody is let into its queue before its core opens: where it is not sure yet that this process will
/// serve anybody. Errors: as `bind(2)`, unchanged.
pub fn bind_silently(bind: Option<IpAddr>, port: u16) -> io::Result<Socket> {
    let fd = match bind {
        Some(address) => bind_one(SocketAddr::new(address, port), false),
        None => match bind_one(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), true) {
            Err(error) if is_no_ipv6(&error) => {
                bind_one(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), false)
            }
            bound => bound,
        },
    }?;
    Ok(Socket { fd, keeper: Keeper::Nobody })
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

impl Socket {
    /// Takes over a socket that another process has bound. Errors: it is no listening TCP socket.
    pub fn adopt(fd: OwnedFd, keeper: Keeper) -> io::Result<Socket> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        let is_stream = sockopt::socket_type(&fd)? == SocketType::STREAM;
        if !is_stream || !matches!(sockopt::socket_domain(&fd)?, AddressFamily::INET | AddressFamily::INET6) {
            return wrong("it is no TCP socket");
        }
        if !sockopt::socket_acceptconn(&fd)? {
            return wrong("it does not listen");
        }
        rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        inherit_to_accepted(&fd)?;
        Ok(Socket { fd, keeper })
    }

    /// The same socket once more: both take from one queue.
    pub fn share(&self) -> io::Result<Socket> {
        Ok(Socket { fd: self.fd.try_clone()?, keeper: self.keeper })
    }

    /// Whether another socket can be bound to its address.
    pub fn may_have_siblings(&self) -> bool {
        sockopt::socket_reuseport(&self.fd).unwrap_or(false)
    }

    /// The address that it got.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::try_from(rustix::net::getsockname(&self.fd)?)?)
    }

    /// Who has it besides this process.
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
    /// Only polled through the runtime's type for streams; nothing is ever read from it.
    inner: TcpStream,
    keeper: Keeper,
}

/// Why no connection was taken.
#[derive(Debug)]
pub enum AcceptError {
    /// No file descriptors or memory: wait before trying again.
    Exhausted(io::Error),
    /// That one connection is gone or broken; the next may be fine.
    Dropped(io::Error),
    /// The socket does not listen any more: another core, which shares it, was faster to close it.
    Over,
}

impl Listener {
    /// Listens on a bound socket. Errors: the runtime's registration.
    pub fn new(socket: Socket) -> io::Result<Listener> {
        if !sockopt::socket_acceptconn(&socket.fd)? {
            rustix::net::listen(&socket.fd, BACKLOG)?;
        }
        Ok(Listener { inner: TcpStream::from_std(socket.fd.into())?, keeper: socket.keeper })
    }

    /// Waits until a connection is waiting.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.inner.readable(false)
    }

    /// From now on nobody gets into the queue who has not knocked yet; whoever has may come in. A SYN that is
    /// dropped comes again after a second, and finds another process or a clear no. True: there are some to wait
    /// for before the close.
    pub fn turn_away(&self) -> bool {
        if self.keeper != Keeper::Nobody {
            return false;
        }
        // Without the filter the close comes too early for a few, as it does everywhere else.
        SockRef::from(&fd_of(&self.inner)).attach_filter(&NO_SYN).is_ok()
    }

    /// Stops listening this instant, in every process that has the socket. Dropping alone leaves it open, and the
    /// kernel queueing connections that nobody will take, until the ring has let go of the last poll. A socket that a
    /// service manager keeps is left to it.
    pub fn close(self) {
        if self.keeper == Keeper::Nobody {
            // On a listening socket that is the end of listening; an error means that it has ended already.
            let _ = rustix::net::shutdown(fd_of(&self.inner), Shutdown::Read);
        }
    }

    /// Leaves the socket to the process that has it too.
    pub fn leave(self) {}

    /// Takes the next waiting connection. `None`: none is waiting.
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

fn bind_one(address: SocketAddr, dual_stack: bool) -> io::Result<OwnedFd> {
    let socket = unbound(address, dual_stack)?;
    let fd = socket.as_fd();
    sockopt::set_socket_reuseport(fd, true)?;
    inherit_to_accepted(&socket)?;
    rustix::net::bind(fd, &address)?;
    Ok(socket)
}

/// Accepted sockets inherit these from their listener, so they cost no call per connection.
fn inherit_to_accepted(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    Ok(())
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

/// Classic BPF over the TCP header (Linux, networking/filter): a segment with SYN and without ACK is dropped, any other
/// one passes. Accepted sockets inherit it, and never see such a segment.
const NO_SYN: [SockFilter; 5] = [
    // BPF_LD | BPF_B | BPF_ABS: the flags.
    SockFilter::new(0x30, 0, 0, 13),
    // BPF_ALU | BPF_AND | BPF_K: SYN and ACK of them.
    SockFilter::new(0x54, 0, 0, 0x12),
    // BPF_JMP | BPF_JEQ | BPF_K: SYN alone goes on to the next line, anything else to the last.
    SockFilter::new(0x15, 0, 1, 0x02),
    // BPF_RET | BPF_K: so many bytes of the segment pass.
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_share_a_port_and_accepted_sockets_inherit_nodelay() {
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
