//! What a core notes of connections that it refuses or cannot accept, for the control thread, which tells of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::downstream::clients::{Clients, Network};
use crate::limits::{FULLEST_LOGGED, REFUSALS_LOG_MS};
use crate::telemetry::metrics::Counter;

/// The notes of one core. A core that finds the control thread reading goes on without one.
#[derive(Debug, Default)]
pub struct RefusalNotes {
    /// Connections that were refused because the core is full. A counter of its own: of two that belong together the
    /// control thread could see one old and one new.
    pub full: Counter,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    looked_ms: Option<u64>,
    fullest: Vec<(Network, usize)>,
    accept_error: &'static str,
}

impl RefusalNotes {
    /// A connection is refused: the clients are looked at, unless they were a moment ago.
    pub fn look(&self, clients: &Clients, now_ms: u64) {
        let Ok(mut notes) = self.notes.try_lock() else { return };
        if notes.looked_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= REFUSALS_LOG_MS / 6) {
            (notes.looked_ms, notes.fullest) = (Some(now_ms), clients.fullest(FULLEST_LOGGED));
        }
    }

    /// A connection could not be accepted, with this error of the system.
    pub fn cannot_accept(&self, error: &'static str) {
        if let Ok(mut notes) = self.notes.try_lock() {
            notes.accept_error = error;
        }
    }

    /// The clients with the most connections when some were refused, and how many each had.
    pub fn fullest(&self) -> Vec<(Network, usize)> {
        self.read().fullest.clone()
    }

    /// The error of the last connection that could not be accepted.
    pub fn accept_error(&self) -> Option<&'static str> {
        Some(self.read().accept_error).filter(|error| !error.is_empty())
    }

    fn read(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
