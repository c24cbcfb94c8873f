//! A thread per core: pinned, with a ring and a listener of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;

use core_affinity::CoreId;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Plan;
use crate::buffers::Buffers;
use crate::relay;
use crate::upstream::Upstream;

/// Runs until the process is ended. Errors: the first core that cannot.
pub fn run(plan: &Plan) -> io::Result<()> {
    let (failed, failures) = std::sync::mpsc::channel();
    for &cpu in &plan.cores {
        // All of them before any is served: nobody shall connect to half a floor.
        let listener = listen(plan.listen)?;
        let (origin, failed) = (plan.origin, failed.clone());
        thread::Builder::new().name(format!("core-{cpu}")).spawn(move || {
            let _ = failed.send(serve(listener, origin, cpu));
        })?;
    }
    failures.recv().unwrap_or(Ok(()))
}

/// Accepts on this core for ever.
pub fn serve(listener: TcpListener, origin: SocketAddr, cpu: usize) -> io::Result<()> {
    if !core_affinity::set_for_current(CoreId { id: cpu }) {
        return Err(io::Error::other(format!("no CPU {cpu} for this process")));
    }
    ring()?.block_on(async {
        let listener = monoio::net::TcpListener::from_std(listener)?;
        let (upstream, buffers) = (Rc::new(Upstream::new(origin)), Rc::new(Buffers::default()));
        loop {
            let (client, _) = listener.accept().await?;
            monoio::spawn(relay::relay(client.into(), upstream.clone(), buffers.clone()));
        }
    })
}

/// The gateway's first choice (`ThreadRuntime`), without its timers.
fn ring() -> io::Result<Runtime<IoUringDriver>> {
    let mut flags = io_uring::IoUring::builder();
    flags.setup_single_issuer().setup_defer_taskrun();
    RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).uring_builder(flags).build()
}

/// One of the listeners that share a port. Accepted sockets inherit TCP_NODELAY.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// As the gateway's.
const RING_ENTRIES: u32 = 1024;
/// As the gateway's.
const BACKLOG: i32 = 4096;
