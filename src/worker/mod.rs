//! The body of one core: it accepts, ticks, and obeys orders.

pub mod accept;
pub mod store;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::clock;
use crate::control::{Mailbox, Order, Target};
use crate::gateway::core::Parts;
use crate::gateway::{Core, InForce};
use crate::limits::{ACCESS_LOG_FLUSH_MS, REDIS_FIRST_ATTEMPT_MS, TICK_MS};
use crate::net::listener::Listener;

/// What one core is given to work with.
pub struct Assignment {
    /// What the core is made of.
    pub parts: Parts,
    /// Its listening socket.
    pub listener: OwnedFd,
    /// Its orders.
    pub mailbox: Mailbox,
}

/// Runs one core until it is told to stop. Errors: its sockets cannot be registered with the runtime.
pub async fn run(assignment: Assignment) -> io::Result<()> {
    let listener = Listener::new(assignment.listener)?;
    let mailbox = assignment.mailbox.open()?;
    let core = Core::new(assignment.parts);
    let (timers, redis) = (core.timers.clone(), core.redis.clone());
    let in_force = Rc::new(InForce::new(core));
    monoio::spawn(tick(in_force.clone()));
    redis.iter().for_each(|redis| drop(monoio::spawn(redis.clone().run())));
    monoio::spawn(open(in_force.clone(), listener));
    while let Some(order) = mailbox.next(&timers).await {
        match order {
            Order::Endpoints(Target::Upstream(address), endpoints) => {
                in_force.core().replace_endpoints(&address, &endpoints);
            }
            Order::Endpoints(Target::Redis, endpoints) => {
                redis.iter().for_each(|redis| redis.replace_endpoints(endpoints.clone()));
            }
            Order::Reload(replacement) => in_force.replace(&replacement),
            Order::Drain => in_force.core().drain(),
            Order::Stop => break,
        }
    }
    let core = in_force.core();
    if let Some(log) = &core.access_log {
        log.borrow_mut().flush(&core.counters);
    }
    Ok(())
}

/// Takes clients as soon as Redis has been tried: until then they wait in the listener's queue, so that not
/// even the first of them passes unlimited.
async fn open(in_force: Rc<InForce>, listener: Listener) {
    let redis = in_force.core().redis.clone();
    if let Some(redis) = redis {
        redis.first_attempt(clock::now_ms() + REDIS_FIRST_ATTEMPT_MS).await;
    }
    accept::accept(in_force, listener).await;
}

/// The core's clockwork: deadlines at every tick, the access log and the pools now and then.
async fn tick(in_force: Rc<InForce>) {
    let (mut flushed_ms, mut swept_ms) = (0, 0);
    loop {
        monoio::time::sleep(Duration::from_millis(TICK_MS)).await;
        let (core, now_ms) = (in_force.core(), clock::now_ms());
        core.timers.tick(now_ms);
        core.counters.ticks.add(1);
        if now_ms - flushed_ms >= ACCESS_LOG_FLUSH_MS {
            flushed_ms = now_ms;
            if let Some(log) = &core.access_log {
                log.borrow_mut().flush(&core.counters);
            }
        }
        if now_ms - swept_ms >= SWEEP_MS {
            swept_ms = now_ms;
            core.upstreams.iter().for_each(|upstream| upstream.sweep(now_ms, &core.counters));
        }
    }
}

/// How often idle upstream connections are looked at, in milliseconds.
const SWEEP_MS: u64 = 1_000;
