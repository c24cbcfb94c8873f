//! The pace at which a core takes WebSocket handshakes, and when those should come back for which it has no time.
//!
//! After a restart of something else all clients come back at once. Their handshakes cost the core, the token service
//! and the delivery service far more than messages do. So a core takes so many in a second and refuses the rest, which
//! is cheap; and it tells each when to come back, one after the other: the refused stand in a line, as long as it takes
//! to serve them at this pace.

use std::cell::Cell;
use std::num::NonZeroU32;

use crate::config::Rate;
use crate::limit::Limit;
use crate::limit::arithmetic::{BucketState, charge};
use crate::limits::{HANDSHAKE_BURST_PART, HANDSHAKE_LINE_MAX_S};

/// The pace of one core. It is kept over reloads.
#[derive(Debug, Default)]
pub struct HandshakePace {
    bucket: Cell<Option<BucketState>>,
    /// When everybody in the line would be through.
    line_through_us: Cell<u64>,
}

impl HandshakePace {
    /// Takes one more handshake, at this many per second.
    ///
    /// # Errors
    /// There is no time for it: in how many seconds the client should come back. `random` decides within the range.
    pub fn take(&self, per_second: NonZeroU32, now_us: u64, random: u64) -> Result<(), u64> {
        let mut bucket = [self.bucket.get()];
        let decision = charge(&[limit(per_second)], &mut bucket, now_us);
        self.bucket.set(bucket[0]);
        match decision.is_admitted {
            true => Ok(()),
            false => Err(self.stand_in_line(per_second, now_us, random)),
        }
    }

    /// One more client stands in the line. Each comes back within half and one and a half of the time that the line in
    /// front of it takes: that makes them evenly spread, however many they are, at 1.1 times the pace (ln 3).
    fn stand_in_line(&self, per_second: NonZeroU32, now_us: u64, random: u64) -> u64 {
        let longest_us = now_us + HANDSHAKE_LINE_MAX_S * 1_000_000;
        let through_us = self.line_through_us.get().max(now_us) + 1_000_000 / u64::from(per_second.get());
        self.line_through_us.set(through_us.min(longest_us));
        let line_us = self.line_through_us.get() - now_us;
        let wait_us = line_us / 2 + random % (line_us + 1);
        wait_us.div_ceil(1_000_000).max(1)
    }
}

/// What may come at once is a part of what may come in a second.
fn limit(per_second: NonZeroU32) -> Limit {
    let burst = (per_second.get() / HANDSHAKE_BURST_PART).max(1);
    Limit::new(Rate::from_milli(per_second.get().saturating_mul(1_000)), burst, 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::gateway::core::request_id::RequestIds;

    fn rate(per_second: u32) -> NonZeroU32 {
        NonZeroU32::new(per_second).expect("not zero")
    }

    #[test]
    fn a_part_of_a_second_may_come_at_once_and_then_the_pace_holds() {
        let pace = HandshakePace::default();
        let taken = |now_us: u64| (0..1_000).filter(|_| pace.take(rate(100), now_us, 0).is_ok()).count();
        assert_eq!([1_000_000, 1_000_000, 1_009_999, 1_010_000, 1_050_000].map(taken), [10, 0, 0, 1, 4]);
        assert_eq!(taken(9_000_000), 10);
    }

    #[test]
    fn the_smallest_rate_takes_one_at_a_time() {
        let pace = HandshakePace::default();
        assert_eq!(pace.take(rate(1), 1_000_000, 0), Ok(()));
        assert_eq!(pace.take(rate(1), 1_999_999, 0), Err(1));
        assert_eq!(pace.take(rate(1), 2_000_000, 0), Ok(()));
    }

    #[test]
    fn whoever_is_refused_comes_back_later_the_more_were_refused() {
        let pace = HandshakePace::default();
        let refuse = |random: u64| pace.take(rate(10), 1_000_000, random).err();
        assert_eq!((refuse(0), refuse(0)), (None, Some(1)));
        let (soonest, latest): (Vec<_>, Vec<_>) =
            (0..99).map(|_| (refuse(0).expect("refused"), refuse(9_999_999).expect("refused"))).unzip();
        assert!(soonest.is_sorted() && soonest[98] == 10, "{soonest:?}");
        assert!(latest[98] > 19, "{latest:?}");
    }

    #[test]
    fn the_line_has_an_end_however_many_ask_and_is_forgotten_when_nobody_does() {
        let pace = HandshakePace::default();
        let refuse = |now_us: u64, random: u64| pace.take(rate(10), now_us, random).err();
        let longest = (0..100_000).filter_map(|nth| refuse(1_000_000, nth * 7_919_777)).max();
        assert_eq!(longest, Some(HANDSHAKE_LINE_MAX_S * 3 / 2));
        let later_us = 1_000_000 + HANDSHAKE_LINE_MAX_S * 1_000_000;
        assert_eq!((refuse(later_us, 0), refuse(later_us, u64::MAX)), (None, Some(1)));
    }

    /// A crowd that does as it is told is served at the pace, nearly all at the second try.
    #[test]
    fn ten_thousand_who_come_at_once_are_served_at_the_pace() {
        let (pace, ids) = (HandshakePace::default(), RequestIds::new());
        let mut coming = BTreeMap::from([(1_000_000_u64, 10_000_u32)]);
        let (mut asked, mut taken_in) = (0, BTreeMap::<u64, u32>::new());
        while let Some((now_us, count)) = coming.pop_first() {
            for _ in 0..count {
                asked += 1;
                match pace.take(rate(500), now_us, ids.next_word()) {
                    Ok(()) => *taken_in.entry(now_us / 1_000_000).or_default() += 1,
                    // Networks and timers spread them over the second.
                    Err(wait_s) => {
                        let back_us = now_us + wait_s * 1_000_000 - ids.next_word() % 1_000_000;
                        *coming.entry(back_us).or_default() += 1;
                    }
                }
            }
        }
        assert_eq!(taken_in.values().sum::<u32>(), 10_000);
        assert!(taken_in.values().all(|taken| *taken <= 500 + 50), "{taken_in:?}");
        assert!(asked < 25_000, "{asked} handshakes for 10,000 clients");
        assert!(taken_in.len() < 36, "{} s for what takes 20", taken_in.len());
    }
}
