//! What came of the last reload, for the metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock;

/// Whether the last reload was taken, and when that was. Before the first one: the start.
#[derive(Debug)]
pub struct LastReload {
    is_taken: AtomicBool,
    unix_s: AtomicU64,
}

impl Default for LastReload {
    fn default() -> LastReload {
        LastReload { is_taken: AtomicBool::new(true), unix_s: AtomicU64::new(clock::unix_s()) }
    }
}

impl LastReload {
    /// A reload is over. The time stays that of the last one that was taken.
    pub fn note(&self, is_taken: bool) {
        if is_taken {
            self.unix_s.store(clock::unix_s(), Ordering::Relaxed);
        }
        self.is_taken.store(is_taken, Ordering::Relaxed);
    }

    /// Whether the last one was taken.
    pub(super) fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    /// When one was last taken, in seconds since 1970.
    pub(super) fn unix_s(&self) -> u64 {
        self.unix_s.load(Ordering::Relaxed)
    }
}
