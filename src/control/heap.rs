//! Memory that comes back: after a storm the freed part of the heap goes back to the kernel.
//!
//! The C library keeps what was freed between memory that is still in use, for good: 6,000 WebSockets that ended at
//! once left 50 MiB. The control thread gives it back. A core is hardly delayed, because it does not allocate in its
//! steady state.

use crate::gateway::core::Metrics;
use crate::storm::Storm;
use crate::sys::trim_heap;

/// Gives memory back at the end of a storm.
#[derive(Debug, Default)]
pub(super) struct HeapKeeper(Storm);

impl HeapKeeper {
    /// Looks at what the cores hold: a storm may be short.
    pub(super) fn watch(&mut self, cores: &[Metrics]) {
        self.0.watch(load(cores));
    }

    /// Gives freed memory back if the cores hold less than half of what they have held.
    pub(super) fn check(&mut self, cores: &[Metrics]) {
        if self.0.check(load(cores), CHECKS_TO_SECOND) {
            trim_heap();
        }
    }
}

/// What all cores hold.
fn load(cores: &[Metrics]) -> u64 {
    cores.iter().map(Metrics::load).sum()
}

/// Memory is given back once more three checks later: then the cores have freed what their pools did not need for two
/// of them.
const CHECKS_TO_SECOND: u32 = 3;
