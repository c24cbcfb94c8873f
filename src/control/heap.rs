//! Memory that comes back: after a storm the freed part of the heap goes back to the kernel.
//!
//! The C library keeps what was freed between memory that is still in use, for good: 6,000 WebSockets that ended at
//! once left 50 MiB. The control thread gives it back. A core is hardly delayed, because it does not allocate in its
//! steady state.

use crate::gateway::core::Metrics;
use crate::sys::trim_heap;

/// Notices the end of a storm.
#[derive(Debug, Default)]
pub(super) struct HeapKeeper {
    /// The most that the cores have held since the last time that memory was given back.
    peak: u64,
    /// In how many checks memory is given back once more: the cores free what they have pooled a while later.
    again_in: u32,
}

impl HeapKeeper {
    /// Looks at what the cores hold: a storm may be short.
    pub(super) fn watch(&mut self, cores: &[Metrics]) {
        self.peak = self.peak.max(cores.iter().map(load).sum());
    }

    /// Gives freed memory back if the cores hold less than half of what they have held.
    pub(super) fn check(&mut self, cores: &[Metrics]) {
        let has_calmed = self.has_calmed(cores.iter().map(load).sum());
        if self.is_due(has_calmed) {
            trim_heap();
        }
    }

    fn is_due(&mut self, has_calmed: bool) -> bool {
        if has_calmed {
            self.again_in = CHECKS_TO_SECOND;
            return true;
        }
        self.again_in = self.again_in.saturating_sub(1);
        self.again_in == 1
    }

    fn has_calmed(&mut self, load: u64) -> bool {
        self.peak = self.peak.max(load);
        let has_calmed = load < self.peak / 2 && self.peak - load >= STORM;
        if has_calmed {
            self.peak = load;
        }
        has_calmed
    }
}

/// What a core holds: connections, and the buffers of slow peers in pages.
fn load(core: &Metrics) -> u64 {
    core.connections.open.get() + core.core.held_bytes.get() / 4096
}

/// Memory is given back once more three checks later: then the cores have freed what their pools did not need for two
/// of them.
const CHECKS_TO_SECOND: u32 = 4;
/// A smaller peak is not worth the trouble: some 1 MiB.
const STORM: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_ends_once() {
        let mut keeper = HeapKeeper::default();
        let seen: Vec<bool> = [10, 300, 9_000, 8_000, 4_400, 100, 100, 300, 10, 400, 90]
            .map(|load| keeper.has_calmed(load))
            .into();
        let ends = [4, 5, 8, 10].map(|nth| seen[nth]);
        assert_eq!((ends, seen.iter().filter(|end| **end).count()), ([true; 4], 4), "{seen:?}");
    }

    #[test]
    fn memory_is_given_back_at_the_end_of_a_storm_and_once_more() {
        let mut keeper = HeapKeeper::default();
        let due: Vec<bool> =
            [true, false, false, false, false, false].map(|calmed| keeper.is_due(calmed)).into();
        assert_eq!(due, [true, false, false, true, false, false]);
    }

    #[test]
    fn a_core_is_as_loaded_as_it_holds() {
        let core = Metrics::default();
        core.connections.open.add(7);
        core.core.held_bytes.set(3 * 4096);
        assert_eq!(load(&core), 10);
    }
}
