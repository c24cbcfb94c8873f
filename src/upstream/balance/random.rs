//! Random numbers for choices that nobody gains by guessing: xorshift64*, two instructions more than a counter.

use std::cell::Cell;

use super::hash::mix;

/// A source of random numbers.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    /// The same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Random {
        Random(Cell::new(mix(seed) | 1))
    }

    /// Less than `end`; 0 if that is 0.
    pub(crate) fn below(&self, end: u64) -> u64 {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        let random = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        // The high half of the product: no division, and no bias that matters (Lemire 2019).
        ((u128::from(random) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_end_comes_about_as_often() {
        let (random, mut seen) = (Random::new(0), [0; 7]);
        (0..70_000).for_each(|_| seen[random.below(7) as usize] += 1);
        assert!(seen.iter().all(|seen| (9_500..10_500).contains(seen)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
