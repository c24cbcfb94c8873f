//! When a drain comes to which tunnel: one after the other, evenly over the first part of the time that there is, so
//! that their clients do not come back all at once.

use std::cell::Cell;

use crate::limits::DRAIN_CUT_MS;

/// The drain of one core's tunnels.
#[derive(Debug, Default)]
pub struct DrainSchedule {
    begun_ms: Cell<u64>,
    timeout_ms: Cell<u64>,
    /// Tunnels that were open when the drain began.
    count: Cell<u64>,
    /// Turns that were given out.
    turn: Cell<u64>,
}

impl DrainSchedule {
    /// Begins the drain of `count` tunnels within `timeout_ms`.
    pub fn begin(&self, now_ms: u64, count: u64, timeout_ms: u64) {
        self.begun_ms.set(now_ms);
        self.timeout_ms.set(timeout_ms);
        self.count.set(count);
    }

    /// Gives turns to those that are left, within the time that is left.
    pub fn begin_again(&self, now_ms: u64, count: u64) {
        let end_ms = self.begun_ms.get() + self.timeout_ms.get();
        self.turn.set(0);
        self.begin(now_ms, count, end_ms.saturating_sub(now_ms));
    }

    /// Gives the next turn: when the tunnel that asks departs.
    pub fn next_ms(&self) -> u64 {
        let turn = self.turn.replace(self.turn.get() + 1);
        let window_ms = self.timeout_ms.get() / 100 * WINDOW_PERCENT;
        // A tunnel that began after the drain leaves with the last.
        let count = self.count.get().max(1);
        self.begun_ms.get() + window_ms * turn.min(count) / count
    }

    /// When the tunnels that are left are cut off: a moment before the process ends, so that their access-log lines are
    /// written.
    pub fn cut_ms(&self) -> u64 {
        let timeout_ms = self.timeout_ms.get();
        self.begun_ms.get() + timeout_ms - DRAIN_CUT_MS.min(timeout_ms / 4)
    }
}

/// The part of `SHUTDOWN_TIMEOUT` over which departures are spread, in percent. The rest is for close handshakes.
const WINDOW_PERCENT: u64 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn departures_are_spread_over_the_first_four_fifths() {
        let schedule = DrainSchedule::default();
        schedule.begin(1_000, 4, 10_000);
        let times: Vec<u64> = (0..6).map(|_| schedule.next_ms()).collect();
        assert_eq!(times, [1_000, 3_000, 5_000, 7_000, 9_000, 9_000]);
        assert_eq!(schedule.cut_ms(), 11_000 - DRAIN_CUT_MS);
    }

    #[test]
    fn those_that_are_left_have_what_is_left_of_the_time() {
        let schedule = DrainSchedule::default();
        schedule.begin(1_000, 4, 10_000);
        schedule.next_ms();
        schedule.begin_again(6_000, 2);
        assert_eq!([schedule.next_ms(), schedule.next_ms(), schedule.next_ms()], [6_000, 8_000, 10_000]);
        assert_eq!(schedule.cut_ms(), 11_000 - DRAIN_CUT_MS);
    }

    #[test]
    fn a_short_drain_keeps_three_quarters_of_its_time() {
        let schedule = DrainSchedule::default();
        schedule.begin(1_000, 1, 100);
        assert_eq!(schedule.cut_ms(), 1_075);
    }
}
