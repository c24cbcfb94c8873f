//! Monitors the cores: whether they make progress, whether their clocks are on time, whether they have applied the
//! configuration, and whether they reach Redis. The readiness of the process follows from it.
//!
//! A busy core is not a dead one. Its clock may tick late, because its clients give it much to do; that is a line in
//! the log and a metric. A core is down when nothing moves at all, no request, no connection and no tick.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::stream::Freshness;
use crate::gateway::core::Metrics;
use crate::gateway::core::readiness::{Readiness, Status};
use crate::limits::{CORE_LATE_LOG_MS, CORE_LATE_MS, CORE_STALL_MS, RELOAD_TAKEN_MS};
use crate::telemetry::metrics::{Gauge, Metric, Value};

/// Looks at the metrics of the cores and sets the readiness of the process.
pub struct CoreMonitor {
    cores: Vec<Watched>,
    /// The version of the wanted configuration.
    version: Arc<Gauge>,
    readiness: Arc<Readiness>,
    /// Whether an upstream that readiness requires has no usable member.
    is_upstream_down: bool,
    /// Whether the list of revocations is up to date.
    freshness: Freshness,
}

/// A core, and what was seen of it last.
struct Watched {
    metrics: Metrics,
    ticks: u64,
    ticked_ms: u64,
    progress: u64,
    progressed_ms: u64,
    is_down: bool,
    /// Since when the core has not applied the wanted configuration.
    behind_since_ms: Option<u64>,
    is_behind: bool,
    late_logged_ms: Option<u64>,
}

impl CoreMonitor {
    /// At first, every core counts as running.
    pub fn new(
        cores: &[Metrics],
        version: Arc<Gauge>,
        readiness: Arc<Readiness>,
        now_ms: u64,
    ) -> CoreMonitor {
        let watched = |metrics: &Metrics| Watched {
            metrics: metrics.clone(),
            ticks: 0,
            ticked_ms: now_ms,
            progress: 0,
            progressed_ms: now_ms,
            is_down: false,
            behind_since_ms: None,
            is_behind: false,
            late_logged_ms: None,
        };
        CoreMonitor {
            cores: cores.iter().map(watched).collect(),
            version,
            readiness,
            is_upstream_down: false,
            freshness: Freshness::Fresh,
        }
    }

    /// Takes whether an upstream that readiness requires has no usable member.
    pub fn set_upstream_down(&mut self, is_down: bool) {
        self.is_upstream_down = is_down;
    }

    /// Takes whether the list of revocations is up to date.
    pub fn set_freshness(&mut self, freshness: Freshness) {
        self.freshness = freshness;
    }

    /// Compares the metrics with those of the previous call and updates the readiness.
    pub fn check(&mut self, now_ms: u64) {
        let version = self.version.get();
        for (index, core) in self.cores.iter_mut().enumerate() {
            core.look_for_progress(index, now_ms);
            core.look_at_the_clock(index, now_ms);
            core.look_at_the_configuration(index, version, now_ms);
        }
        let any = |holds: fn(&Watched) -> bool| self.cores.iter().any(holds);
        self.readiness.set(if any(|core| core.is_down) {
            Status::CoreDown
        } else if any(|core| core.is_behind) {
            Status::CoreBehind
        } else if self.is_upstream_down {
            Status::UpstreamDown
        } else if self.freshness == Freshness::Stale {
            Status::RevocationsStale
        } else if self.freshness == Freshness::Late || any(|core| core.metrics.redis.breaker_open.get() > 0) {
            Status::Degraded
        } else {
            Status::Ready
        });
    }
}

impl Watched {
    fn look_for_progress(&mut self, index: usize, now_ms: u64) {
        let ticks = self.metrics.core.ticks.get();
        if ticks != self.ticks {
            (self.ticks, self.ticked_ms, self.progressed_ms) = (ticks, now_ms, now_ms);
        } else {
            // Only a core that is late is worth the look at all of its metrics.
            let progress = progress(&self.metrics);
            if progress != self.progress {
                (self.progress, self.progressed_ms) = (progress, now_ms);
            }
        }
        let is_down = now_ms.saturating_sub(self.progressed_ms) > CORE_STALL_MS;
        match (self.is_down, is_down) {
            (false, true) => error!(core = index, "the core has stalled"),
            (true, false) => info!(core = index, "the core has recovered"),
            _ => {}
        }
        self.is_down = is_down;
    }

    fn look_at_the_clock(&mut self, index: usize, now_ms: u64) {
        let standing_ms = now_ms.saturating_sub(self.ticked_ms);
        let late_ms = standing_ms.max(self.metrics.core.lag.get() / 1_000);
        let may_log = self.late_logged_ms.is_none_or(|logged_ms| now_ms - logged_ms >= CORE_LATE_LOG_MS);
        if late_ms > CORE_LATE_MS && may_log {
            self.late_logged_ms = Some(now_ms);
            warn!(core = index, late_ms, "the core is busy: its clock and its timeouts are late");
        }
    }

    fn look_at_the_configuration(&mut self, index: usize, version: u64, now_ms: u64) {
        let applied = self.metrics.core.config_version.get();
        self.behind_since_ms = match applied == version {
            true => None,
            false => self.behind_since_ms.or(Some(now_ms)),
        };
        let is_behind = self.behind_since_ms.is_some_and(|since_ms| now_ms - since_ms > RELOAD_TAKEN_MS);
        match (self.is_behind, is_behind) {
            (false, true) => {
                error!(core = index, applied, version, "the core has not applied the configuration")
            }
            (true, false) => info!(core = index, version, "the core has applied the configuration"),
            _ => {}
        }
        self.is_behind = is_behind;
    }
}

/// A number that changes with everything that a core counts.
fn progress(metrics: &Metrics) -> u64 {
    let mut sum = 0_u64;
    let mut add = |metric: Metric<'_>| {
        let value = match metric.value {
            Value::Counter(count) | Value::Time(count) => count,
            // A gauge may come back to where it was, but what moves it is counted as well.
            Value::Gauge(_) | Value::Span(_) => 0,
            Value::Histogram(histogram) => histogram.cumulative().last().map_or(0, |(_, count)| count),
            Value::Labelled(family) => family.each().map(|(_, count)| count).sum(),
            Value::Codes(codes) => codes.each().map(|(_, count)| count).sum(),
        };
        sum = sum.wrapping_add(value);
    };
    metrics.each_group("", &mut |_, group| group.each(&mut add));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_core() -> (Metrics, Arc<Readiness>, CoreMonitor) {
        let (metrics, readiness, version) =
            (Metrics::default(), Arc::<Readiness>::default(), Arc::<Gauge>::default());
        version.set(1);
        metrics.core.config_version.set(1);
        let monitor = CoreMonitor::new(std::slice::from_ref(&metrics), version, readiness.clone(), 0);
        (metrics, readiness, monitor)
    }

    #[test]
    fn a_stalled_core_makes_the_process_unready_until_it_recovers() {
        let (metrics, readiness, mut monitor) = one_core();
        monitor.check(CORE_STALL_MS);
        assert_eq!(readiness.get(), Status::Ready);
        monitor.check(CORE_STALL_MS + 1);
        assert_eq!(readiness.get(), Status::CoreDown);
        metrics.core.ticks.add(1);
        monitor.check(CORE_STALL_MS + 2);
        assert_eq!(readiness.get(), Status::Ready);
    }

    #[test]
    fn a_core_that_does_not_tick_but_works_is_busy_and_not_down() {
        let (metrics, readiness, mut monitor) = one_core();
        let works: [&dyn Fn(); 5] = [
            &|| metrics.requests.received.add(1),
            &|| metrics.connections.accepted.add(1),
            &|| metrics.routes.of("a").responses.at(0).add(1),
            &|| metrics.redis.latency.observe(1),
            &|| metrics.auth.cache_misses.add(1),
        ];
        let mut now_ms = 0;
        for work in works.iter().cycle().take(50) {
            now_ms += CORE_STALL_MS - 1;
            work();
            monitor.check(now_ms);
            assert_eq!(readiness.get(), Status::Ready, "at {now_ms}");
        }
        assert!(monitor.cores[0].late_logged_ms.is_some(), "the log says that it is late");
        monitor.check(now_ms + CORE_STALL_MS + 1);
        assert_eq!(readiness.get(), Status::CoreDown);
    }

    #[test]
    fn a_late_clock_is_logged_once_a_minute() {
        let (metrics, _, mut monitor) = one_core();
        let mut logged = Vec::new();
        for now_ms in (0..=2 * CORE_LATE_LOG_MS + 1_000).step_by(500) {
            metrics.core.ticks.add(1);
            metrics.core.lag.set(if now_ms == 0 { 0 } else { (CORE_LATE_MS + 1) * 1_000 });
            monitor.check(now_ms);
            logged.extend(monitor.cores[0].late_logged_ms);
        }
        logged.dedup();
        assert_eq!(logged, [500, 500 + CORE_LATE_LOG_MS, 500 + 2 * CORE_LATE_LOG_MS]);
    }

    #[test]
    fn a_core_behind_the_configuration_gets_no_traffic_until_it_has_applied_it() {
        let (metrics, readiness, mut monitor) = one_core();
        let mut check = |now_ms| {
            metrics.core.ticks.add(1);
            monitor.check(now_ms);
            readiness.get()
        };
        metrics.core.config_version.set(0);
        assert_eq!(check(1_000), Status::Ready, "every reload takes a moment");
        assert_eq!(check(1_000 + RELOAD_TAKEN_MS), Status::Ready);
        assert_eq!(check(1_001 + RELOAD_TAKEN_MS), Status::CoreBehind);
        assert!(!Status::CoreBehind.is_ready());
        metrics.core.config_version.set(1);
        assert_eq!(check(1_002 + RELOAD_TAKEN_MS), Status::Ready);
    }

    #[test]
    fn an_upstream_that_is_required_and_down_makes_the_process_unready_until_it_is_back() {
        let (_, readiness, mut monitor) = one_core();
        for (is_down, status) in [(true, Status::UpstreamDown), (false, Status::Ready)] {
            monitor.set_upstream_down(is_down);
            monitor.check(1);
            assert_eq!(readiness.get(), status);
        }
        assert!(!Status::UpstreamDown.is_ready());
    }

    #[test]
    fn an_old_list_of_revocations_degrades_the_process_or_stops_its_traffic() {
        let (_, readiness, mut monitor) = one_core();
        for (freshness, status, is_ready) in [
            (Freshness::Late, Status::Degraded, true),
            (Freshness::Stale, Status::RevocationsStale, false),
            (Freshness::Fresh, Status::Ready, true),
        ] {
            monitor.set_freshness(freshness);
            monitor.check(1);
            assert_eq!((readiness.get(), readiness.get().is_ready()), (status, is_ready));
        }
    }

    #[test]
    fn a_core_without_redis_makes_the_process_degraded_but_ready() {
        let (metrics, readiness, mut monitor) = one_core();
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
