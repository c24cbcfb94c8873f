//! The backends' thread: five listeners on loopback, one runtime.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use http::Method;
use monoio::net::{TcpListener, TcpStream};
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
    let (auth, auth_addr) = listen()?;
    let (message, message_addr) = listen()?;
    let (delivery, delivery_addr) = listen()?;
    let (profile, profile_addr) = listen()?;
    let (conversation, conversation_addr) = listen()?;
    let listeners = vec![
        (Backend::Auth, auth),
        (Backend::Message, message),
        (Backend::Delivery, delivery),
        (Backend::Profile, profile),
        (Backend::Conversation, conversation),
    ];
    let (started, outcome) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("demo-backends".into())
        .spawn(move || run(listeners, Services::new(mint), &started))?;
    outcome.recv().map_err(|_| io::Error::other("the demo's thread ended while it started"))??;
    Ok(Backends {
        auth: auth_addr,
        message: message_addr,
        delivery: delivery_addr,
        profile: profile_addr,
        conversation: conversation_addr,
    })
}

type Listeners = Vec<(Backend, std::net::TcpListener)>;

fn listen() -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The epoll driver tries first and waits only when told to.
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

/// The thread. A kernel that has io_uring but gives us no ring (RLIMIT_MEMLOCK, before Linux 5.12) gets epoll.
fn run(listeners: Listeners, services: Services, started: &mpsc::SyncSender<io::Result<()>>) {
    if let Ok(mut runtime) = RuntimeBuilder::<FusionDriver>::new().enable_timer().build() {
        return runtime.block_on(serve(listeners, services, started));
    }
    match RuntimeBuilder::<LegacyDriver>::new().enable_timer().build() {
        Ok(mut runtime) => runtime.block_on(serve(listeners, services, started)),
        Err(error) => drop(started.send(Err(error))),
    }
}

async fn serve(listeners: Listeners, services: Services, started: &mpsc::SyncSender<io::Result<()>>) {
    let services = Rc::new(RefCell::new(services));
    let tasks: io::Result<Vec<_>> = listeners
        .into_iter()
        .map(|(backend, listener)| {
            let listener = TcpListener::from_std(listener)?;
            Ok(monoio::spawn(accept(listener, backend, services.clone())))
        })
        .collect();
    let (tasks, outcome) = match tasks {
        Ok(tasks) => (tasks, Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    };
    let _ = started.send(outcome);
    for task in tasks {
        task.await;
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
