//! The token bucket in whole numbers, free of I/O: the same steps as `bucket.lua` inside Redis.
//!
//! One token is [`UNITS_PER_TOKEN`] units, so the refill of one microsecond is a whole number of units at every rate
//! with up to three decimals: `R` tokens per second are `R · 1000` units per µs. Only waits are rounded, and they are
//! rounded up.
//!
//! Redis computes in Lua's doubles, which hold whole numbers below 2^53 exactly. A level, a capacity and a cost
//! are at most 10^15 units and the clock is some 1.8 · 10^15 µs: both below 9.0 · 10^15. The one product,
//! `elapsed · units_per_us`, may leave that range; it is then larger than any capacity, and
//! stays so because rounding keeps the order: the bucket is full either way. The one quotient, `ceil(missing / units_per_us)`,
//! has a fraction of at least `1 / units_per_us`, which is more than the rounding error of a quotient of two
//! whole numbers below 2^53: it cannot be rounded to the whole number below.

use std::fmt;
use std::str::FromStr;

use crate::config::Rate;
use crate::limits::{BURST_MAX, RATE_MILLI_MAX};

/// The parts of a token in which buckets are counted.
pub const UNITS_PER_TOKEN: u64 = 1_000_000_000;

/// How one bucket fills, and what one request costs. All in units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Refill per microsecond; 0: every request is denied.
    pub units_per_us: u64,
    /// The level of a full bucket.
    pub capacity: u64,
    /// The cost of one request, from 1 token to the capacity.
    pub cost: u64,
}

/// What a store keeps of a bucket: its level at one time. Written `level:time_us`. A bucket without a state is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketState {
    /// In units.
    pub level: u64,
    /// In microseconds of the store's clock.
    pub time_us: u64,
}

/// The decision about all limits of one request. The numbers are those of the *most restrictive* limit: for a denied
/// request the limit with the longest wait, for an admitted one the limit with the fewest tokens left; of two equal
/// ones, the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// All buckets had enough tokens, and all were charged. Otherwise none was.
    pub is_admitted: bool,
    /// The index of the most restrictive limit among those of the request.
    pub most_restrictive: usize,
    /// Whole tokens left in its bucket.
    pub remaining: u32,
    /// Time until this limit would admit the same request; 0 if it did.
    pub wait_us: u64,
    /// Time until its bucket is full.
    pub full_us: u64,
}

impl Limit {
    /// A bucket of `burst` tokens that fills at `rate`, and a request that costs `cost` tokens.
    pub fn new(rate: Rate, burst: u32, cost: u32) -> Self {
        Self {
            units_per_us: u64::from(rate.milli()),
            capacity: u64::from(burst) * UNITS_PER_TOKEN,
            cost: u64::from(cost) * UNITS_PER_TOKEN,
        }
    }

    /// Tokens in a full bucket.
    pub fn burst(&self) -> u32 {
        tokens(self.capacity)
    }

    /// The level of the bucket now.
    ///
    /// A state from the future means that the clock was set back: nothing is refilled. If the capacity is smaller
    /// than it was, the level is cut to it.
    pub fn level(&self, state: Option<BucketState>, now_us: u64) -> u64 {
        let Some(BucketState { level, time_us }) = state else { return self.capacity };
        let elapsed_us = now_us.saturating_sub(time_us);
        level.saturating_add(elapsed_us.saturating_mul(self.units_per_us)).min(self.capacity)
    }

    /// Time until a bucket at this level has the cost of the request.
    pub fn wait_us(&self, level: u64) -> u64 {
        self.time_for(self.cost.saturating_sub(level))
    }

    /// Time until a bucket at this level is full.
    pub fn full_us(&self, level: u64) -> u64 {
        self.time_for(self.capacity.saturating_sub(level))
    }

    fn time_for(&self, units: u64) -> u64 {
        match self.units_per_us {
            0 if units > 0 => NEVER_US,
            0 => 0,
            rate => units.div_ceil(rate),
        }
    }
}

/// Charges every bucket of a request, or none.
///
/// `states[i]` is the state under `limits[i]`. The states to write back are changed in place: after an admission all
/// of them; after a denial only those from the future. Their level is kept and their time set to the present.
/// Otherwise a bucket would not refill until the clock has caught up: for an hour, after a clock was set back by an
/// hour.
///
/// # Panics
/// If there is no limit, or not one state per limit.
pub fn charge(limits: &[Limit], states: &mut [Option<BucketState>], now_us: u64) -> Decision {
    assert!(!limits.is_empty() && limits.len() == states.len());
    let mut decision =
        Decision { is_admitted: true, most_restrictive: 0, remaining: 0, wait_us: 0, full_us: 0 };
    for (index, (limit, state)) in limits.iter().zip(states.iter_mut()).enumerate() {
        let level = limit.level(*state, now_us);
        if state.is_some_and(|state| now_us < state.time_us) {
            *state = Some(BucketState { level, time_us: now_us });
        }
        let wait_us = limit.wait_us(level);
        if wait_us > decision.wait_us {
            let (remaining, full_us) = (tokens(level), limit.full_us(level));
            decision = Decision { is_admitted: false, most_restrictive: index, remaining, wait_us, full_us };
        }
    }
    if !decision.is_admitted {
        return decision;
    }
    for (index, (limit, state)) in limits.iter().zip(states.iter_mut()).enumerate() {
        let level = limit.level(*state, now_us) - limit.cost;
        *state = Some(BucketState { level, time_us: now_us });
        if index == 0 || tokens(level) < decision.remaining {
            (decision.most_restrictive, decision.remaining) = (index, tokens(level));
            decision.full_us = limit.full_us(level);
        }
    }
    decision
}

impl Decision {
    /// Parses the reply of the script: admitted, the number of the most restrictive limit (from 1, as Lua counts),
    /// tokens left, the two times. `None` if the reply does not have this form.
    pub fn from_reply(reply: [i64; 5]) -> Option<Self> {
        let [admitted, number, remaining, wait_us, full_us] = reply.map(|item| u64::try_from(item).ok());
        let decision = Self {
            is_admitted: admitted? != 0,
            most_restrictive: usize::try_from(number?.checked_sub(1)?).ok()?,
            remaining: u32::try_from(remaining?).ok()?,
            wait_us: wait_us?,
            full_us: full_us?,
        };
        (decision.is_admitted == (decision.wait_us == 0)).then_some(decision)
    }
}

impl fmt::Display for BucketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.time_us)
    }
}

impl FromStr for BucketState {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (level, time_us) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self { level: level.parse()?, time_us: time_us.parse()? })
    }
}

/// Whole tokens. A level is at most its capacity, and a capacity at most [`BURST_MAX`].
fn tokens(level: u64) -> u32 {
    u32::try_from(level / UNITS_PER_TOKEN).unwrap_or(u32::MAX)
}

/// The wait for a bucket that is never refilled.
pub const NEVER_US: u64 = u64::MAX;

/// Whole numbers below this are exact in a double.
const EXACT: u64 = 1 << 53;
const _: () = assert!(BURST_MAX as u64 * UNITS_PER_TOKEN < EXACT / 2);
/// The year 2100, in µs.
const _: () = assert!(4_102_444_800_000_000 < EXACT);
/// Units per µs are thousandths of tokens per second: 10^9 units, 10^6 µs.
const _: () = assert!(UNITS_PER_TOKEN == 1_000_000 * 1000 && (RATE_MILLI_MAX as u64) < EXACT);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(milli: u32, burst: u32) -> Limit {
        Limit::new(Rate::from_milli(milli), burst, 1)
    }

    fn one(limit: Limit, state: &mut Option<BucketState>, now_us: u64) -> Decision {
        charge(&[limit], std::slice::from_mut(state), now_us)
    }

    #[test]
    fn a_new_bucket_is_full_and_a_refusal_takes_nothing() {
        let (limit, mut state) = (limit(10_000, 2), None);
        let decisions = [0, 0, 0, 99_999].map(|now| one(limit, &mut state, now));
        assert_eq!(
            decisions.map(|d| (d.is_admitted, d.remaining, d.wait_us, d.full_us)),
            [
                (true, 1, 0, 100_000),
                (true, 0, 0, 200_000),
                (false, 0, 100_000, 200_000),
                (false, 0, 1, 100_001),
            ]
        );
        assert_eq!(state, Some(BucketState { level: 0, time_us: 0 }));
        assert!(one(limit, &mut state, 100_000).is_admitted);
    }

    #[test]
    fn a_bucket_fills_to_its_capacity_and_not_beyond() {
        for now_us in [200_000, 1 << 50, u64::MAX] {
            let mut state = Some(BucketState { level: 0, time_us: 0 });
            assert_eq!(
                one(limit(1_000_000_000, 1_000_000), &mut state, now_us).remaining,
                match now_us {
                    200_000 => 199_999,
                    _ => 999_999,
                }
            );
        }
        let cut = limit(1, 3).level(Some(BucketState { level: 10 * UNITS_PER_TOKEN, time_us: 5 }), 5);
        assert_eq!(cut, 3 * UNITS_PER_TOKEN, "a capacity that was made smaller");
    }

    #[test]
    fn a_clock_set_back_refills_nothing_and_stops_nothing() {
        let limit = limit(1000, 1);
        let hour = 3_600_000_000;
        let mut state = Some(BucketState { level: 0, time_us: 2 * hour });
        let refused = one(limit, &mut state, hour);
        assert_eq!((refused.is_admitted, refused.wait_us), (false, 1_000_000));
        assert_eq!(state, Some(BucketState { level: 0, time_us: hour }));
        assert!(one(limit, &mut state, hour + 1_000_000).is_admitted);
    }

    #[test]
    fn of_several_limits_all_are_charged_or_none() {
        let limits = [limit(1000, 5), limit(500, 1)];
        let mut states = [None, None];
        let first = charge(&limits, &mut states, 0);
        assert_eq!(
            (first.is_admitted, first.most_restrictive, first.remaining, first.full_us),
            (true, 1, 0, 2_000_000)
        );
        let before = states;
        let second = charge(&limits, &mut states, 500_000);
        assert_eq!((second.is_admitted, second.most_restrictive, second.wait_us), (false, 1, 1_500_000));
        assert_eq!(states, before);
    }

    #[test]
    fn a_rate_of_zero_never_refills() {
        let (limit, mut state) = (limit(0, 1), Some(BucketState { level: 0, time_us: 0 }));
        let refused = one(limit, &mut state, u64::MAX);
        assert_eq!((refused.is_admitted, refused.wait_us, refused.full_us), (false, NEVER_US, NEVER_US));
    }

    #[test]
    fn states_and_replies_are_read_as_they_are_written() {
        let state = BucketState { level: 7, time_us: 1_700_000_000_000_000 };
        assert_eq!(state.to_string().parse(), Ok(state));
        for text in ["", "1", "1:", ":1", "1:2:3", "-1:2", "1e15:2"] {
            assert!(text.parse::<BucketState>().is_err(), "{text}");
        }
        let decision =
            Decision { is_admitted: true, most_restrictive: 1, remaining: 3, wait_us: 0, full_us: 9 };
        assert_eq!(Decision::from_reply([1, 2, 3, 0, 9]), Some(decision));
        for reply in
            [[1, 0, 3, 0, 9], [1, 1, 3, 5, 9], [0, 1, 3, 0, 9], [1, 1, -3, 0, 9], [1, 1, 1 << 40, 0, 9]]
        {
            assert_eq!(Decision::from_reply(reply), None, "{reply:?}");
        }
    }

    proptest! {
        /// Every pair of admissions bounds a window. `gaps` are the times between requests.
        #[test]
        fn no_window_admits_more_than_its_burst_and_its_refill(
            milli in 1u32..=2_000_000, burst in 1u32..=20, gaps in prop::collection::vec(0u64..400_000, 1..200),
        ) {
            let (limit, mut state, mut now) = (limit(milli, burst), None, 1_000_000);
            let mut admitted = Vec::new();
            for gap in gaps {
                now += gap;
                if one(limit, &mut state, now).is_admitted {
                    admitted.push(now);
                }
            }
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let units = limit.capacity + (to - from) * limit.units_per_us;
                    prop_assert!((last - first + 1) as u64 * UNITS_PER_TOKEN <= units);
                }
            }
        }

        /// A client that waits exactly as long as it is told gets the whole rate, less one token.
        #[test]
        fn a_patient_client_gets_its_rate(milli in 1u32..=1_000_000_000, burst in 1u32..=3, steps in 1u64..300) {
            let (limit, mut state, mut now, mut admitted) = (limit(milli, burst), None, 0, 0);
            for _ in 0..steps {
                let decision = one(limit, &mut state, now);
                admitted += u64::from(decision.is_admitted);
                now += decision.wait_us;
            }
            // `now` is at most one microsecond late for each wait.
            let late = steps * limit.units_per_us;
            prop_assert!((admitted + 1) * UNITS_PER_TOKEN + late >= now * limit.units_per_us);
        }

        #[test]
        fn a_wait_is_exactly_long_enough(
            milli in 1u32..=1_000_000_000, burst in 1u32..=1_000_000, level in 0u64..UNITS_PER_TOKEN,
        ) {
            let limit = limit(milli, burst);
            let state = Some(BucketState { level, time_us: 77 });
            let wait = limit.wait_us(level);
            prop_assert!(one(limit, &mut state.clone(), 77 + wait).is_admitted);
            prop_assert!(!one(limit, &mut state.clone(), 77 + wait - 1).is_admitted);
            let full = limit.full_us(level);
            prop_assert_eq!(limit.level(state, 77 + full), limit.capacity);
            prop_assert!(limit.level(state, 77 + full - 1) < limit.capacity);
        }
    }
}
