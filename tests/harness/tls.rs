//! The same tests over TLS: what a test sends in the clear goes to the gateway through a TLS client in between.
//!
//! ```text
//! test ──plain──▶ shim ──TLS──▶ gateway
//! ```
//!
//! The shim adds nothing: an end of the connection is passed on as an end, and a reset as a reset.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::{Domain, Socket, Type};

/// Whether this test is one of those that run over TLS: its module says so.
pub fn is_wanted() -> bool {
    thread::current().name().is_some_and(|name| name.starts_with("over_tls::"))
}

/// A certificate for the names of the tests, made once.
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client: Arc<ClientConfig>,
}

pub fn certificate() -> &'static Certificate {
    static MADE: OnceLock<Certificate> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["chat.test".to_owned()]).expect("a certificate");
        let folder = std::env::temp_dir().join(format!("realchat-shim-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&cert, made.cert.pem()).expect("a file in our own folder");
        fs::write(&key, made.signing_key.serialize_pem()).expect("a file in our own folder");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Certificate { cert, key, client: Arc::new(client) }
    })
}

/// A session with the gateway that has not begun.
pub fn session() -> ClientConnection {
    let name = ServerName::try_from("chat.test").expect("a name");
    ClientConnection::new(certificate().client.clone(), name).expect("a session")
}

/// The way to a gateway's TLS listener; dropped, it takes no more connections.
pub struct Shim {
    pub address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Shim {
    pub fn before(gateway: SocketAddr) -> Shim {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let is_over = Arc::<AtomicBool>::default();
        let ends = is_over.clone();
        thread::spawn(move || {
            while let Ok((client, peer)) = listener.accept() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                thread::spawn(move || carry(client, peer, gateway));
            }
        });
        Shim { address, is_over }
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Carries one connection to its end. The gateway sees the client's own address.
fn carry(client: TcpStream, peer: SocketAddr, gateway: SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let _ = socket.bind(&SocketAddr::new(peer.ip(), 0).into());
    let server = match socket.connect(&gateway.into()) {
        Ok(()) => TcpStream::from(socket),
        Err(_) => return super::origin::linger_zero(&client),
    };
    for stream in [&client, &server] {
        stream.set_nonblocking(true).expect("a mode");
        stream.set_nodelay(true).expect("an option");
    }
    let mut carried = Carried { client, server, tls: session(), to_client: Vec::new(), from: Open, to: Open };
    if carried.run().is_err() {
        super::origin::linger_zero(&carried.client);
        super::origin::linger_zero(&carried.server);
    }
}

/// How far the end of a direction is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// The sender has ended.
    Ended,
    /// The receiver knows.
    Told,
}
use Way::{Ended, Open, Told};

struct Carried {
    client: TcpStream,
    server: TcpStream,
    tls: ClientConnection,
    to_client: Vec<u8>,
    /// From the client to the gateway.
    from: Way,
    /// From the gateway to the client.
    to: Way,
}

impl Carried {
    fn run(&mut self) -> std::io::Result<()> {
        loop {
            self.write()?;
            if (self.from, self.to) == (Told, Told) {
                return Ok(());
            }
            let takes = self.from == Open && !self.tls.wants_write() && !self.tls.is_handshaking();
            let gives = self.to == Open && self.to_client.len() < PENDING_MAX;
            let flag = |holds, flag| if holds { flag } else { PollFlags::empty() };
            let of_client = flag(takes, PollFlags::IN) | flag(!self.to_client.is_empty(), PollFlags::OUT);
            let of_server = flag(gives, PollFlags::IN) | flag(self.tls.wants_write(), PollFlags::OUT);
            let mut polled = [PollFd::new(&self.client, of_client), PollFd::new(&self.server, of_server)];
            poll(&mut polled, None)?;
            let [client, server] = polled.map(|polled| polled.revents());
            let broken = PollFlags::ERR | PollFlags::NVAL;
            if client.intersects(broken) || (server.intersects(broken) && self.to != Open) {
                return Err(ErrorKind::ConnectionReset.into());
            }
            if takes && client.intersects(PollFlags::IN | PollFlags::HUP) {
                self.read_client()?;
            }
            if gives && server.intersects(PollFlags::IN | PollFlags::HUP | broken) {
                self.read_server()?;
            }
        }
    }

    fn read_client(&mut self) -> std::io::Result<()> {
        let mut space = [0; 16 * 1024];
        match self.client.read(&mut space) {
            Ok(0) => {
                self.tls.send_close_notify();
                self.from = Ended;
            }
            Ok(n) => self.tls.writer().write_all(&space[..n])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn read_server(&mut self) -> std::io::Result<()> {
        let mut is_over = false;
        match self.tls.read_tls(&mut self.server) {
            Ok(n) => is_over = n == 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let state = self.tls.process_new_packets().map_err(std::io::Error::other)?;
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        self.tls.reader().read_exact(&mut plain)?;
        self.to_client.extend(plain);
        if is_over || state.peer_has_closed() {
            self.to = Ended;
        }
        Ok(())
    }

    fn write(&mut self) -> std::io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.server) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        while !self.to_client.is_empty() {
            match self.client.write(&self.to_client) {
                Ok(n) => drop(self.to_client.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.from == Ended && !self.tls.wants_write() {
            self.from = Told;
            let _ = self.server.shutdown(Shutdown::Write);
        }
        if self.to == Ended && self.to_client.is_empty() {
            self.to = Told;
            let _ = self.client.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}

/// Bytes for a client that does not read. Over it: nothing more is read for it.
const PENDING_MAX: usize = 64 * 1024;
