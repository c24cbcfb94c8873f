//! The thread of the backends: five listeners on loopback, one for the page, and one runtime.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Instant;

use http::Method;
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::{FusionDriver, LegacyDriver, RuntimeBuilder};

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
    /// Serves the page. It is not a backend, and the gateway does not know it.
    pub page: SocketAddr,
}

/// Starts the backends on ports that the kernel chooses, and the page on `page_port` (0: the kernel chooses). They run
/// until the process ends. Each call starts six more, with state of their own.
///
/// # Errors
/// No socket, no thread, or neither io_uring nor epoll.
pub fn start(mint: TokenMint, page: Page, page_port: u16) -> io::Result<Backends> {
    let (started, outcome) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("demo-backends".into())
        .spawn(move || run(Services::new(mint, page), page_port, &started))?;
    outcome.recv().map_err(|_| io::Error::other("the demo's thread ended while it started"))?
}

/// Reports once the addresses of the backends, or why there are none.
type Started = mpsc::SyncSender<io::Result<Backends>>;

/// Runs the thread, on epoll if the kernel has io_uring but allows no ring (RLIMIT_MEMLOCK, before Linux 5.12).
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
            // The accept loops run on this thread until the process ends.
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
        page: listen(Backend::Page, page_port, services)
            .map_err(|error| with_subject("PAGE_PORT", &error))?,
    })
}

/// Puts a subject in front of an error.
fn with_subject(subject: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{subject}: {error}"))
}

/// Binds with monoio, inside the runtime, because only monoio knows whether its driver needs a blocking listener.
fn listen(backend: Backend, port: u16, services: &Rc<RefCell<Services>>) -> io::Result<SocketAddr> {
    let listener = bind(port)
        .map_err(|error| with_subject(&format!("cannot listen on 127.0.0.1 port {port}"), &error))?;
    let addr = listener.local_addr()?;
    monoio::spawn(accept(listener, backend, services.clone()));
    Ok(addr)
}

/// Binds a port, and retries for a while if it is taken. The kernel dismantles the ring of an ended process in the
/// background, and until then its accepts keep their listeners: the port may be that of a demo that has just ended.
fn bind(port: u16) -> io::Result<TcpListener> {
    // Not shared. With SO_REUSEPORT, the default of monoio, another process of this user could bind the same port.
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
