//! Accepts connections from a core's listener.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;

use crate::clock;
use crate::control::ListenerDrain;
use crate::downstream::clients::Network;
use crate::gateway::core::{ActiveCore, Core};
use crate::http::Scheme;
use crate::limits::{ACCEPTS_PER_TURN, ROOM_MADE_AT_ONCE};
use crate::net::listener::{AcceptError, Listener};
use crate::net::{NEVER, Transport, errno_name};
use crate::worker::refusals::{Refusal, Refusals};

/// Accepts connections until the core drains. If the drain hands the socket over, accepting stops immediately.
/// Otherwise new SYNs are dropped, the connections in the accept queue are accepted, and then the socket is closed.
/// Closing the socket first would reset those connections.
pub async fn accept(
    active: Rc<ActiveCore>,
    serve: Rc<impl Fn(Rc<Core>, Transport, SocketAddr, Scheme)>,
    scheme: Scheme,
    listener: Listener,
    listener_drain: Rc<Cell<ListenerDrain>>,
) {
    let connections = active.core().resources.metrics.connections.clone();
    connections.listening.add(1);
    let acceptor = Acceptor { active, serve, scheme, refusals: Refusals::default() };
    let mut closes_at_ms = NEVER;
    loop {
        let core = acceptor.active.core();
        if core.resources.io.is_draining() && closes_at_ms == NEVER {
            if listener_drain.get() == ListenerDrain::HandOver {
                break;
            }
            let may_have_pending = listener.turn_away();
            closes_at_ms =
                clock::now_ms() + if may_have_pending { core.resources.io.idle_grace_ms() } else { 0 };
        }
        match acceptor.accept_pending(&listener) {
            Accepted::All if clock::now_ms() >= closes_at_ms => break,
            // After a batch the poll lets other tasks of the core run. It usually completes at once, but not if the
            // batch has emptied the queue exactly.
            Accepted::All | Accepted::Batch => {
                let deadline_ms = closes_at_ms.min(clock::now_ms() + POLL_RESTART_MS);
                let _ = core.resources.io.until_drain(deadline_ms, pin!(listener.readable())).await;
            }
            Accepted::Failed => {
                core.resources.io.timers.sleep_until(clock::now_ms() + BACKOFF_MS).await;
            }
            Accepted::SocketClosed => break,
        }
    }
    match listener_drain.get() {
        ListenerDrain::Close => listener.close(),
        ListenerDrain::HandOver => listener.leave(),
    }
    connections.listening.subtract(1);
}

struct Acceptor<S> {
    active: Rc<ActiveCore>,
    /// Serves an accepted connection.
    serve: Rc<S>,
    scheme: Scheme,
    refusals: Refusals,
}

/// The result of accepting the connections in the accept queue.
enum Accepted {
    All,
    Batch,
    Failed,
    SocketClosed,
}

impl<S: Fn(Rc<Core>, Transport, SocketAddr, Scheme)> Acceptor<S> {
    fn accept_pending(&self, listener: &Listener) -> Accepted {
        for _ in 0..ACCEPTS_PER_TURN {
            match listener.try_accept() {
                Ok(Some((stream, peer))) => self.admit(stream, peer),
                Ok(None) => return Accepted::All,
                Err(AcceptError::Dropped(_)) => {}
                Err(AcceptError::Over) => return Accepted::SocketClosed,
                Err(AcceptError::Exhausted(error)) => {
                    let metrics = &self.active.core().resources.metrics;
                    metrics.connections.accept_failures.add(1);
                    metrics.refusal_notes.cannot_accept(errno_name(&error));
                    return Accepted::Failed;
                }
            }
        }
        Accepted::Batch
    }

    fn admit(&self, stream: Transport, peer: SocketAddr) {
        let core = self.active.core();
        core.resources.metrics.connections.accepted.add(1);
        match admission(&core, peer.ip()) {
            Ok(()) => {
                core.resources.metrics.connections.open.add(1);
                (self.serve)(core, stream, peer, self.scheme);
            }
            Err(refusal) => self.refusals.refuse(core, stream, peer, self.scheme, refusal),
        }
    }
}

/// Whether a client may have another connection. On a full core, connections that only wait give way to it.
fn admission(core: &Core, peer: IpAddr) -> Result<(), Refusal> {
    let (clients, metrics) = (&core.resources.clients, &core.resources.metrics.connections);
    if clients.connections(Network::of(peer)) >= core.connections_per_address_max() && !core.trusts(peer) {
        return Err(Refusal::Address);
    }
    let staying = metrics.open.get().saturating_sub(clients.leaving() as u64);
    let has_room =
        staying < core.connections_max() as u64 || clients.make_room(ROOM_MADE_AT_ONCE, clock::now_ms()) > 0;
    if has_room { Ok(()) } else { Err(Refusal::Full) }
}

/// Pause after running out of file descriptors or memory, in milliseconds.
const BACKOFF_MS: u64 = 100;
/// A poll is restarted after this time, in milliseconds, in case it has failed.
const POLL_RESTART_MS: u64 = 10_000;
