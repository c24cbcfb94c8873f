//! The listening sockets of the process, bound or inherited, and their distribution over the cores. Each core should
//! have its own socket, but the number of inherited sockets may differ from the number of cores.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use tracing::{info, warn};

use crate::clock;
use crate::config::{Config, Listen};
use crate::control::inherit::{self, Inherited, ListenerKind};
use crate::limits::PORT_FREED_MS;
use crate::net::listener::{self, Socket};

/// The listening sockets of this process.
pub struct Sockets {
    /// The public listening sockets of each core.
    pub public: Vec<Vec<Socket>>,
    /// The sockets of each core for HTTPS; `None`: there are none.
    pub tls: Option<Vec<Vec<Socket>>>,
    /// The socket of the admin listener.
    pub admin: Option<Socket>,
}

impl Sockets {
    /// Uses the inherited sockets and binds the missing ones.
    ///
    /// # Errors
    /// Returns lines of the form `KEY: reason` if an inherited socket has another address than the configuration, or
    /// if an address cannot be bound.
    pub fn new(config: &Config, cores: usize, inherited: Inherited) -> Result<Sockets, Vec<String>> {
        let mistakes = inherited.mistakes(config);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let public = of_cores("PORT", inherited.public, &config.listen, cores)?;
        let tls = inherit::tls_listen(config);
        let tls = tls.map(|listen| of_cores("TLS_PORT", inherited.tls, &listen, cores)).transpose()?;
        let admin = match (inherited.admin, config.admin_addr) {
            (None, Some(address)) => Some(
                bind_admin(address)
                    .map_err(|error| vec![format!("ADMIN_ADDR: cannot listen on {address}: {error}")])?,
            ),
            (inherited, _) => inherited,
        };
        Ok(Sockets { public, tls, admin })
    }

    /// Returns the address of the public listener.
    ///
    /// # Errors
    /// Returns the errors of `getsockname(2)`.
    pub fn address(&self) -> io::Result<SocketAddr> {
        address(&self.public)
    }

    /// Returns the address of the listener for HTTPS, if there is one.
    ///
    /// # Errors
    /// Returns the errors of `getsockname(2)`.
    pub fn tls_address(&self) -> io::Result<Option<SocketAddr>> {
        self.tls.as_deref().map(address).transpose()
    }

    /// Duplicates all sockets for a successor process, and returns them with their names.
    ///
    /// # Errors
    /// The descriptor limit of the process is reached.
    pub fn for_successor(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let public = self.public.iter().flatten().map(|socket| (socket, ListenerKind::Public));
        let tls = self.tls.iter().flatten().flatten().map(|socket| (socket, ListenerKind::Tls));
        let all = public.chain(tls).chain(self.admin.iter().map(|socket| (socket, ListenerKind::Admin)));
        all.map(|(socket, kind)| Ok((inherit::socket_name(socket, kind), socket.share()?.into_fd())))
            .collect()
    }
}

/// Uses the inherited sockets of one listener, or binds a socket for each core. `key` is the setting of its port.
fn of_cores(
    key: &str,
    inherited: Vec<Socket>,
    listen: &Listen,
    cores: usize,
) -> Result<Vec<Vec<Socket>>, Vec<String>> {
    let sockets = match inherited.is_empty() {
        true => bind(listen, cores),
        false => distribute(inherited, listen, cores),
    };
    sockets.map_err(|error| {
        let address = listen.bind.map_or("*".to_owned(), |address| address.to_string());
        vec![format!("{key}: cannot listen on {address} port {}: {error}", listen.port)]
    })
}

fn bind_admin(address: SocketAddr) -> io::Result<Socket> {
    claim(Some(address.ip()), address.port())?;
    listener::bind(Some(address.ip()), address.port())
}

/// Checks that no other process listens on the port: with SO_REUSEPORT, a second gateway of the same user would
/// receive half of the first one's connections.
///
/// The check is repeated for [`PORT_FREED_MS`], because the sockets of a killed process can stay open for a moment:
/// the kernel destroys the io_uring instances, and the sockets that they hold, only after the process has ended. An
/// immediate restart must not fail because of that.
fn claim(address: Option<IpAddr>, port: u16) -> io::Result<()> {
    let deadline_ms = clock::now_ms() + PORT_FREED_MS;
    loop {
        match listener::claim(address, port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && clock::now_ms() < deadline_ms => {
                thread::sleep(Duration::from_millis(PORT_RETRY_MS));
            }
            claimed => return claimed,
        }
    }
}

/// Binds one socket for each core, all on the same port. Fails with the errors of `bind(2)`, also if another process
/// listens on the port.
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

/// Distributes the inherited sockets, at least one, over the cores. If there are more sockets than cores, a core
/// serves several sockets. If there are fewer, each remaining core binds a new socket to the same address or, if the
/// kernel does not permit that (no SO_REUSEPORT), shares the socket of another core.
///
/// New sockets do not listen before the core starts accepting connections. Until then this process may fail, and
/// closing a listening socket resets the connections in its queue.
fn distribute(adopted: Vec<Socket>, listen: &Listen, cores: usize) -> io::Result<Vec<Vec<Socket>>> {
    let (count, mut of_cores) = (adopted.len(), Vec::<Vec<Socket>>::new());
    of_cores.resize_with(cores, Vec::new);
    for (nth, socket) in adopted.into_iter().enumerate() {
        of_cores[nth % cores].push(socket);
    }
    if count > cores {
        info!(sockets = count, cores, "more sockets than cores were handed over: a core serves several");
    }
    for core in count..cores {
        let template = &of_cores[core % count][0];
        let socket = match sibling(template, listen) {
            Ok(socket) => {
                info!(core, "no socket was handed over for this core: it has bound a new one");
                socket
            }
            Err(why) => {
                warn!(core, %why, "no socket was handed over for this core: it shares the socket of another core");
                template.share()?
            }
        };
        of_cores[core].push(socket);
    }
    Ok(of_cores)
}

/// Returns the address of the first socket. Fails with the errors of `getsockname(2)`.
fn address(of_cores: &[Vec<Socket>]) -> io::Result<SocketAddr> {
    let first = of_cores.iter().flatten().next();
    first.map_or_else(|| Err(io::ErrorKind::NotFound.into()), Socket::local_address)
}

/// Binds a new socket to the port of an inherited one.
fn sibling(template: &Socket, listen: &Listen) -> io::Result<Socket> {
    if !template.may_have_siblings() {
        return Err(io::Error::other("the socket that was handed over has no SO_REUSEPORT"));
    }
    listener::bind_silently(listen.bind, template.local_address()?.port())
}

/// Interval at which a port in use is checked again, in milliseconds.
const PORT_RETRY_MS: u64 = 10;

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
    fn each_core_has_its_own_socket() {
        assert_eq!(counts(group(3), 3), [1, 1, 1]);
    }

    #[test]
    fn a_core_serves_several_sockets_if_there_are_fewer_cores() {
        assert_eq!(counts(group(5), 2), [3, 2]);
    }

    #[test]
    fn the_remaining_cores_bind_new_sockets_if_there_are_more_cores() {
        assert_eq!(counts(group(2), 4), [1, 1, 1, 1]);
    }

    #[test]
    fn a_socket_without_reuseport_is_shared() {
        let lone = TcpListener::bind("127.0.0.1:0").expect("a port");
        let lone = Socket::adopt(lone.into(), Keeper::Manager).expect("a listening socket");
        assert_eq!(counts(vec![lone], 3), [1, 1, 1]);
    }
}
