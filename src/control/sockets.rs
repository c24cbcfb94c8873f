//! The listening sockets, bound or handed over, and which core gets which. Each core should have one of its own;
//! what was handed over may be more than that, or less.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use tracing::{info, warn};

use crate::clock;
use crate::config::{Config, Listen};
use crate::control::inherit::{self, Inherited};
use crate::limits::PORT_FREED_MS;
use crate::net::listener::{self, Socket};

/// The listening sockets of this process.
pub struct Sockets {
    /// The public ones, by core.
    pub public: Vec<Vec<Socket>>,
    /// The admin listener's.
    pub admin: Option<Socket>,
}

impl Sockets {
    /// Those that were handed over, and what is missing of them.
    ///
    /// # Errors
    /// Lines of the form `KEY: what is wrong`: they are not where they should be, or an address cannot be had.
    pub fn new(config: &Config, cores: usize, inherited: Inherited) -> Result<Sockets, Vec<String>> {
        let mistakes = inherited.mistakes(config);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let listen = &config.listen;
        let public = match inherited.public.is_empty() {
            true => bind(listen, cores),
            false => distribute(inherited.public, listen, cores),
        };
        let public = public.map_err(|error| {
            let address = listen.bind.map_or("*".to_owned(), |address| address.to_string());
            vec![format!("PORT: cannot listen on {address} port {}: {error}", listen.port)]
        })?;
        let admin = match (inherited.admin, config.admin_addr) {
            (None, Some(address)) => Some(
                bind_admin(address)
                    .map_err(|error| vec![format!("ADMIN_ADDR: cannot listen on {address}: {error}")])?,
            ),
            (inherited, _) => inherited,
        };
        Ok(Sockets { public, admin })
    }

    /// Where the public listener is. Errors: as `getsockname(2)`.
    pub fn address(&self) -> io::Result<SocketAddr> {
        address(&self.public)
    }

    /// All of them once more, with their names: what a successor gets. Errors: no file descriptors.
    pub fn for_successor(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let public = self.public.iter().flatten().map(|socket| (socket, false));
        let all = public.chain(self.admin.iter().map(|socket| (socket, true)));
        all.map(|(socket, is_admin)| Ok((inherit::name(socket, is_admin), socket.share()?.into_fd())))
            .collect()
    }
}

fn bind_admin(address: SocketAddr) -> io::Result<Socket> {
    claim(Some(address.ip()), address.port())?;
    listener::bind(Some(address.ip()), address.port())
}

/// SO_REUSEPORT would let a second gateway of the same user take half of the first one's connections, so nobody
/// else may listen there.
///
/// A process that was killed may still do so for a moment: the kernel takes its rings apart, and what they hold, after
/// it is gone. Whoever restarts it at once must not be told that the port is taken.
fn claim(address: Option<IpAddr>, port: u16) -> io::Result<()> {
    let deadline_ms = clock::now_ms() + PORT_FREED_MS;
    loop {
        match listener::claim(address, port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && clock::now_ms() < deadline_ms => {
                thread::sleep(Duration::from_millis(PORT_LOOK_MS));
            }
            claimed => return claimed,
        }
    }
}

/// One socket for each core, all on one port that nobody else listens on. Errors: as `bind(2)`.
fn bind(listen: &Listen, cores: usize) -> io::Result<Vec<Vec<Socket>>> {
    claim(listen.bind, listen.port)?;
    let first = listener::bind(listen.bind, listen.port)?;
    let port = first.local_address()?.port();
    let mut sockets = vec![vec![first]];
    while sockets.len() < cores {
        sockets.push(vec![listener::bind(listen.bind, port)?]);
    }
    Ok(sockets)
}

/// Those that were handed over, at least one. More than cores: a core serves several. Fewer: the other cores bind new
/// ones beside them or, where the kernel does not let them, share one.
///
/// Nobody gets into the queue of a new one before its core opens: until then this process may fail, and a
/// queue that is closed resets who waits in it.
fn distribute(adopted: Vec<Socket>, listen: &Listen, cores: usize) -> io::Result<Vec<Vec<Socket>>> {
    let (count, mut of_cores) = (adopted.len(), Vec::<Vec<Socket>>::new());
    of_cores.resize_with(cores, Vec::new);
    for (nth, socket) in adopted.into_iter().enumerate() {
        of_cores[nth % cores].push(socket);
    }
    if count > cores {
        info!(
            sockets = count,
            cores, "more sockets were handed over than there are cores: a core serves several"
        );
    }
    for core in count..cores {
        let pattern = &of_cores[core % count][0];
        let socket = match sibling(pattern, listen) {
            Ok(socket) => {
                info!(core, "no socket was handed over for this core: it has bound a new one");
                socket
            }
            Err(why) => {
                warn!(core, %why, "no socket was handed over for this core: it shares another core's");
                pattern.share()?
            }
        };
        of_cores[core].push(socket);
    }
    Ok(of_cores)
}

/// The address of the first socket. Errors: as `getsockname(2)`.
fn address(of_cores: &[Vec<Socket>]) -> io::Result<SocketAddr> {
    let first = of_cores.iter().flatten().next();
    first.map_or_else(|| Err(io::ErrorKind::NotFound.into()), Socket::local_address)
}

/// A new socket beside this one.
fn sibling(pattern: &Socket, listen: &Listen) -> io::Result<Socket> {
    if !pattern.may_have_siblings() {
        return Err(io::Error::other("the socket that was handed over has no SO_REUSEPORT"));
    }
    listener::bind_silently(listen.bind, pattern.local_address()?.port())
}

/// How often a port is tried that is taken, in milliseconds.
const PORT_LOOK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener::Keeper;
    use std::net::{Ipv4Addr, TcpListener};

    const LISTEN: Listen = Listen { port: 0, bind: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) };

    fn counts(sockets: Vec<Socket>, cores: usize) -> Vec<usize> {
        let of_cores = distribute(sockets, &LISTEN, cores).expect("sockets");
        let first = address(&of_cores).expect("an address");
        let all = of_cores.iter().flatten().all(|socket| socket.local_address().ok() == Some(first));
        assert!(all, "not all at {first}");
        of_cores.iter().map(Vec::len).collect()
    }

    fn group(count: usize) -> Vec<Socket> {
        bind(&LISTEN, count).expect("sockets").into_iter().flatten().collect()
    }

    #[test]
    fn each_core_has_one_of_its_own() {
        assert_eq!(counts(group(3), 3), [1, 1, 1]);
    }

    #[test]
    fn a_core_serves_several_where_there_are_fewer_cores() {
        assert_eq!(counts(group(5), 2), [3, 2]);
    }

    #[test]
    fn the_others_bind_new_ones_where_there_are_more_cores() {
        assert_eq!(counts(group(2), 4), [1, 1, 1, 1]);
    }

    #[test]
    fn a_socket_that_bears_no_siblings_is_shared() {
        let lone = TcpListener::bind("127.0.0.1:0").expect("a port");
        let lone = Socket::adopt(lone.into(), Keeper::Manager).expect("a listening socket");
        assert_eq!(counts(vec![lone], 3), [1, 1, 1]);
    }
}
