//! What the process before this one still has open, after an upgrade.

use crate::clock;
use crate::telemetry::metrics::{Exposition, Kind::Gauge};

/// How a drain stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainFigures {
    /// When this was said, by the coarse clock.
    pub told_ms: u64,
    /// Requests between head and last byte.
    pub requests: u64,
    /// WebSocket tunnels.
    pub tunnels: u64,
    /// When the drain ends at the latest.
    pub deadline_ms: u64,
    /// When the oldest of what is open began; 0: it is not known.
    pub oldest_ms: u64,
}

/// Adds its figures: all are 0 if there is none, or if it has ended.
pub(super) fn expose(figures: Option<DrainFigures>, all: &mut Exposition) {
    let now_ms = clock::now_ms();
    let is_there = u64::from(figures.is_some());
    let DrainFigures { requests, tunnels, deadline_ms, oldest_ms, .. } = figures.unwrap_or_default();
    let left_s = deadline_ms.saturating_sub(now_ms).div_ceil(1_000);
    let oldest_s = if oldest_ms == 0 { 0 } else { now_ms.saturating_sub(oldest_ms) / 1_000 };
    for (name, help, value) in [
        ("predecessor_draining", "1 while the process before this one drains after an upgrade.", is_there),
        (
            "predecessor_requests_in_flight",
            "Requests that are in flight in the process before this one.",
            requests,
        ),
        (
            "predecessor_tunnels_open",
            "WebSocket tunnels that are open in the process before this one.",
            tunnels,
        ),
        (
            "predecessor_seconds_left",
            "Seconds until the process before this one cuts off what is open.",
            left_s,
        ),
        (
            "predecessor_oldest_seconds",
            "Age of the oldest of what is open in the process before this one.",
            oldest_s,
        ),
    ] {
        all.number(name, Gauge, help, &[], value);
    }
}
