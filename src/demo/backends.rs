//! The thread of the backends: five listeners on loopback, one for the page, and one runtime.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Instant;

use http::Method;
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::{FusionDriver, FusionRuntime, LegacyDriver, RuntimeBuilder};
use serde::{Deserialize, Serialize};

use super::answer::Outgoing;
use super::backend::Backend;
use super::bounds::{ACCEPT_BACKOFF, BIND_PATIENCE, BIND_PAUSE, CONNECTIONS_MAX};
use super::delivery::Handshake;
use super::mint::TokenMint;
use super::page::Page;
use super::services::{Reply, Services};
use super::socket;
use super::wire::Wire;

/// The addresses of the backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Serves the page. It is not a backend, and the gateway does not know it.
    pub page: SocketAddr,
}

/// Starts the backends on ports that the kernel chooses, and the page on its listener. They run until the process ends.
/// Each call starts five more backends, with state of their own.
///
/// # Errors
/// No socket, no thread, or neither io_uring nor epoll.
pub fn start(mint: TokenMint, page: Page, listener: std::net::TcpListener) -> io::Result<Backends> {
    let (started, outcome) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("demo-backends".into())
        .spawn(move || run(Services::new(mint, page), listener, &started))?;
    outcome.recv().map_err(|_| io::Error::other("the demo's thread ended while it started"))?
}

/// Binds the port of the page (0: the kernel chooses), and retries for a while if it is taken. The kernel dismantles
/// the ring of an ended process in the background, and until then its accepts keep their listeners: the port may be
/// that of a demo that has just ended.
///
/// # Errors
/// The port is taken for longer than that, or there is no loopback interface.
pub fn bind_page(port: u16) -> io::Result<std::net::TcpListener> {
    let until = Instant::now() + BIND_PATIENCE;
    loop {
        match std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::sleep(BIND_PAUSE);
            }
            Err(error) => {
                let what = format!("PAGE_PORT: cannot listen on 127.0.0.1 port {port}: {error}");
                return Err(io::Error::new(error.kind(), what));
            }
            Ok(listener) => return Ok(listener),
        }
    }
}

/// Reports once the addresses of the backends, or why there are none.
type Started = mpsc::SyncSender<io::Result<Backends>>;

/// Runs the thread, on epoll if the kernel has io_uring but allows no ring (RLIMIT_MEMLOCK, before Linux 5.12).
fn run(services: Services, page: std::net::TcpListener, started: &Started) {
    if let Ok(mut runtime) = RuntimeBuilder::<FusionDriver>::new().enable_timer().build() {
        let accepts = match runtime {
            FusionRuntime::Uring(_) => Accepts::WithRing,
            FusionRuntime::Legacy(_) => Accepts::WithPolls,
        };
        return runtime.block_on(serve(services, (page, accepts), started));
    }
    match RuntimeBuilder::<LegacyDriver>::new().enable_timer().build() {
        Ok(mut runtime) => runtime.block_on(serve(services, (page, Accepts::WithPolls), started)),
        Err(error) => drop(started.send(Err(error))),
    }
}

/// How the thread takes connections from a listener: a ring waits on a blocking one, epoll must not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepts {
    WithRing,
    WithPolls,
}

async fn serve(services: Services, page: (std::net::TcpListener, Accepts), started: &Started) {
    let services = Rc::new(RefCell::new(services));
    match listen_all(page, &services) {
        Ok(backends) => {
            let _ = started.send(Ok(backends));
            // The accept loops run on this thread until the process ends.
            std::future::pending::<()>().await;
        }
        Err(error) => drop(started.send(Err(error))),
    }
}

fn listen_all(
    (page, accepts): (std::net::TcpListener, Accepts),
    services: &Rc<RefCell<Services>>,
) -> io::Result<Backends> {
    let backends = Backends {
        auth: listen(Backend::Auth, services)?,
        message: listen(Backend::Message, services)?,
        delivery: listen(Backend::Delivery, services)?,
        profile: listen(Backend::Profile, services)?,
        conversation: listen(Backend::Conversation, services)?,
        page: page.local_addr()?,
    };
    page.set_nonblocking(accepts == Accepts::WithPolls)?;
    monoio::spawn(accept(TcpListener::from_std(page)?, Backend::Page, services.clone()));
    Ok(backends)
}

/// Binds with monoio, inside the runtime, because only monoio knows whether its driver needs a blocking listener.
fn listen(backend: Backend, services: &Rc<RefCell<Services>>) -> io::Result<SocketAddr> {
    // Not shared. With SO_REUSEPORT, the default of monoio, another process of this user could bind the same port.
    let alone = ListenerOpts::new().reuse_port(false);
    let listener = TcpListener::bind_with_config((Ipv4Addr::LOCALHOST, 0), &alone)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on 127.0.0.1: {error}")))?;
    let addr = listener.local_addr()?;
    monoio::spawn(accept(listener, backend, services.clone()));
    Ok(addr)
}

async fn accept(listener: TcpListener, backend: Backend, services: Rc<RefCell<Services>>) {
    let open = Rc::new(Cell::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if open.get() < CONNECTIONS_MAX => {
                let slot = ConnectionSlot::take(&open);
                let services = services.clone();
                monoio::spawn(async move {
                    serve_connection(stream, backend, &services).await;
                    drop(slot);
                });
            }
            Ok((stream, _)) => drop(stream),
            Err(_) => monoio::time::sleep(ACCEPT_BACKOFF).await,
        }
    }
}

/// Serves one connection, until either side closes it or it becomes a WebSocket.
async fn serve_connection(stream: TcpStream, backend: Backend, services: &RefCell<Services>) {
    // Answers are small and leave in one write. Waiting for more bytes would only delay them.
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    loop {
        let request = match wire.receive().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                let Some(answer) = error.answer() else { return };
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

/// Serves the rest of a connection that has become a WebSocket.
async fn switch(mut wire: Wire, Handshake { response, participant }: Handshake) {
    if wire.send(Outgoing::Bytes(response)).await.is_ok() {
        socket::chat(&mut wire, &participant).await;
        // A user who has gone must not be shown as present while the connection lingers.
        drop(participant);
        wire.linger().await;
    }
}

/// One of the connections that a backend may have. Dropping it frees the slot.
struct ConnectionSlot(Rc<Cell<usize>>);

impl ConnectionSlot {
    fn take(open: &Rc<Cell<usize>>) -> ConnectionSlot {
        open.set(open.get() + 1);
        ConnectionSlot(open.clone())
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
