//! Monitors the heartbeats of the cores and their connections to Redis. If the tick counter of a core stalls, the
//! process is not ready (`core_down`). If a core cannot reach Redis, the process is degraded.

use std::sync::Arc;

use tracing::{error, info};

use crate::gateway::core::Metrics;
use crate::gateway::core::readiness::{Readiness, Status};
use crate::limits::CORE_STALL_MS;

/// Compares the tick counters of the cores and sets the readiness of the process.
pub struct HeartbeatMonitor {
    cores: Vec<Heartbeat>,
    readiness: Arc<Readiness>,
}

struct Heartbeat {
    metrics: Metrics,
    ticks: u64,
    since_ms: u64,
    is_down: bool,
}

impl HeartbeatMonitor {
    /// At first, every core counts as running.
    pub fn new(cores: &[Metrics], readiness: Arc<Readiness>, now_ms: u64) -> HeartbeatMonitor {
        let heartbeat = |metrics: &Metrics| Heartbeat {
            metrics: metrics.clone(),
            ticks: 0,
            since_ms: now_ms,
            is_down: false,
        };
        HeartbeatMonitor { cores: cores.iter().map(heartbeat).collect(), readiness }
    }

    /// Compares the tick counters with those of the previous call and updates the readiness.
    pub fn check(&mut self, now_ms: u64) {
        for (index, core) in self.cores.iter_mut().enumerate() {
            let ticks = core.metrics.core.ticks.get();
            if ticks != core.ticks {
                (core.ticks, core.since_ms) = (ticks, now_ms);
            }
            let is_down = now_ms.saturating_sub(core.since_ms) > CORE_STALL_MS;
            match (core.is_down, is_down) {
                (false, true) => error!(core = index, "the core has stalled"),
                (true, false) => info!(core = index, "the core has recovered"),
                _ => {}
            }
            core.is_down = is_down;
        }
        let all_tick = self.cores.iter().all(|core| !core.is_down);
        let all_reach_redis = self.cores.iter().all(|core| core.metrics.redis.breaker_open.get() == 0);
        self.readiness.set(match (all_tick, all_reach_redis) {
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
    fn a_stalled_core_makes_the_process_unready_until_it_recovers() {
        let (metrics, readiness) = (Metrics::default(), Arc::new(Readiness::default()));
        let mut monitor = HeartbeatMonitor::new(std::slice::from_ref(&metrics), readiness.clone(), 0);
        monitor.check(CORE_STALL_MS);
        assert_eq!(readiness.get(), Status::Ready);
        monitor.check(CORE_STALL_MS + 1);
        assert_eq!(readiness.get(), Status::CoreDown);
        metrics.core.ticks.add(1);
        monitor.check(CORE_STALL_MS + 2);
        assert_eq!(readiness.get(), Status::Ready);
    }

    #[test]
    fn a_core_without_redis_makes_the_process_degraded_but_ready() {
        let (metrics, readiness) = (Metrics::default(), Arc::new(Readiness::default()));
        let mut monitor = HeartbeatMonitor::new(std::slice::from_ref(&metrics), readiness.clone(), 0);
        metrics.redis.breaker_open.set(1);
        monitor.check(1);
        assert_eq!(readiness.get(), Status::Degraded);
        assert!(readiness.get().is_ready());
        monitor.check(CORE_STALL_MS + 1);
        assert_eq!(readiness.get(), Status::CoreDown);
        metrics.core.ticks.add(1);
        metrics.redis.breaker_open.set(0);
        monitor.check(CORE_STALL_MS + 2);
        assert_eq!(readiness.get(), Status::Ready);
    }
}
