//! The slowest pace that a peer may send or read at: an idle timeout and a minimum rate, against slowloris attacks.

use crate::clock;

/// The pace of one peer in one direction of one body. Only time spent waiting for *this* peer counts, so a slow
/// upstream does not count against the client.
///
/// It is a token bucket of patience: waiting takes some, bytes that have moved give some back, and it never holds more
/// than at the beginning. So a peer that was fast at first earns no time in which it may stand still.
#[derive(Debug, Clone)]
pub struct Pace {
    idle_ms: u64,
    /// Bytes per second of waiting; 0: no minimum.
    rate_min: u64,
    /// What is left of the patience, in thousandths of a byte: one millisecond of waiting takes `rate_min` of them, one
    /// byte gives 1,000.
    patience: u64,
}

impl Pace {
    /// At most `idle_ms` without a byte, and at least `rate_min` bytes per second of waiting, averaged over `idle_ms`.
    pub fn new(idle_ms: u64, rate_min: u64) -> Pace {
        Pace { idle_ms, rate_min, patience: idle_ms.saturating_mul(rate_min) }
    }

    /// The deadline of a wait that begins at `now_ms`.
    pub fn deadline(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add(self.patience.checked_div(self.rate_min).unwrap_or(self.idle_ms))
    }

    /// Counts a wait that began at `since_ms` and has ended.
    pub fn waited_since(&mut self, since_ms: u64) {
        self.waited(clock::now_ms().saturating_sub(since_ms));
    }

    fn waited(&mut self, ms: u64) {
        self.patience = self.patience.saturating_sub(ms.saturating_mul(self.rate_min));
    }

    /// Counts bytes that have moved.
    pub fn moved(&mut self, bytes: usize) {
        let earned = (bytes as u64).saturating_mul(1_000);
        self.patience = self.patience.saturating_add(earned).min(self.idle_ms.saturating_mul(self.rate_min));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_floor_each_wait_has_the_whole_idle_time() {
        let mut pace = Pace::new(30_000, 0);
        pace.waited(1_000_000);
        assert_eq!(pace.deadline(5), 30_005);
    }

    #[test]
    fn a_byte_a_second_uses_up_the_grace() {
        let mut pace = Pace::new(30_000, 1_000);
        (0..20).for_each(|_| {
            pace.waited(1_000);
            pace.moved(1);
        });
        assert_eq!(pace.deadline(0), 10_020);
        pace.waited(11_000);
        assert_eq!(pace.deadline(0), 0);
    }

    #[test]
    fn a_peer_that_keeps_up_never_runs_out() {
        let mut pace = Pace::new(30_000, 1_000);
        (0..1_000).for_each(|_| {
            pace.waited(1_000);
            pace.moved(1_000);
        });
        assert_eq!(pace.deadline(0), 29_000 + 1_000);
    }

    #[test]
    fn a_fast_beginning_earns_no_time_to_stand_still() {
        let mut pace = Pace::new(30_000, 1_000);
        pace.moved(100_000_000);
        assert_eq!(pace.deadline(0), 30_000);
        pace.waited(29_000);
        pace.moved(500);
        assert_eq!(pace.deadline(0), 1_500);
    }
}
