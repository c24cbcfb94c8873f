//! The backends' thread: five listeners on loopback, one runtime.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use http::Method;
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::{FusionDriver, LegacyDriver, RuntimeBuilder};

use super::answer::Outgoing;
use super::bounds::{ACCEPT_BACKOFF, CONNECTIONS_MAX};
use super::services::{Backend, Services};
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
    /// Will speak WebSocket; answers 501 to a handshake until then.
    pub delivery: SocketAddr,
    /// Keeps a JSON document per user.
    pub profile: SocketAddr,
    /// Keeps who talks with whom.
    pub conversation: SocketAddr,
}

/// Starts the backends on ports of the kernel's choice; they run until the process ends. Every call
/// starts five more, with a state of their own. An error: no socket, no thread, or neither io_uring nor epoll.
pub fn start(mint: TokenMint) -> io::Result<Backends> {
    let (started, outcome) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("demo-backends".into())
        .spawn(move || run(Services::new(mint), &started))?;
    outcome.recv().map_err(|_| io::Error::other("the demo's thread ended while it started"))?
}

/// Says once where the backends are, or why they are nowhere.
type Started = mpsc::SyncSender<io::Result<Backends>>;

/// The thread. A kernel that has io_uring but gives us no ring (RLIMIT_MEMLOCK, before Linux 5.12) gets epoll.
fn run(services: Services, started: &Started) {
    if let Ok(mut runtime) = RuntimeBuilder::<FusionDriver>::new().enable_timer().build() {
        return runtime.block_on(serve(services, started));
    }
    match RuntimeBuilder::<LegacyDriver>::new().enable_timer().build() {
        Ok(mut runtime) => runtime.block_on(serve(services, started)),
        Err(error) => drop(started.send(Err(error))),
    }
}

async fn serve(services: Services, started: &Started) {
    let services = Rc::new(RefCell::new(services));
    match listen_all(&services) {
        Ok(backends) => {
            let _ = started.send(Ok(backends));
            // The thread belongs to the accept loops now, for as long as the process lives.
            std::future::pending::<()>().await;
        }
        Err(error) => drop(started.send(Err(error))),
    }
}

fn listen_all(services: &Rc<RefCell<Services>>) -> io::Result<Backends> {
    Ok(Backends {
        auth: listen(Backend::Auth, services)?,
        message: listen(Backend::Message, services)?,
        delivery: listen(Backend::Delivery, services)?,
        profile: listen(Backend::Profile, services)?,
        conversation: listen(Backend::Conversation, services)?,
    })
}

/// Bound by monoio, inside the runtime: only it knows whether its driver wants a listener that blocks.
fn listen(backend: Backend, services: &Rc<RefCell<Services>>) -> io::Result<SocketAddr> {
    // Not shared: with SO_REUSEPORT, monoio's default, another process of this user could join the port.
    let alone = ListenerOpts::new().reuse_port(false);
    let listener = TcpListener::bind_with_config((Ipv4Addr::LOCALHOST, 0), &alone)?;
    let addr = listener.local_addr()?;
    monoio::spawn(accept(listener, backend, services.clone()));
    Ok(addr)
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

/// One connection: answer by answer, until either side has enough.
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
        let answer = services.borrow_mut().answer(backend, &request);
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
