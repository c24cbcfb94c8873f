//! File descriptors inherited from another process by the systemd socket-activation protocol (`sd_listen_fds`(3)). A
//! service manager passes listening sockets. In a hot upgrade, the predecessor process passes its listening sockets
//! and one end of a pipe.
//!
//! In a hot upgrade there can be another pipe, with the ticket keys of the predecessor in it ([`TICKET_KEYS`]), and a
//! file in memory with the key sets of its issuers ([`KEY_SETS`]). A demo hands on the way to its services as well
//! ([`DEMO_SERVICES`]).
//!
//! The names in `LISTEN_FDNAMES` identify the descriptors: `admin` is the admin listener, `tls` the listener for HTTPS,
//! [`PREDECESSOR_PIPE`] is the pipe, and every other name is a public listener.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{Errno, FdFlags};

use crate::auth::InheritedSets;
use crate::config::keys::listen::PORT;
use crate::config::keys::tls::TLS_PORT;
use crate::config::{Config, Listen};
use crate::limits::{KEY_SETS_HANDED_BYTES_MAX, TICKET_SECRETS_BYTES_MAX};
use crate::net::listener::{Keeper, Socket};
use crate::tls::TicketSecrets;

/// The inherited descriptors. Empty if the process was started without any.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Public listeners.
    pub public: Vec<Socket>,
    /// Listeners for HTTPS.
    pub tls: Vec<Socket>,
    /// The admin listener.
    pub admin: Option<Socket>,
    /// The pipe to the predecessor process.
    pub predecessor: Option<UnixStream>,
    /// What the predecessor has made its ticket keys from.
    pub ticket_secrets: Option<TicketSecrets>,
    /// The key sets of the predecessor.
    pub key_sets: InheritedSets,
    /// The way to the services of a predecessor that is a demo.
    pub demo: Option<OwnedFd>,
}

impl Inherited {
    /// Takes ownership of the inherited descriptors. Call this function once, before the process opens any file: the
    /// protocol numbers the descriptors from 3.
    ///
    /// # Errors
    /// Returns lines of the form `LISTEN_FDS: reason` if a descriptor is not open or is not a listening TCP socket.
    pub fn take() -> Result<Inherited, Vec<String>> {
        let passed = sd_listen_fds::get().map_err(|error| vec![format!("LISTEN_FDS: {error}")])?;
        let mut named = Vec::new();
        for (nth, (name, fd)) in passed.into_iter().enumerate() {
            let fd = fd.into_std();
            if rustix::io::fcntl_getfd(&fd) == Err(Errno::BADF) {
                // The number is not open, so dropping `fd` would close a descriptor that this process does not own.
                std::mem::forget(fd);
                return Err(vec![format!("LISTEN_FDS: descriptor {} is not open", FIRST_FD + nth)]);
            }
            named.push((name.unwrap_or_default(), fd));
        }
        Inherited::by_name(named)
    }

    /// Sorts the descriptors by their names.
    fn by_name(named: Vec<(String, OwnedFd)>) -> Result<Inherited, Vec<String>> {
        let mut inherited = Inherited::default();
        let mut sockets = Vec::new();
        for (nth, (name, fd)) in named.into_iter().enumerate() {
            if name == PREDECESSOR_PIPE
                && rustix::net::sockopt::socket_domain(&fd) == Ok(rustix::net::AddressFamily::UNIX)
            {
                // Child processes must not inherit the pipe.
                let _ = rustix::io::fcntl_setfd(fd.as_fd(), FdFlags::CLOEXEC);
                inherited.predecessor = Some(UnixStream::from(fd));
            } else {
                sockets.push((nth, name, fd));
            }
        }
        let has_predecessor = inherited.predecessor.is_some();
        let mut mistakes = Vec::new();
        for (nth, name, fd) in sockets {
            if has_predecessor && name == TICKET_KEYS {
                inherited.ticket_secrets = read_ticket_secrets(fd);
                continue;
            }
            if has_predecessor && name == KEY_SETS {
                inherited.key_sets = read_key_sets(fd);
                continue;
            }
            if has_predecessor && name == DEMO_SERVICES {
                // Child processes must not inherit it: the services end with the last one that has it.
                let _ = rustix::io::fcntl_setfd(fd.as_fd(), FdFlags::CLOEXEC);
                inherited.demo = Some(fd);
                continue;
            }
            // The suffix tells the keeper only if the predecessor chose the name. Otherwise the service manager
            // chose the name, and the service manager keeps the socket.
            let is_from_predecessor = has_predecessor && !name.ends_with(KEPT_SUFFIX);
            let keeper = if is_from_predecessor { Keeper::Nobody } else { Keeper::Manager };
            match Socket::adopt(fd, keeper) {
                Ok(socket) if name.starts_with(ADMIN) => inherited.admin = Some(socket),
                // The whole name: a unit without names of its own may be called `tls-gateway.socket`.
                Ok(socket) if name.trim_end_matches(KEPT_SUFFIX) == TLS => inherited.tls.push(socket),
                Ok(socket) => inherited.public.push(socket),
                Err(why) => {
                    mistakes.push(format!("LISTEN_FDS: descriptor {} ({name}): {why}", FIRST_FD + nth))
                }
            }
        }
        if mistakes.is_empty() { Ok(inherited) } else { Err(mistakes) }
    }

    /// Returns one line for each inherited socket whose address differs from the configuration. A process that served
    /// such a socket would serve the wrong clients.
    pub fn mistakes(&self, config: &Config) -> Vec<String> {
        let mut mistakes = Vec::new();
        let public = self.public.iter().map(|socket| (PORT.env, socket, Some(config.listen.clone())));
        // A predecessor's listener for HTTPS may have no successor. What a service manager listens on must have one:
        // it goes on listening.
        let is_wanted = |socket: &&Socket| config.tls.port.is_some() || socket.keeper() == Keeper::Manager;
        let tls = self.tls.iter().filter(is_wanted);
        let tls = tls.map(|socket| (TLS_PORT.env, socket, tls_listen(config)));
        for (key, socket, wanted) in public.chain(tls) {
            match (socket.local_address(), &wanted) {
                (Ok(address), Some(wanted)) if matches_public(address, wanted) => {}
                (found, _) => mistakes.push(format!(
                    "{key}: a socket was handed over with the address {}, but the configured address is {}",
                    shown(found),
                    wanted.as_ref().map_or_else(|| "off".to_owned(), configured)
                )),
            }
        }
        let wanted = config.admin_addr;
        match (self.admin.as_ref().map(Socket::local_address), wanted) {
            (None, _) => {}
            (Some(Ok(found)), Some(wanted)) if matches_admin(found, wanted) => {}
            (Some(found), wanted) => mistakes.push(format!(
                "ADMIN_ADDR: a socket was handed over with the address {}, but the configured address is {}",
                shown(found),
                wanted.map_or_else(|| "off".to_owned(), |wanted| wanted.to_string())
            )),
        }
        mistakes
    }
}

/// Which listener a socket belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// The public listener.
    Public,
    /// The listener for HTTPS.
    Tls,
    /// The admin listener.
    Admin,
}

/// The name under which a socket is passed to a successor process.
pub fn socket_name(socket: &Socket, kind: ListenerKind) -> String {
    let kind_name = match kind {
        ListenerKind::Public => PUBLIC,
        ListenerKind::Tls => TLS,
        ListenerKind::Admin => ADMIN,
    };
    match socket.keeper() {
        Keeper::Nobody => kind_name.to_owned(),
        Keeper::Manager => format!("{kind_name}{KEPT_SUFFIX}"),
    }
}

/// The predecessor has written them and closed its end. Without them clients need a full handshake, no more.
fn read_ticket_secrets(pipe: OwnedFd) -> Option<TicketSecrets> {
    let mut bytes = Vec::new();
    File::from(pipe).take(TICKET_SECRETS_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    TicketSecrets::from_bytes(&bytes)
}

/// The predecessor has written them. Those that are missing are fetched.
fn read_key_sets(file: OwnedFd) -> InheritedSets {
    let mut bytes = Vec::new();
    match File::from(file).take(KEY_SETS_HANDED_BYTES_MAX).read_to_end(&mut bytes) {
        Ok(_) => InheritedSets::from_bytes(&bytes),
        Err(_) => InheritedSets::default(),
    }
}

/// Where the listener for HTTPS is. `None`: there is none.
pub fn tls_listen(config: &Config) -> Option<Listen> {
    config.tls.port.map(|port| Listen { port, bind: config.listen.bind })
}

fn matches_public(found: SocketAddr, listen: &Listen) -> bool {
    let is_port = listen.port == 0 || found.port() == listen.port;
    is_port && listen.bind.map_or(found.ip().is_unspecified(), |bind| found.ip() == bind)
}

fn matches_admin(found: SocketAddr, wanted: SocketAddr) -> bool {
    found.ip() == wanted.ip() && (wanted.port() == 0 || found.port() == wanted.port())
}

fn configured(listen: &Listen) -> String {
    let address = listen.bind.map_or_else(|| "every address".to_owned(), |bind| bind.to_string());
    format!("{address}, port {}", listen.port)
}

fn shown(found: std::io::Result<SocketAddr>) -> String {
    found.map_or_else(|error| error.to_string(), |address| address.to_string())
}

/// The name of the pipe with the predecessor's ticket keys.
pub const TICKET_KEYS: &str = "ticket-keys";
/// The name of the file in memory with the predecessor's key sets.
pub const KEY_SETS: &str = "key-sets";
/// The name of the way to a demo's services.
pub const DEMO_SERVICES: &str = "demo-services";
/// The name of the pipe to the predecessor process.
pub const PREDECESSOR_PIPE: &str = "predecessor";
const PUBLIC: &str = "public";
const TLS: &str = "tls";
const ADMIN: &str = "admin";
/// Suffix of the name of a socket that a service manager keeps open.
const KEPT_SUFFIX: &str = "-kept";
/// `SD_LISTEN_FDS_START`.
const FIRST_FD: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing;
    use crate::net::listener::bind;
    use std::net::{IpAddr, Ipv4Addr};

    const LOCALHOST: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

    fn socket(address: Option<IpAddr>) -> OwnedFd {
        bind(address, 0).expect("bind").into_fd()
    }

    fn config(bind: &str, port: u16, admin: &str) -> Config {
        let bind = if bind.is_empty() { String::new() } else { format!("bind = '{bind}'\n") };
        testing::config(&format!("{bind}port = {port}\nadmin_addr = '{admin}'\n"))
    }

    #[test]
    fn names_identify_the_listener_and_the_keeper() {
        let named =
            |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), socket(LOCALHOST))).collect();
        let found = Inherited::by_name(named(&["", "realchat-gateway.socket", "admin"])).expect("sockets");
        assert_eq!((found.public.len(), found.admin.is_some()), (2, true));
        assert!(found.public.iter().all(|socket| socket.keeper() == Keeper::Manager));

        let (near, _far) = UnixStream::pair().expect("a pair");
        let mut handed: Vec<(String, OwnedFd)> = named(&["public", "public-kept", "admin"]);
        handed.push((PREDECESSOR_PIPE.to_owned(), near.into()));
        let found = Inherited::by_name(handed).expect("sockets and a pipe");
        let keepers: Vec<Keeper> = found.public.iter().map(Socket::keeper).collect();
        assert_eq!((keepers, found.predecessor.is_some()), (vec![Keeper::Nobody, Keeper::Manager], true));
        let names: Vec<String> =
            found.public.iter().map(|socket| socket_name(socket, ListenerKind::Public)).collect();
        assert_eq!(names, ["public", "public-kept"]);
        let admin = found.admin.map(|admin| socket_name(&admin, ListenerKind::Admin));
        assert_eq!(admin.as_deref(), Some("admin"));
    }

    #[test]
    fn listeners_for_https_have_a_name_of_their_own() {
        let named = |name: &str| (name.to_owned(), socket(LOCALHOST));
        let sockets = vec![named("tls"), named("tls-gateway.socket"), named("tls")];
        let found = Inherited::by_name(sockets).expect("sockets");
        assert_eq!((found.tls.len(), found.public.len()), (2, 1));
        assert_eq!(socket_name(&found.tls[0], ListenerKind::Tls), "tls-kept");
        let public = found.public[0].local_address().expect("an address").port();
        let told = found.mistakes(&config("127.0.0.1", public, "off"));
        assert!(told.len() == 2 && told[0].starts_with("TLS_PORT: a socket was handed over"), "{told:?}");
        assert!(told[0].ends_with("but the configured address is off"), "{told:?}");
    }

    #[test]
    fn what_a_predecessor_hands_over_for_https_may_be_of_no_use_any_more() {
        let (near, _far) = UnixStream::pair().expect("a pair");
        let secrets = [&9_u64.to_be_bytes()[..], &[7; 48]].concat();
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        std::io::Write::write_all(&mut writer, &secrets).expect("an empty pipe");
        drop(writer);
        let named = |name: &str| (name.to_owned(), socket(LOCALHOST));
        let pipes = [(TICKET_KEYS.to_owned(), reader.into()), (PREDECESSOR_PIPE.to_owned(), near.into())];
        let found = Inherited::by_name([named("tls")].into_iter().chain(pipes).collect());
        let found = found.expect("sockets and pipes");
        assert_eq!(found.mistakes(&config("127.0.0.1", 0, "off")), [""; 0]);
        assert_eq!(found.ticket_secrets.and_then(|found| found.to_bytes()), Some(secrets));
    }

    #[test]
    fn a_descriptor_that_is_not_a_listening_socket_is_an_error() {
        let file = std::fs::File::open("/dev/null").expect("a file").into();
        let result = Inherited::by_name(vec![("public".into(), socket(LOCALHOST)), ("x".into(), file)]);
        let errors = result.expect_err("a file is not a socket");
        assert!(errors.len() == 1 && errors[0].starts_with("LISTEN_FDS: descriptor 4 (x): "), "{errors:?}");
    }

    #[test]
    fn a_socket_with_another_address_is_refused() {
        let at =
            |address, name: &str| Inherited::by_name(vec![(name.to_owned(), socket(address))]).expect("one");
        let port = |found: &Inherited| found.public[0].local_address().expect("an address").port();
        let found = at(LOCALHOST, "");
        let right = port(&found);
        assert_eq!(found.mistakes(&config("127.0.0.1", right, "off")), [""; 0]);
        assert_eq!(found.mistakes(&config("127.0.0.1", 0, "off")), [""; 0]);
        for wrong in [
            config("127.0.0.1", right ^ 1, "off"),
            config("127.0.0.2", right, "off"),
            config("", right, "off"),
        ] {
            let mistakes = found.mistakes(&wrong);
            let is_one = mistakes.len() == 1;
            assert!(is_one && mistakes[0].starts_with("PORT: a socket was handed over"), "{mistakes:?}");
        }
        let everywhere = at(None, "");
        assert_eq!(everywhere.mistakes(&config("", port(&everywhere), "off")), [""; 0]);

        let admin = at(LOCALHOST, "admin");
        assert_eq!(admin.mistakes(&config("", 1, "127.0.0.1:0")), [""; 0]);
        for wrong in ["off", "127.0.0.2:0", "127.0.0.1:1"] {
            let mistakes = admin.mistakes(&config("", 2, wrong));
            let is_one = mistakes.len() == 1;
            assert!(is_one && mistakes[0].starts_with("ADMIN_ADDR: a socket was"), "{mistakes:?}");
        }
    }
}
