//! Taking connections from the core's listener.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use tracing::warn;

use crate::clock;
use crate::control::Fate;
use crate::gateway::answer::reply;
use crate::gateway::core::ActiveCore;
use crate::limits::{ACCEPTS_PER_TURN, REFUSALS_AT_ONCE};
use crate::net::listener::{AcceptError, Listener};
use crate::net::{NEVER, Transport};

/// Accepts until the core drains. Then, unless the socket is handed over, nobody is let in any more, whoever is at the
/// door comes in, and only then does the listener close: closing it would reset those connections.
pub async fn accept(
    active: Rc<ActiveCore>,
    serve: Rc<impl Fn(Transport, SocketAddr)>,
    listener: Listener,
    fate: Rc<Cell<Fate>>,
) {
    let connections = active.core().resources.metrics.connections.clone();
    connections.listening.add(1);
    let door = Door { active, serve, refusals: Rc::default() };
    let mut exhausted = Exhausted::default();
    let mut closes_ms = NEVER;
    loop {
        let core = door.active.core();
        if core.resources.io.is_draining() && closes_ms == NEVER {
            if fate.get() == Fate::HandedOver {
                break;
            }
            let some_come = listener.turn_away();
            closes_ms = clock::now_ms() + if some_come { core.resources.io.idle_grace_ms() } else { 0 };
        }
        match door.take_waiting(&listener) {
            Taken::Everything if clock::now_ms() >= closes_ms => break,
            Taken::Everything => {
                let look_again = closes_ms.min(clock::now_ms() + LOOK_AGAIN_MS);
                let _ = core.resources.io.until_drain(look_again, pin!(listener.readable())).await;
            }
            // The others get their turn; the poll completes at once.
            Taken::Enough => {
                let _ = listener.readable().await;
            }
            Taken::Failed(error) => {
                exhausted.say(&error);
                core.resources.io.timers.sleep_until(clock::now_ms() + BACKOFF_MS).await;
            }
            Taken::Over => break,
        }
    }
    match fate.get() {
        Fate::Closed => listener.close(),
        Fate::HandedOver => listener.leave(),
    }
    connections.listening.subtract(1);
}

struct Door<S> {
    active: Rc<ActiveCore>,
    /// Serves a connection that was let in.
    serve: Rc<S>,
    /// Connections that are being told that there is no room.
    refusals: Rc<Cell<usize>>,
}

enum Taken {
    Everything,
    Enough,
    Failed(std::io::Error),
    Over,
}

impl<S: Fn(Transport, SocketAddr)> Door<S> {
    fn take_waiting(&self, listener: &Listener) -> Taken {
        for _ in 0..ACCEPTS_PER_TURN {
            match listener.try_accept() {
                Ok(Some((stream, peer))) => self.admit(stream, peer),
                Ok(None) => return Taken::Everything,
                Err(AcceptError::Dropped(_)) => {}
                Err(AcceptError::Over) => return Taken::Over,
                Err(AcceptError::Exhausted(error)) => {
                    self.active.core().resources.metrics.connections.accept_failures.add(1);
                    return Taken::Failed(error);
                }
            }
        }
        Taken::Enough
    }

    fn admit(&self, stream: Transport, peer: SocketAddr) {
        let core = self.active.core();
        let connections = &core.resources.metrics.connections;
        connections.accepted.add(1);
        if connections.open.get() < core.connections_max() as u64 {
            connections.open.add(1);
            (self.serve)(stream, peer);
            return;
        }
        connections.refused.add(1);
        if self.refusals.get() < REFUSALS_AT_ONCE {
            self.refusals.set(self.refusals.get() + 1);
            let (core, refusals) = (core.clone(), self.refusals.clone());
            monoio::spawn(async move {
                reply::overloaded(&core, stream, peer).await;
                refusals.set(refusals.get() - 1);
            });
        }
    }
}

/// Says once a minute that there is no room for more sockets.
#[derive(Default)]
struct Exhausted {
    said_ms: Option<u64>,
}

impl Exhausted {
    fn say(&mut self, error: &std::io::Error) {
        let now_ms = clock::now_ms();
        if self.said_ms.is_none_or(|said_ms| now_ms - said_ms >= SAY_AGAIN_MS) {
            self.said_ms = Some(now_ms);
            warn!(%error, backoff_ms = BACKOFF_MS, "cannot accept connections: raise the limit of open files");
        }
    }
}

/// The pause after running out of file descriptors or memory, in milliseconds.
const BACKOFF_MS: u64 = 100;
/// How often that is said, in milliseconds.
const SAY_AGAIN_MS: u64 = 60_000;
/// A poll that has gone wrong is begun anew, in milliseconds.
const LOOK_AGAIN_MS: u64 = 10_000;
