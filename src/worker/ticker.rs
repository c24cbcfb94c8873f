//! The clockwork of a core: its timers, and what is due now and then. How late it is tells how busy the core is.

use std::rc::Rc;
use std::time::Duration;

use crate::clock;
use crate::gateway::core::ActiveCore;
use crate::gateway::websocket::online;
use crate::limits::{ACCESS_LOG_FLUSH_MS, DRAIN_LOOK_MS, TICK_MS};

/// Runs the periodic work of the core: timers at every tick, the access log and the connection pools at intervals.
pub(super) async fn tick(active: Rc<ActiveCore>) {
    let (mut flushed_ms, mut swept_ms, mut tidied_ms) = (0, 0, 0);
    let (mut delays, mut busy_us) = (Delays::default(), 0);
    loop {
        let is_draining = active.core().resources.io.is_draining();
        let tick_ms = if is_draining { DRAIN_LOOK_MS } else { TICK_MS };
        let due_ms = clock::now_ms() + tick_ms;
        monoio::time::sleep(Duration::from_millis(tick_ms)).await;
        let (core, now_ms) = (active.core(), clock::now_ms());
        core.resources.io.timers.tick(now_ms);
        if core.resources.roll_call.tick(now_ms, || core.resources.io.timers.waits()) {
            core.resources.io.timers.wake_all();
        }
        core.resources.leashes.tick();
        online::tick(&core);
        let metrics = &core.resources.metrics.core;
        metrics.ticks.add(1);
        metrics.held_bytes.set(core.resources.io.buffers.held() as u64);
        core.resources.metrics.tls.pending.set(core.resources.io.handshakes.in_flight() as u64);
        core.resources.metrics.connections.gave_way.add(core.resources.clients.take_gave_way());
        let delay_ms = now_ms.saturating_sub(due_ms);
        core.resources.storm.borrow_mut().watch(core.resources.metrics.load());
        metrics.lag.set(delay_ms * 1_000);
        metrics.lag_max.set(delays.longest(delay_ms, now_ms) * 1_000);
        let cpu_us = clock::thread_cpu_us();
        metrics.busy.add(cpu_us.saturating_sub(busy_us));
        busy_us = cpu_us;
        if now_ms - flushed_ms >= ACCESS_LOG_FLUSH_MS {
            flushed_ms = now_ms;
            core.resources.flush_logs();
        }
        if now_ms - tidied_ms >= TIDY_MS {
            tidied_ms = now_ms;
            core.tidy();
        }
        if now_ms - swept_ms >= SWEEP_MS {
            swept_ms = now_ms;
            core.snapshot.upstreams.iter().for_each(|upstream| upstream.sweep(now_ms));
        }
    }
}

/// The longest delays of the minute that runs and of the one before.
#[derive(Default)]
struct Delays {
    begun_ms: u64,
    running_ms: u64,
    before_ms: u64,
}

impl Delays {
    /// Adds a delay, and returns the longest one.
    fn longest(&mut self, delay_ms: u64, now_ms: u64) -> u64 {
        let minutes = now_ms.saturating_sub(self.begun_ms) / DELAYS_MS;
        if minutes > 0 {
            self.before_ms = if minutes == 1 { self.running_ms } else { 0 };
            (self.begun_ms, self.running_ms) = (now_ms, 0);
        }
        self.running_ms = self.running_ms.max(delay_ms);
        self.running_ms.max(self.before_ms)
    }
}

/// Interval at which the pools of idle upstream connections are swept, in milliseconds.
const SWEEP_MS: u64 = 1_000;
/// Interval at which memory that nobody needed meanwhile is freed, in milliseconds: a client that asks once in a few
/// seconds does not make the core allocate.
const TIDY_MS: u64 = 10_000;
/// How long the longest delay is remembered at least, in milliseconds.
const DELAYS_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_delay_is_remembered_for_one_to_two_minutes() {
        let mut delays = Delays { begun_ms: 1_000, ..Delays::default() };
        assert_eq!(
            (delays.longest(5, 1_000), delays.longest(900, 2_000), delays.longest(3, 3_000)),
            (5, 900, 900)
        );
        assert_eq!(delays.longest(7, 1_000 + DELAYS_MS), 900);
        assert_eq!(delays.longest(1, 1_000 + 2 * DELAYS_MS), 7);
        assert_eq!(delays.longest(2, 1_000 + 5 * DELAYS_MS), 2, "nothing was seen for minutes");
    }
}
