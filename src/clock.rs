//! Clocks: a coarse clock for deadlines, a precise clock for durations, and the calendar for logs.

use std::cell::Cell;

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of a monotonic clock, as of the last kernel tick (1–4 ms ago). For deadlines: reading this clock
/// needs no system call.
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

/// Microseconds of a monotonic clock, for durations in metrics and logs. Reading it needs no system call either.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// The precise clock, read at most once in a turn of a task: from one poll of it to its return. What happens in a turn
/// happens within some 20 µs, a system call or two, which histograms that begin at 0.5 ms do not show; and a look costs
/// 25 ns, of which a request had four.
#[derive(Debug)]
pub struct TurnClock(Cell<u64>);

impl TurnClock {
    /// A turn begins.
    pub fn begin_turn(&self) {
        self.0.set(NOT_READ);
    }

    /// The turn is over.
    pub fn end_turn(&self) {
        self.0.set(NO_TURN);
    }

    /// Microseconds, as [`now_us`] has told the first who asked in this turn. Outside of a turn: as it tells now.
    pub fn now_us(&self) -> u64 {
        match self.0.get() {
            NO_TURN => now_us(),
            NOT_READ => {
                self.0.set(now_us());
                self.0.get()
            }
            read_us => read_us,
        }
    }
}

impl Default for TurnClock {
    fn default() -> TurnClock {
        TurnClock(Cell::new(NO_TURN))
    }
}

/// Of a turn in which nobody has asked. A machine has been up for longer when it runs this.
const NOT_READ: u64 = 0;
/// There is no turn.
const NO_TURN: u64 = u64::MAX;

/// CPU time of this thread, in microseconds. A system call.
pub fn thread_cpu_us() -> u64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as u64 * 1_000_000 + spent.tv_nsec as u64 / 1_000
}

/// Microseconds since 1970, UTC.
pub fn unix_us() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Seconds since 1970, UTC, as of the last kernel tick, for token expiry and the `Date` field.
pub fn unix_s() -> u64 {
    clock_gettime(ClockId::RealtimeCoarse).tv_sec as u64
}

/// Converts days since 1970 to year, month and day of the Gregorian calendar. Internally the year begins in March, so
/// that the leap day is its last day (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn civil(days: u64) -> (u64, u64, u64) {
    let since_0000_march = days + 719_468;
    let (era, day) = (since_0000_march / 146_097, since_0000_march % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_agree_within_a_few_ticks() {
        assert!(now_ms().abs_diff(now_us() / 1_000) < 50);
        assert!(unix_s().abs_diff(unix_us() / 1_000_000) <= 1);
    }

    #[test]
    fn a_turn_has_one_time_and_outside_of_it_time_goes_on() {
        let (clock, wait) =
            (TurnClock::default(), || std::thread::sleep(std::time::Duration::from_millis(2)));
        clock.begin_turn();
        let first_us = clock.now_us();
        wait();
        assert_eq!(clock.now_us(), first_us);
        clock.begin_turn();
        let second_us = clock.now_us();
        assert!(second_us >= first_us + 2_000);
        clock.end_turn();
        wait();
        let third_us = clock.now_us();
        assert!(third_us >= second_us + 2_000);
        wait();
        assert!(clock.now_us() >= third_us + 2_000, "nobody ends a turn that nobody has begun");
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (11_016, (2000, 2, 29)), (20_454, (2026, 1, 1)), (47_540, (2100, 2, 28))]
        {
            assert_eq!(civil(days), date);
        }
        // 2100 is not a leap year.
        assert_eq!(civil(47_541), (2100, 3, 1));
    }
}
