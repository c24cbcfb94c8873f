//! The slowest pace that a peer may send or read at: an idle timeout and a minimum rate, against slowloris attacks.

use crate::clock;

/// The pace of one peer in one direction of one body. Only time spent waiting for *this* peer counts, so a slow upstream
/// does not count against the client.
#[derive(Debug, Clone)]
pub struct Pace {
    idle_ms: u64,
    /// Bytes per second of waiting; 0: no minimum.
    rate_min: u64,
    waited_ms: u64,
    moved: u64,
}

impl Pace {
    /// At most `idle_ms` without a byte, and on average at least `rate_min` bytes per second of waiting after the first
    /// `idle_ms`.
    pub fn new(idle_ms: u64, rate_min: u64) -> Pace {
        Pace { idle_ms, rate_min, waited_ms: 0, moved: 0 }
    }

    /// The deadline of a wait that begins at `now_ms`.
    pub fn deadline(&self, now_ms: u64) -> u64 {
        let patience = match (self.moved.saturating_mul(1_000)).checked_div(self.rate_min) {
            Some(earned_ms) => {
                self.idle_ms.saturating_add(earned_ms).saturating_sub(self.waited_ms).min(self.idle_ms)
            }
            None => self.idle_ms,
        };
        now_ms.saturating_add(patience)
    }

    /// Counts a wait that began at `since_ms` and has ended.
    pub fn waited_since(&mut self, since_ms: u64) {
        self.waited_ms += clock::now_ms().saturating_sub(since_ms);
    }

    /// Counts bytes that have moved.
    pub fn moved(&mut self, bytes: usize) {
        self.moved += bytes as u64;
    }

    /// The number of bytes that have moved.
    pub fn total(&self) -> u64 {
        self.moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_floor_each_wait_has_the_whole_idle_time() {
        let mut pace = Pace::new(30_000, 0);
        pace.waited_ms = 1_000_000;
        assert_eq!(pace.deadline(5), 30_005);
    }

    #[test]
    fn a_byte_a_second_uses_up_the_grace() {
        let mut pace = Pace::new(30_000, 1_000);
        pace.moved(20);
        pace.waited_ms = 20_000;
        assert_eq!(pace.deadline(0), 10_020);
        pace.waited_ms = 31_000;
        assert_eq!(pace.deadline(0), 0);
    }

    #[test]
    fn a_peer_that_keeps_up_never_runs_out() {
        let mut pace = Pace::new(30_000, 1_000);
        pace.moved(1_000_000);
        pace.waited_ms = 1_000_000;
        assert_eq!(pace.deadline(0), 30_000);
    }
}
