//! Whether every core still turns, and reaches Redis: a core whose ticker stands still is down, and the process
//! not ready; without Redis it is degraded.

use std::sync::Arc;

use tracing::{error, info};

use crate::gateway::core::Metrics;
use crate::gateway::core::readiness::{Readiness, Status};
use crate::limits::CORE_STALL_MS;

/// Looks at the cores' heartbeats.
pub struct Watch {
    cores: Vec<Heartbeat>,
    readiness: Arc<Readiness>,
}

struct Heartbeat {
    metrics: Metrics,
    ticks: u64,
    since_ms: u64,
    is_down: bool,
}

impl Watch {
    /// Every core counts as turning at first.
    pub fn new(cores: &[Metrics], readiness: Arc<Readiness>, now_ms: u64) -> Watch {
        let heartbeat = |metrics: &Metrics| Heartbeat {
            metrics: metrics.clone(),
            ticks: 0,
            since_ms: now_ms,
            is_down: false,
        };
        Watch { cores: cores.iter().map(heartbeat).collect(), readiness }
    }

    /// Compares, and sets the readiness when it changes.
    pub fn look(&mut self, now_ms: u64) {
        for (index, core) in self.cores.iter_mut().enumerate() {
            let ticks = core.metrics.core.ticks.get();
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
        let all_reach = self.cores.iter().all(|core| core.metrics.redis.breaker_open.get() == 0);
        self.readiness.set(match (all_turn, all_reach) {
            (true, true) => Status::Ready,
            (true, false) => Status::Degraded,
            (false, _) => Status::CoreDown,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_stands_still_makes_the_process_unready_until_it_turns_again() {
        let (metrics, readiness) = (Metrics::default(), Arc::new(Readiness::default()));
        let mut watch = Watch::new(std::slice::from_ref(&metrics), readiness.clone(), 0);
        watch.look(CORE_STALL_MS);
        assert_eq!(readiness.get(), Status::Ready);
        watch.look(CORE_STALL_MS + 1);
        assert_eq!(readiness.get(), Status::CoreDown);
        metrics.core.ticks.add(1);
        watch.look(CORE_STALL_MS + 2);
        assert_eq!(readiness.get(), Status::Ready);
    }

    #[test]
    fn a_core_without_redis_makes_the_process_degraded_and_no_worse() {
        let (metrics, readiness) = (Metrics::default(), Arc::new(Readiness::default()));
        let mut watch = Watch::new(std::slice::from_ref(&metrics), readiness.clone(), 0);
        metrics.redis.breaker_open.set(1);
        watch.look(1);
        assert_eq!(readiness.get(), Status::Degraded);
        assert!(readiness.get().is_ready());
        watch.look(CORE_STALL_MS + 1);
        assert_eq!(readiness.get(), Status::CoreDown);
        metrics.core.ticks.add(1);
        metrics.redis.breaker_open.set(0);
        watch.look(CORE_STALL_MS + 2);
        assert_eq!(readiness.get(), Status::Ready);
    }
}
