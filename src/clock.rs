//! Time: a coarse clock for deadlines, a precise one for durations, the calendar for records.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of a clock that only goes forward, as of the kernel's last tick (1–4 ms ago). It is read
/// without entering the kernel, so every wait may ask it.
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

/// Microseconds of a clock that only goes forward: for durations in records.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Microseconds since 1970, UTC.
pub fn unix_us() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Seconds since 1970, UTC, as of the kernel's last tick: for token expiry and the `Date` field.
pub fn unix_s() -> u64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_agree_within_a_few_ticks() {
        assert!(now_ms().abs_diff(now_us() / 1_000) < 50);
        assert!(unix_s().abs_diff(unix_us() / 1_000_000) <= 1);
    }
}
