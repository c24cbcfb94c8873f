//! Whether every core still turns, and reaches Redis: a core whose ticker stands still is down, and the process
//! not ready; without Redis it is degraded.

use std::sync::Arc;

use tracing::{error, info};

use crate::gateway::core::readiness::{Health, Readiness};
use crate::limits::CORE_STALL_MS;
use crate::telemetry::Counters;

/// Looks at the cores' heartbeats.
pub struct Watch {
    cores: Vec<Heartbeat>,
    health: Arc<Health>,
}

struct Heartbeat {
    counters: Arc<Counters>,
    ticks: u64,
    since_ms: u64,
    is_down: bool,
}

impl Watch {
    /// Every core counts as turning at first.
    pub fn new(cores: &[Arc<Counters>], health: Arc<Health>, now_ms: u64) -> Watch {
        let heartbeat = |counters: &Arc<Counters>| Heartbeat {
            counters: counters.clone(),
            ticks: 0,
            since_ms: now_ms,
            is_down: false,
        };
        Watch { cores: cores.iter().map(heartbeat).collect(), health }
    }

    /// Compares, and sets the readiness when it changes.
    pub fn look(&mut self, now_ms: u64) {
        for (index, core) in self.cores.iter_mut().enumerate() {
            let ticks = core.counters.ticks.get();
            if ticks != core.ticks {
                (core.ticks, core.since_ms) = (ticks, now_ms);
            }
            let is_down = now_ms.saturating_sub(core.since_ms) > CORE_STALL_MS;
            match (core.is_down, is_down) {
                (false, true) => error!(core = index, "the core has stopped turning"),
                (true, false) => info!(core = index, "the core is turning again"),
                _ => {}
            }
            core.is_down = is_down;
        }
        let all_turn = self.cores.iter().all(|core| !core.is_down);
        let all_reach = self.cores.iter().all(|core| core.counters.redis_breaker_open.get() == 0);
        self.health.set(match (all_turn, all_reach) {
            (true, true) => Readiness::Ready,
            (true, false) => Readiness::Degraded,
            (false, _) => Readiness::CoreDown,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_stands_still_makes_the_process_unready_until_it_turns_again() {
        let (counters, health) = (Arc::new(Counters::default()), Arc::new(Health::default()));
        let mut watch = Watch::new(std::slice::from_ref(&counters), health.clone(), 0);
        watch.look(CORE_STALL_MS);
        assert_eq!(health.get(), Readiness::Ready);
        watch.look(CORE_STALL_MS + 1);
        assert_eq!(health.get(), Readiness::CoreDown);
        counters.ticks.add(1);
        watch.look(CORE_STALL_MS + 2);
        assert_eq!(health.get(), Readiness::Ready);
    }

    #[test]
    fn a_core_without_redis_makes_the_process_degraded_and_no_worse() {
        let (counters, health) = (Arc::new(Counters::default()), Arc::new(Health::default()));
        let mut watch = Watch::new(std::slice::from_ref(&counters), health.clone(), 0);
        counters.redis_breaker_open.set(1);
        watch.look(1);
        assert_eq!(health.get(), Readiness::Degraded);
        assert!(health.get().is_ready());
        watch.look(CORE_STALL_MS + 1);
        assert_eq!(health.get(), Readiness::CoreDown);
        counters.ticks.add(1);
        counters.redis_breaker_open.set(0);
        watch.look(CORE_STALL_MS + 2);
        assert_eq!(health.get(), Readiness::Ready);
    }
}
