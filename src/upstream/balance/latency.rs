//! What a member's latency is: the largest one of late, forgotten by and by (peak EWMA).

use std::cell::Cell;

/// A failure counts as at least this long, in microseconds: a member that fails fast would otherwise look fast.
pub(super) const FAILED_US: u64 = 1_000_000;

/// After so long a peak counts for a third, in milliseconds. Finagle's default is 10 s; in the simulation 1 s does as
/// well against slow members, and lets one that has recovered come back sooner.
const DECAY_MS: f32 = 1_000.0;

/// The latency of one member, as one core has seen it.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// 0: nothing is known.
    us: Cell<f32>,
    at_ms: Cell<u64>,
    /// How long the last response took. 0: there was none.
    last_us: Cell<f32>,
}

impl Latency {
    /// A response took so long. Of two in a row the faster one counts: a single one that was late says little, and the
    /// first one of all also took what a new connection and a cold service take.
    pub(super) fn observe(&self, us: u64, now_ms: u64) {
        let us = (us as f32).max(1.0);
        let last_us = self.last_us.replace(us);
        if last_us > 0.0 {
            self.count(us.min(last_us), now_ms);
        }
    }

    /// A request has failed, after so long. It counts in any case.
    pub(super) fn observe_failure(&self, us: u64, now_ms: u64) {
        self.last_us.set(us as f32);
        self.count(us as f32, now_ms);
    }

    /// What took longer counts at once, what took shorter by and by.
    fn count(&self, us: f32, now_ms: u64) {
        let seen = self.us.get();
        if us >= seen {
            self.us.set(us);
        } else {
            let kept = self.kept(now_ms);
            self.us.set(seen * kept + us * (1.0 - kept));
        }
        self.at_ms.set(now_ms);
    }

    /// In microseconds; `None`: nothing is known. What was seen long ago counts for less, so that a member that was
    /// slow is asked again.
    pub(super) fn us(&self, now_ms: u64) -> Option<f32> {
        let us = self.us.get();
        (us > 0.0).then(|| us * self.kept(now_ms))
    }

    /// What is left of the last value.
    fn kept(&self, now_ms: u64) -> f32 {
        match now_ms.saturating_sub(self.at_ms.get()) {
            0 => 1.0,
            ms => {
                // Close to exp(-x) for the first seconds, and a third of its cost. Its tail is longer: a failure counts
                // for a millisecond after 17 s.
                let x = ms as f32 / DECAY_MS;
                1.0 / (1.0 + x * (1.0 + x * (0.5 + x / 6.0)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let latency = Latency::default();
        let twice = |us, now_ms| (0..2).for_each(|_| latency.observe(us, now_ms));
        assert_eq!(latency.us(0), None);
        twice(10_000, 0);
        twice(100_000, 1);
        assert_eq!(latency.us(1), Some(100_000.0));
        let faded = latency.us(1_001).expect("known");
        assert!((36_000.0..39_000.0).contains(&faded), "{faded}");
        latency.observe(10_000, 1_001);
        let seen = latency.us(1_001).expect("known");
        assert!((42_000.0..45_000.0).contains(&seen), "{seen}");
        (0..100).for_each(|turn| latency.observe(10_000, 2_000 + turn * 100));
        let settled = latency.us(11_900).expect("known");
        assert!((9_000.0..11_000.0).contains(&settled), "{settled}");
    }

    #[test]
    fn a_single_late_answer_and_the_first_one_of_all_say_nothing() {
        let latency = Latency::default();
        latency.observe(500_000, 0);
        assert_eq!(latency.us(0), None);
        latency.observe(1_000, 0);
        latency.observe(90_000, 0);
        latency.observe(1_000, 0);
        assert_eq!(latency.us(0), Some(1_000.0));
        latency.observe_failure(FAILED_US, 0);
        assert_eq!(latency.us(0), Some(FAILED_US as f32));
    }

    #[test]
    fn a_clock_that_stands_still_or_a_latency_of_0_is_no_trap() {
        let latency = Latency::default();
        latency.observe(0, 5);
        latency.observe(0, 5);
        assert_eq!(latency.us(5), Some(1.0));
        assert_eq!(latency.us(4), Some(1.0));
    }
}
