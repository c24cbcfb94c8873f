//! How the reading of the control stream stands, for those who ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::metrics::StreamMetrics;
use crate::clock;
use crate::config::{Control, OnStreamFailure};
use crate::gateway::core::live::ListStanding;
use crate::limits::STREAM_LATE_MS;

/// How it stands. The thread of the stream writes it.
pub struct StreamState {
    /// What it counts.
    pub metrics: Arc<StreamMetrics>,
    standing: Arc<ListStanding>,
    /// When the stream was last read, by the coarse clock; before that, when the process began.
    read_ms: AtomicU64,
    /// It was read to its end once.
    has_caught_up: AtomicBool,
}

/// Whether the list of revocations is up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Fresh,
    /// The stream is out of reach; what is known stays in force.
    Late,
    /// It is so old that no token is accepted.
    Stale,
}

impl StreamState {
    /// Nothing was read yet. Where that matters, no token is accepted until something was.
    pub fn new(standing: Arc<ListStanding>, control: &Control) -> StreamState {
        standing.set_stale(control.on_failure == OnStreamFailure::Closed);
        StreamState {
            metrics: Arc::default(),
            standing,
            read_ms: AtomicU64::new(clock::now_ms()),
            has_caught_up: AtomicBool::default(),
        }
    }

    /// The stream was read just now, to its end or not.
    pub(super) fn was_read(&self, is_to_its_end: bool) {
        self.read_ms.store(clock::now_ms(), Ordering::Relaxed);
        self.metrics.read_unix_s.set(clock::unix_s());
        self.metrics.connected.set(1);
        if is_to_its_end {
            self.has_caught_up.store(true, Ordering::Relaxed);
        }
    }

    /// Looks at the time that has passed, and tells the cores whether the list can be relied on.
    pub fn look(&self, control: &Control, now_ms: u64) -> Freshness {
        let age_ms = now_ms.saturating_sub(self.read_ms.load(Ordering::Relaxed));
        let has_caught_up = self.has_caught_up.load(Ordering::Relaxed);
        let is_too_old = !has_caught_up || u128::from(age_ms) > control.stale_max.as_millis();
        let is_stale = is_too_old && control.on_failure == OnStreamFailure::Closed;
        self.standing.set_stale(is_stale);
        match (is_stale, age_ms > STREAM_LATE_MS) {
            (true, _) => Freshness::Stale,
            (false, true) => Freshness::Late,
            (false, false) => Freshness::Fresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_it_is_asked_for_an_old_list_refuses_everybody() {
        let open = crate::config::testing::config("").control;
        let closed = Control { on_failure: OnStreamFailure::Closed, ..open.clone() };
        let standing = Arc::<ListStanding>::default();
        let state = StreamState::new(standing.clone(), &closed);
        let begun_ms = clock::now_ms();
        assert!(standing.is_stale(), "nothing was read yet");
        assert_eq!((state.look(&open, begun_ms), standing.is_stale()), (Freshness::Fresh, false));
        assert_eq!(state.look(&closed, begun_ms), Freshness::Stale);
        state.was_read(false);
        assert_eq!(state.look(&closed, begun_ms), Freshness::Stale, "not to its end");
        state.was_read(true);
        let read_ms = state.read_ms.load(Ordering::Relaxed);
        assert_eq!((state.look(&closed, read_ms), standing.is_stale()), (Freshness::Fresh, false));
        assert_eq!(state.look(&closed, read_ms + STREAM_LATE_MS + 1), Freshness::Late);
        assert_eq!(state.look(&closed, read_ms + 60_000), Freshness::Late);
        assert_eq!((state.look(&closed, read_ms + 60_001), standing.is_stale()), (Freshness::Stale, true));
        assert_eq!((state.look(&open, read_ms + 60_001), standing.is_stale()), (Freshness::Late, false));
    }
}
