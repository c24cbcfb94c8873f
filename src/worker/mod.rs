//! The main loop of a core: it accepts connections, ticks and comes to the state that the control thread wants.

pub mod accept;
mod refusals;
pub mod redis;
#[cfg(test)]
mod tests;
mod ticker;

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use crate::clock;
use crate::control::{Desired, Drain, ListenerDrain, Mailbox, News, Step, Target};
use crate::gateway::connection;
use crate::gateway::core::{ActiveCore, Core, Prepared, Resources};
use crate::gateway::websocket::{online, tunnel};
use crate::http::Scheme;
use crate::limits::{DRAIN_IDLE_MS, HANDOVER_IDLE_MS, REDIS_FIRST_ATTEMPT_MS};
use crate::net::listener::{Listener, Socket};

/// The resources and configuration that a core starts with.
pub struct Assignment {
    /// The prepared resources.
    pub prepared: Prepared,
    /// The listening sockets, and what clients speak on each.
    pub sockets: Vec<(Scheme, Socket)>,
    /// The state that the core should be in, at first with the configuration of the start.
    pub mailbox: Mailbox,
}

/// Runs a core until it should stop.
///
/// # Errors
/// The runtime cannot register a socket.
pub async fn run(assignment: Assignment) -> io::Result<()> {
    let mut mailbox = assignment.mailbox.open()?;
    let mut worker = Worker::new(assignment.prepared, assignment.sockets, mailbox.seen());
    let io = worker.active.core().resources.io.clone();
    let timers = io.timers.clone();
    monoio::spawn(io.turns.clone().run());
    monoio::spawn(ticker::tick(worker.active.clone()));
    'running: while let Some(news) = mailbox.next(&timers).await {
        match news {
            News::Steps(steps) => {
                for step in steps {
                    if worker.take(step).await? == Next::Stop {
                        break 'running;
                    }
                }
            }
            News::Bulletin(bulletin) => {
                let core = worker.active.core();
                let code = core.snapshot.config.websocket.revoked_code;
                core.resources.live.take(bulletin, &core.resources.leashes, code);
            }
            News::Tunnel(handover) => tunnel::adopt(&worker.active.core().resources, *handover),
        }
    }
    worker.active.core().resources.flush_logs();
    Ok(())
}

/// What a core does besides its connections.
struct Worker {
    active: Rc<ActiveCore>,
    /// The sockets that the core does not accept connections from yet.
    sockets: Vec<(Scheme, Socket)>,
    listener_drain: Rc<Cell<ListenerDrain>>,
}

/// What follows on a step.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

impl Worker {
    fn new(prepared: Prepared, sockets: Vec<(Scheme, Socket)>, first: &Desired) -> Worker {
        let redis = redis::configured(&first.configuration.config).map(|(_, settings)| settings);
        let core = Core::new(Resources::new(prepared), &first.configuration, redis);
        core.snapshot.redis.iter().for_each(|redis| drop(monoio::spawn(redis.clone().run())));
        core.resources.metrics.core.config_version.set(first.version);
        let listener_drain = Rc::new(Cell::new(ListenerDrain::Close));
        Worker { active: Rc::new(ActiveCore::new(core)), sockets, listener_drain }
    }

    async fn take(&mut self, step: Step) -> io::Result<Next> {
        match step {
            Step::Configure(version, replacement, roster, topology) => {
                redis::reload(&self.active, &replacement, roster.as_ref(), topology.as_ref()).await;
                self.active.core().resources.metrics.core.config_version.set(version);
            }
            Step::Roster(Target::Upstream(name, members), roster) => {
                self.active.core().snapshot.replace_roster(&name, &members, &roster);
            }
            Step::Roster(Target::Redis(address), roster) => {
                redis::replace_endpoints(&self.active.core(), &address, &roster);
            }
            Step::Topology(address, topology) => {
                redis::take_topology(&self.active.core(), &address, &topology);
            }
            Step::Open => {
                self.open()?;
                self.take_tunnels();
            }
            Step::Drain(drain) => {
                self.listener_drain.set(drain.listeners);
                // A drain can precede the opening. The accept queues may already hold connections.
                self.open()?;
                let grace_ms = idle_grace_ms(&drain);
                if drain.listeners == ListenerDrain::HandOver {
                    self.move_tunnels(&drain);
                }
                self.active.core().drain(drain.begun_ms, drain.timeout_ms, grace_ms);
            }
            Step::Stop => {
                let resources = self.active.core().resources.clone();
                resources.cut().await;
                online::finish(&self.active.core()).await;
                return Ok(Next::Stop);
            }
        }
        Ok(Next::GoOn)
    }

    /// Moves the tunnels of the core to the new process, if there is a way.
    fn move_tunnels(&self, drain: &Drain) {
        let core = self.active.core();
        let Resources { lines, tunnels, .. } = &*core.resources;
        let moved_ms = drain.tunnels_ms.min(drain.timeout_ms / 2);
        tunnel::depart(&core.resources, lines.departing(tunnels.index()), drain.begun_ms + moved_ms);
    }

    /// Takes the tunnels of the process before.
    fn take_tunnels(&self) {
        let core = self.active.core();
        let Resources { lines, tunnels, .. } = &*core.resources;
        for line in lines.arriving(tunnels.index(), tunnels.cores()) {
            monoio::spawn(tunnel::arrive(self.active.clone(), line));
        }
    }

    /// Starts accepting connections. Fails if the runtime cannot register a socket.
    fn open(&mut self) -> io::Result<()> {
        let listener = |(scheme, socket)| Ok((scheme, Listener::new(socket)?));
        let listeners = self.sockets.drain(..).map(listener).collect::<io::Result<Vec<_>>>()?;
        if listeners.iter().any(|(scheme, _)| *scheme == Scheme::Https) {
            self.active.core().resources.io.handshakes.prepare();
        }
        if !listeners.is_empty() {
            monoio::spawn(accept_clients(self.active.clone(), listeners, self.listener_drain.clone()));
        }
        Ok(())
    }
}

/// How long a draining core waits for one more request on an idle connection. At most half of the drain timeout, so
/// that the response can still be sent before the timeout.
fn idle_grace_ms(drain: &Drain) -> u64 {
    let grace_ms = match drain.listeners {
        ListenerDrain::Close => DRAIN_IDLE_MS,
        ListenerDrain::HandOver => HANDOVER_IDLE_MS,
    };
    grace_ms.min(drain.timeout_ms / 2)
}

/// Accepts connections after the first attempt to connect to Redis. Until then connections wait in the accept queues,
/// so that even the first requests are rate limited.
async fn accept_clients(
    active: Rc<ActiveCore>,
    listeners: Vec<(Scheme, Listener)>,
    listener_drain: Rc<Cell<ListenerDrain>>,
) {
    let redis = active.core().snapshot.redis.clone();
    if let Some(redis) = redis {
        redis.first_attempt(clock::now_ms() + REDIS_FIRST_ATTEMPT_MS).await;
    }
    let serve = Rc::new(connection::server(active.clone()));
    for (scheme, listener) in listeners {
        let serve = serve.clone();
        monoio::spawn(accept::accept(active.clone(), serve, scheme, listener, listener_drain.clone()));
    }
}
