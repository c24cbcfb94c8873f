//! The end of a storm: when somebody holds much less than a while ago, and memory can be given back.

/// What is held, now and at most since the last storm.
#[derive(Debug, Default)]
pub struct Storm {
    peak: u64,
    /// In how many checks the end is told once more.
    again_in: u32,
}

impl Storm {
    /// Looks at what is held. Call it often: a storm may be short.
    pub fn watch(&mut self, load: u64) {
        self.peak = self.peak.max(load);
    }

    /// Whether a storm has ended since the last check: less than half is held of what was. The end is told once more
    /// so many checks later, for what is freed only after a while.
    pub fn check(&mut self, load: u64, again_after: u32) -> bool {
        self.watch(load);
        if load < self.peak / 2 && self.peak - load >= STORM_MIN {
            self.peak = load;
            self.again_in = again_after + 1;
            return true;
        }
        self.again_in = self.again_in.saturating_sub(1);
        self.again_in == 1
    }
}

/// A smaller peak is not worth the trouble: some 1 MiB, as a connection or a page of a buffer counts as one.
const STORM_MIN: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_ends_once() {
        let mut storm = Storm::default();
        let seen: Vec<bool> = [10, 300, 9_000, 8_000, 4_400, 100, 100, 300, 10, 400, 90]
            .map(|load| {
                storm.watch(load);
                storm.check(load, 0)
            })
            .into();
        let ends = [4, 5, 8, 10].map(|nth| seen[nth]);
        assert_eq!((ends, seen.iter().filter(|end| **end).count()), ([true; 4], 4), "{seen:?}");
    }

    #[test]
    fn its_end_is_told_once_more() {
        let mut storm = Storm::default();
        storm.watch(1_000);
        let told: Vec<bool> = (0..6).map(|_| storm.check(10, 3)).collect();
        assert_eq!(told, [true, false, false, true, false, false]);
    }
}
