//! What another process has handed over, by systemd's protocol (`sd_listen_fds`(3)): a service manager the sockets
//! that it listens on, or the process before us those and its end of a pipe.
//!
//! The names (`LISTEN_FDNAMES`) say what is what: `admin` is the admin listener, [`PIPE`] the pipe, and everything
//! else is the public listener.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{Errno, FdFlags};

use crate::config::{Config, Listen};
use crate::net::listener::{Keeper, Socket};

/// What was handed over. Without anybody before us, nothing.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Public listeners.
    pub public: Vec<Socket>,
    /// The admin listener.
    pub admin: Option<Socket>,
    /// The pipe to the process that we succeed.
    pub predecessor: Option<UnixStream>,
}

impl Inherited {
    /// Takes it over. Call it once, before anything opens a file: the protocol counts descriptors from 3 on.
    ///
    /// # Errors
    /// Lines of the form `LISTEN_FDS: what is wrong`.
    pub fn take() -> Result<Inherited, Vec<String>> {
        let handed = sd_listen_fds::get().map_err(|error| vec![format!("LISTEN_FDS: {error}")])?;
        let mut named = Vec::new();
        for (nth, (name, fd)) in handed.into_iter().enumerate() {
            let fd = fd.into_std();
            if rustix::io::fcntl_getfd(&fd) == Err(Errno::BADF) {
                // It is nobody's, so it must not be closed.
                std::mem::forget(fd);
                return Err(vec![format!("LISTEN_FDS: there is no descriptor {}", FIRST_FD + nth)]);
            }
            named.push((name.unwrap_or_default(), fd));
        }
        Inherited::sorted(named)
    }

    /// By their names.
    fn sorted(named: Vec<(String, OwnedFd)>) -> Result<Inherited, Vec<String>> {
        let mut inherited = Inherited::default();
        let mut sockets = Vec::new();
        for (nth, (name, fd)) in named.into_iter().enumerate() {
            if name == PIPE
                && rustix::net::sockopt::socket_domain(&fd) == Ok(rustix::net::AddressFamily::UNIX)
            {
                // The rest of the program starts other programs, perhaps.
                let _ = rustix::io::fcntl_setfd(fd.as_fd(), FdFlags::CLOEXEC);
                inherited.predecessor = Some(UnixStream::from(fd));
            } else {
                sockets.push((nth, name, fd));
            }
        }
        let is_succession = inherited.predecessor.is_some();
        let mut mistakes = Vec::new();
        for (nth, name, fd) in sockets {
            // A name of ours means what we have given it; of a manager's socket we only know that it is one.
            let is_ours = is_succession && !name.ends_with(KEPT);
            let keeper = if is_ours { Keeper::Nobody } else { Keeper::Manager };
            match Socket::adopt(fd, keeper) {
                Ok(socket) if name.starts_with(ADMIN) => inherited.admin = Some(socket),
                Ok(socket) => inherited.public.push(socket),
                Err(why) => {
                    mistakes.push(format!("LISTEN_FDS: descriptor {} ({name}): {why}", FIRST_FD + nth))
                }
            }
        }
        if mistakes.is_empty() { Ok(inherited) } else { Err(mistakes) }
    }

    /// What does not listen where the configuration says: somebody means something else, and a process that listened
    /// there would serve the wrong clients.
    pub fn mistakes(&self, config: &Config) -> Vec<String> {
        let mut mistakes = Vec::new();
        for socket in &self.public {
            match socket.local_address() {
                Ok(address) if is_meant(address, &config.listen) => {}
                found => mistakes.push(format!(
                    "PORT: a socket was handed over that listens on {}, and the gateway's address is {}",
                    shown(found),
                    meant(&config.listen)
                )),
            }
        }
        let wanted = config.admin_addr;
        match (self.admin.as_ref().map(Socket::local_address), wanted) {
            (None, _) => {}
            (Some(Ok(found)), Some(wanted)) if is_admin(found, wanted) => {}
            (Some(found), wanted) => mistakes.push(format!(
                "ADMIN_ADDR: a socket was handed over that listens on {}, and the admin listener's address is {}",
                shown(found),
                wanted.map_or_else(|| "off".to_owned(), |wanted| wanted.to_string())
            )),
        }
        mistakes
    }
}

/// What a socket is called on its way to a successor.
pub fn name(socket: &Socket, is_admin: bool) -> String {
    let noun = if is_admin { ADMIN } else { PUBLIC };
    match socket.keeper() {
        Keeper::Nobody => noun.to_owned(),
        Keeper::Manager => format!("{noun}{KEPT}"),
    }
}

fn is_meant(found: SocketAddr, listen: &Listen) -> bool {
    let is_port = listen.port == 0 || found.port() == listen.port;
    is_port && listen.bind.map_or(found.ip().is_unspecified(), |bind| found.ip() == bind)
}

fn is_admin(found: SocketAddr, wanted: SocketAddr) -> bool {
    found.ip() == wanted.ip() && (wanted.port() == 0 || found.port() == wanted.port())
}

fn meant(listen: &Listen) -> String {
    let address = listen.bind.map_or_else(|| "every address".to_owned(), |bind| bind.to_string());
    format!("{address}, port {}", listen.port)
}

fn shown(found: std::io::Result<SocketAddr>) -> String {
    found.map_or_else(|error| error.to_string(), |address| address.to_string())
}

/// The name of the pipe to a predecessor.
pub const PIPE: &str = "predecessor";
const PUBLIC: &str = "public";
const ADMIN: &str = "admin";
/// Behind the name of a socket that a service manager keeps.
const KEPT: &str = "-kept";
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
    fn names_say_what_is_what_and_whose() {
        let named =
            |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), socket(LOCALHOST))).collect();
        let found = Inherited::sorted(named(&["", "realchat-gateway.socket", "admin"])).expect("sockets");
        assert_eq!((found.public.len(), found.admin.is_some()), (2, true));
        assert!(found.public.iter().all(|socket| socket.keeper() == Keeper::Manager));

        let (near, _far) = UnixStream::pair().expect("a pair");
        let mut handed: Vec<(String, OwnedFd)> = named(&["public", "public-kept", "admin"]);
        handed.push((PIPE.to_owned(), near.into()));
        let found = Inherited::sorted(handed).expect("sockets and a pipe");
        let keepers: Vec<Keeper> = found.public.iter().map(Socket::keeper).collect();
        assert_eq!((keepers, found.predecessor.is_some()), (vec![Keeper::Nobody, Keeper::Manager], true));
        let names: Vec<String> = found.public.iter().map(|socket| name(socket, false)).collect();
        assert_eq!(names, ["public", "public-kept"]);
        assert_eq!(found.admin.map(|admin| name(&admin, true)).as_deref(), Some("admin"));
    }

    #[test]
    fn what_is_no_listening_socket_is_told() {
        let file = std::fs::File::open("/dev/null").expect("a file").into();
        let told = Inherited::sorted(vec![("public".into(), socket(LOCALHOST)), ("x".into(), file)]);
        let told = told.expect_err("a file is no socket");
        assert!(told.len() == 1 && told[0].starts_with("LISTEN_FDS: descriptor 4 (x): "), "{told:?}");
    }

    #[test]
    fn a_socket_elsewhere_is_refused() {
        let at =
            |address, name: &str| Inherited::sorted(vec![(name.to_owned(), socket(address))]).expect("one");
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
            let told = found.mistakes(&wrong);
            assert!(told.len() == 1 && told[0].starts_with("PORT: a socket was handed over"), "{told:?}");
        }
        let everywhere = at(None, "");
        assert_eq!(everywhere.mistakes(&config("", port(&everywhere), "off")), [""; 0]);

        let admin = at(LOCALHOST, "admin");
        assert_eq!(admin.mistakes(&config("", 1, "127.0.0.1:0")), [""; 0]);
        for wrong in ["off", "127.0.0.2:0", "127.0.0.1:1"] {
            let told = admin.mistakes(&config("", 2, wrong));
            assert!(told.len() == 1 && told[0].starts_with("ADMIN_ADDR: a socket was"), "{told:?}");
        }
    }
}
