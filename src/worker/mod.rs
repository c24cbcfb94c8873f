//! The main loop of a core: it accepts connections, ticks and executes the orders of the control thread.

pub mod accept;
mod refusals;
pub mod redis;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::clock;
use crate::control::{ListenerDrain, Order, OrderReceiver, Target};
use crate::gateway::connection;
use crate::gateway::core::{ActiveCore, Core, Prepared, Replacement, Resources};
use crate::gateway::websocket::tunnel;
use crate::limits::{
    ACCESS_LOG_FLUSH_MS, DRAIN_IDLE_MS, DRAIN_LOOK_MS, HANDOVER_IDLE_MS, REDIS_FIRST_ATTEMPT_MS, TICK_MS,
};
use crate::net::listener::{Listener, Socket};

/// The resources and configuration that a core starts with.
pub struct Assignment {
    /// The prepared resources.
    pub prepared: Prepared,
    /// The first configuration.
    pub first: Replacement,
    /// The listening sockets.
    pub sockets: Vec<Socket>,
    /// The order channel.
    pub orders: OrderReceiver,
}

/// Runs a core until [`Order::Stop`] arrives.
///
/// # Errors
/// The runtime cannot register a socket.
pub async fn run(assignment: Assignment) -> io::Result<()> {
    let mut sockets = assignment.sockets;
    let listener_drain = Rc::new(Cell::new(ListenerDrain::Close));
    let orders = assignment.orders.open()?;
    let redis = redis::configured(&assignment.first.config).map(|(_, settings)| settings);
    let core = Core::new(Resources::new(assignment.prepared), &assignment.first, redis);
    let timers = core.resources.io.timers.clone();
    core.snapshot.redis.iter().for_each(|redis| drop(monoio::spawn(redis.clone().run())));
    let active = Rc::new(ActiveCore::new(core));
    monoio::spawn(tick(active.clone()));
    while let Some(order) = orders.next(&timers).await {
        match order {
            Order::Endpoints(Target::Upstream(address), endpoints) => {
                active.core().snapshot.replace_endpoints(&address, &endpoints);
            }
            Order::Endpoints(Target::Redis(address), endpoints) => {
                redis::replace_endpoints(&active.core(), &address, endpoints);
            }
            Order::Reload(replacement) => redis::reload(&active, &replacement).await,
            Order::Open => open(&active, &mut sockets, &listener_drain)?,
            Order::Drain(drain) => {
                listener_drain.set(drain);
                // A drain can precede `Order::Open`. The accept queues may already hold connections.
                open(&active, &mut sockets, &listener_drain)?;
                let core = active.core();
                core.drain(idle_grace_ms(drain, core.snapshot.config.timeouts.shutdown));
            }
            Order::Tunnel(handover) => tunnel::adopt(&active.core().resources, *handover),
            Order::Stop => break,
        }
    }
    active.core().resources.flush_access_log();
    Ok(())
}

/// How long a draining core waits for one more request on an idle connection. At most half of the drain timeout, so
/// that the response can still be sent before the timeout.
fn idle_grace_ms(listener_drain: ListenerDrain, drain: Duration) -> u64 {
    let grace_ms = match listener_drain {
        ListenerDrain::Close => DRAIN_IDLE_MS,
        ListenerDrain::HandOver => HANDOVER_IDLE_MS,
    };
    grace_ms.min(drain.as_millis() as u64 / 2)
}

/// Starts accepting connections from these sockets. Fails if the runtime cannot register a socket.
fn open(
    active: &Rc<ActiveCore>,
    sockets: &mut Vec<Socket>,
    listener_drain: &Rc<Cell<ListenerDrain>>,
) -> io::Result<()> {
    let listeners = sockets.drain(..).map(Listener::new).collect::<io::Result<Vec<_>>>()?;
    if !listeners.is_empty() {
        monoio::spawn(accept_clients(active.clone(), listeners, listener_drain.clone()));
    }
    Ok(())
}

/// Accepts connections after the first attempt to connect to Redis. Until then connections wait in the accept queues,
/// so that even the first requests are rate limited.
async fn accept_clients(
    active: Rc<ActiveCore>,
    listeners: Vec<Listener>,
    listener_drain: Rc<Cell<ListenerDrain>>,
) {
    let redis = active.core().snapshot.redis.clone();
    if let Some(redis) = redis {
        redis.first_attempt(clock::now_ms() + REDIS_FIRST_ATTEMPT_MS).await;
    }
    let serve = Rc::new(connection::server(active.clone()));
    for listener in listeners {
        monoio::spawn(accept::accept(active.clone(), serve.clone(), listener, listener_drain.clone()));
    }
}

/// Runs the periodic work of the core: timers at every tick, the access log and the connection pools at intervals.
async fn tick(active: Rc<ActiveCore>) {
    let (mut flushed_ms, mut swept_ms) = (0, 0);
    loop {
        let is_draining = active.core().resources.io.is_draining();
        let tick_ms = if is_draining { DRAIN_LOOK_MS } else { TICK_MS };
        monoio::time::sleep(Duration::from_millis(tick_ms)).await;
        let (core, now_ms) = (active.core(), clock::now_ms());
        core.resources.io.timers.tick(now_ms);
        core.resources.metrics.core.ticks.add(1);
        core.resources.metrics.core.held_bytes.set(core.resources.io.buffers.held() as u64);
        core.resources.metrics.connections.gave_way.add(core.resources.clients.take_gave_way());
        if now_ms - flushed_ms >= ACCESS_LOG_FLUSH_MS {
            flushed_ms = now_ms;
            core.resources.flush_access_log();
        }
        if now_ms - swept_ms >= SWEEP_MS {
            swept_ms = now_ms;
            core.resources.io.buffers.tidy();
            core.snapshot.upstreams.iter().for_each(|upstream| upstream.sweep(now_ms));
        }
    }
}

/// Interval at which the pools of idle upstream connections are swept, in milliseconds.
const SWEEP_MS: u64 = 1_000;
