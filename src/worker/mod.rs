//! The body of one core: it accepts, ticks, and obeys orders.

pub mod accept;
pub mod store;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::clock;
use crate::control::{Fate, Mailbox, Order, Target};
use crate::gateway::connection;
use crate::gateway::core::{ActiveCore, Core, Prepared, Replacement, Resources};
use crate::gateway::websocket::tunnel;
use crate::limits::{
    ACCESS_LOG_FLUSH_MS, DRAIN_IDLE_MS, DRAIN_LOOK_MS, HANDOVER_IDLE_MS, REDIS_FIRST_ATTEMPT_MS, TICK_MS,
};
use crate::net::listener::{Listener, Socket};

/// What one core is given to work with.
pub struct Assignment {
    /// What was prepared for the core.
    pub prepared: Prepared,
    /// Its first configuration.
    pub first: Replacement,
    /// Its listening sockets.
    pub sockets: Vec<Socket>,
    /// Its orders.
    pub mailbox: Mailbox,
}

/// Runs one core until it is told to stop. Errors: its sockets cannot be registered with the runtime.
pub async fn run(assignment: Assignment) -> io::Result<()> {
    let mut sockets = assignment.sockets;
    let fate = Rc::new(Cell::new(Fate::Closed));
    let mailbox = assignment.mailbox.open()?;
    let redis = store::redis(&assignment.first.config).map(|(_, settings)| settings);
    let core = Core::new(Resources::new(assignment.prepared), &assignment.first, redis);
    let timers = core.resources.io.timers.clone();
    core.snapshot.redis.iter().for_each(|redis| drop(monoio::spawn(redis.clone().run())));
    let active = Rc::new(ActiveCore::new(core));
    monoio::spawn(tick(active.clone()));
    while let Some(order) = mailbox.next(&timers).await {
        match order {
            Order::Endpoints(Target::Upstream(address), endpoints) => {
                active.core().snapshot.replace_endpoints(&address, &endpoints);
            }
            Order::Endpoints(Target::Redis(address), endpoints) => {
                store::replace_endpoints(&active.core(), &address, endpoints);
            }
            Order::Reload(replacement) => store::reload(&active, &replacement).await,
            Order::Open => open(&active, &mut sockets, &fate)?,
            Order::Drain(sockets_fate) => {
                fate.set(sockets_fate);
                // What came before there was an order to open waits in the queues, too.
                open(&active, &mut sockets, &fate)?;
                let core = active.core();
                core.drain(idle_grace_ms(sockets_fate, core.snapshot.config.timeouts.shutdown));
            }
            Order::Tunnel(handover) => tunnel::adopt(&active.core().resources, *handover),
            Order::Stop => break,
        }
    }
    active.core().resources.flush_access_log();
    Ok(())
}

/// How long whoever is idle may take for one more request. Part of the drain's time: none of them is to be cut off.
fn idle_grace_ms(fate: Fate, drain: Duration) -> u64 {
    let grace_ms = match fate {
        Fate::Closed => DRAIN_IDLE_MS,
        Fate::HandedOver => HANDOVER_IDLE_MS,
    };
    grace_ms.min(drain.as_millis() as u64 / 2)
}

/// Takes clients from all of these sockets. Errors: they cannot be registered with the runtime.
fn open(active: &Rc<ActiveCore>, sockets: &mut Vec<Socket>, fate: &Rc<Cell<Fate>>) -> io::Result<()> {
    let listeners = sockets.drain(..).map(Listener::new).collect::<io::Result<Vec<_>>>()?;
    if !listeners.is_empty() {
        monoio::spawn(take_clients(active.clone(), listeners, fate.clone()));
    }
    Ok(())
}

/// Takes clients as soon as Redis has been tried: until then they wait in the queues of the listeners, so that not
/// even the first of them passes unlimited.
async fn take_clients(active: Rc<ActiveCore>, listeners: Vec<Listener>, fate: Rc<Cell<Fate>>) {
    let redis = active.core().snapshot.redis.clone();
    if let Some(redis) = redis {
        redis.first_attempt(clock::now_ms() + REDIS_FIRST_ATTEMPT_MS).await;
    }
    let serve = Rc::new(connection::server(active.clone()));
    for listener in listeners {
        monoio::spawn(accept::accept(active.clone(), serve.clone(), listener, fate.clone()));
    }
}

/// The core's clockwork: deadlines at every tick, the access log and the pools now and then.
async fn tick(active: Rc<ActiveCore>) {
    let (mut flushed_ms, mut swept_ms) = (0, 0);
    loop {
        let is_draining = active.core().resources.io.is_draining();
        let tick_ms = if is_draining { DRAIN_LOOK_MS } else { TICK_MS };
        monoio::time::sleep(Duration::from_millis(tick_ms)).await;
        let (core, now_ms) = (active.core(), clock::now_ms());
        core.resources.io.timers.tick(now_ms);
        core.resources.metrics.core.ticks.add(1);
        if now_ms - flushed_ms >= ACCESS_LOG_FLUSH_MS {
            flushed_ms = now_ms;
            core.resources.flush_access_log();
        }
        if now_ms - swept_ms >= SWEEP_MS {
            swept_ms = now_ms;
            core.snapshot.upstreams.iter().for_each(|upstream| upstream.sweep(now_ms));
        }
    }
}

/// How often idle upstream connections are looked at, in milliseconds.
const SWEEP_MS: u64 = 1_000;
