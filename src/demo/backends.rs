//! The backends' thread: five listeners on loopback and one for the page, one runtime.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use http::Method;
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::{FusionDriver, LegacyDriver, RuntimeBuilder};

use super::answer::Outgoing;
use super::bounds::{ACCEPT_BACKOFF, BIND_PATIENCE, BIND_PAUSE, CONNECTIONS_MAX};
use super::delivery::Handshake;
use super::page::Page;
use super::services::{Backend, Reply, Services};
use super::socket;
use super::wire::Wire;

/// How the auth backend signs: as the gateway verifies.
#[derive(Clone)]
pub struct TokenMint {
    /// The HS256 secret.
    pub secret: Vec<u8>,
    /// `iss`, when the gateway asks for one.
    pub issuer: Option<String>,
    /// `aud`, when the gateway asks for one.
    pub audience: Option<String>,
    /// The claim that names the user, usually `sub`.
    pub user_claim: String,
    /// How long a token is good for; whole seconds count.
    pub ttl: Duration,
}

/// Where the backends listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backends {
    /// Registers, logs in, issues tokens.
    pub auth: SocketAddr,
    /// Keeps messages.
    pub message: SocketAddr,
    /// A chat room over WebSocket.
    pub delivery: SocketAddr,
    /// Keeps a JSON document per user.
    pub profile: SocketAddr,
    /// Keeps who talks with whom.
    pub conversation: SocketAddr,
    /// Serves the page, which is no backend: the gateway does not know it.
    pub page: SocketAddr,
}

/// Starts the backends on ports of the kernel's choice, and the page on `page_port` (0: another one of these);
/// they run until the process ends. Every call starts six more, with a state of their own. An error: no socket,
/// no thread, or neither io_uring nor epoll.
pub fn start(mint: TokenMint, page: Page, page_port: u16) -> io::Result<Backends> {
    let (started, outcome) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("demo-backends".into())
        .spawn(move || run(Services::new(mint, page), page_port, &started))?;
    outcome.recv().map_err(|_| io::Error::other("the demo's thread ended while it started"))?
}

/// Says once where the backends are, or why they are nowhere.
type Started = mpsc::SyncSender<io::Result<Backends>>;

/// The thread. A kernel that has io_uring but gives us no ring (RLIMIT_MEMLOCK, before Linux 5.12) gets epoll.
fn run(services: Services, page_port: u16, started: &Started) {
    if let Ok(mut runtime) = RuntimeBuilder::<FusionDriver>::new().enable_timer().build() {
        return runtime.block_on(serve(services, page_port, started));
    }
    match RuntimeBuilder::<LegacyDriver>::new().enable_timer().build() {
        Ok(mut runtime) => runtime.block_on(serve(services, page_port, started)),
        Err(error) => drop(started.send(Err(error))),
    }
}

async fn serve(services: Services, page_port: u16, started: &Started) {
    let services = Rc::new(RefCell::new(services));
    match listen_all(page_port, &services) {
        Ok(backends) => {
            let _ = started.send(Ok(backends));
            // The thread belongs to the accept loops now, for as long as the process lives.
            std::future::pending::<()>().await;
        }
        Err(error) => drop(started.send(Err(error))),
    }
}

fn listen_all(page_port: u16, services: &Rc<RefCell<Services>>) -> io::Result<Backends> {
    Ok(Backends {
        auth: listen(Backend::Auth, 0, services)?,
        message: listen(Backend::Message, 0, services)?,
        delivery: listen(Backend::Delivery, 0, services)?,
        profile: listen(Backend::Profile, 0, services)?,
        conversation: listen(Backend::Conversation, 0, services)?,
        page: listen(Backend::Page, page_port, services).map_err(|error| told("PAGE_PORT", &error))?,
    })
}

/// The same error with a subject.
fn told(subject: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{subject}: {error}"))
}

/// Bound by monoio, inside the runtime: only it knows whether its driver wants a listener that blocks.
fn listen(backend: Backend, port: u16, services: &Rc<RefCell<Services>>) -> io::Result<SocketAddr> {
    let listener =
        bind(port).map_err(|error| told(&format!("cannot listen on 127.0.0.1 port {port}"), &error))?;
    let addr = listener.local_addr()?;
    monoio::spawn(accept(listener, backend, services.clone()));
    Ok(addr)
}

/// A ring that dies with its process is taken apart by the kernel in the background, and until then its accepts keep
/// their listeners. So a port that is taken may be that of a demo which has just ended: it is tried for a while.
fn bind(port: u16) -> io::Result<TcpListener> {
    // Not shared: with SO_REUSEPORT, monoio's default, another process of this user could join the port.
    let alone = ListenerOpts::new().reuse_port(false);
    let until = Instant::now() + BIND_PATIENCE;
    loop {
        match TcpListener::bind_with_config((Ipv4Addr::LOCALHOST, port), &alone) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                // The thread has nothing else to do yet.
                std::thread::sleep(BIND_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

async fn accept(listener: TcpListener, backend: Backend, services: Rc<RefCell<Services>>) {
    let open = Rc::new(Cell::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if open.get() < CONNECTIONS_MAX => {
                let place = Place::take(&open);
                let services = services.clone();
                monoio::spawn(async move {
                    converse(stream, backend, &services).await;
                    drop(place);
                });
            }
            Ok((stream, _)) => drop(stream),
            Err(_) => monoio::time::sleep(ACCEPT_BACKOFF).await,
        }
    }
}

/// One connection: answer by answer, until either side has enough or it is a WebSocket.
async fn converse(stream: TcpStream, backend: Backend, services: &RefCell<Services>) {
    // Answers are small and leave in one write; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    loop {
        let request = match wire.receive().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(refusal) => {
                let Some(answer) = refusal.answer() else { return };
                if wire.send(Outgoing::Last(answer)).await.is_ok() {
                    wire.linger().await;
                }
                return;
            }
        };
        let reply = services.borrow_mut().reply(backend, &request);
        let answer = match reply {
            Reply::Answer(answer) => answer,
            Reply::Switch(handshake) => return switch(wire, handshake).await,
        };
        let outgoing = match (request.method() == Method::HEAD, request.closes()) {
            (false, false) => Outgoing::Answer(answer),
            (true, false) => Outgoing::HeadOnly(answer),
            (false, true) => Outgoing::Last(answer),
            (true, true) => Outgoing::LastHeadOnly(answer),
        };
        if wire.send(outgoing).await.is_err() {
            return;
        }
        if request.closes() {
            return wire.linger().await;
        }
    }
}

/// The rest of a connection that is a WebSocket now.
async fn switch(mut wire: Wire, Handshake { response, seat }: Handshake) {
    if wire.send(Outgoing::Bytes(response)).await.is_ok() {
        socket::chat(&mut wire, &seat).await;
        // Whoever is gone is not present while its connection is wound up.
        drop(seat);
        wire.linger().await;
    }
}

/// One of the connections that a backend holds; dropping it gives the place back.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(open: &Rc<Cell<usize>>) -> Place {
        open.set(open.get() + 1);
        Place(open.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
