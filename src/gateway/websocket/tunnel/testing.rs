//! What the unit tests of a tunnel share.

use super::rules::TunnelRules;

/// The rules that a configuration has by default.
pub(super) fn rules() -> TunnelRules {
    TunnelRules {
        ping_interval_ms: 30_000.try_into().ok(),
        idle_ms: 120_000.try_into().ok(),
        lifetime_ms: None,
        message_bytes_max: 1 << 20,
        splice_bytes_min: 32 * 1024,
        message_rate_milli: 0,
        message_burst: 20,
        frame_rate_milli: 1_000_000,
        control_frame_rate_milli: 10_000,
    }
}
