//! How many debug lines a core may log: whoever makes the gateway refuse requests must not fill the log.

use std::cell::Cell;

use crate::limits::DEBUG_LINES_PER_SECOND;

/// The debug lines of one core.
#[derive(Debug, Default)]
pub struct DebugLines {
    second: Cell<u64>,
    logged: Cell<u32>,
    skipped: Cell<u64>,
}

impl DebugLines {
    /// Whether one more line may be logged now, and how many were skipped before it. `None`: it is skipped.
    pub fn take(&self, now_ms: u64) -> Option<u64> {
        let second = now_ms / 1_000;
        if self.second.replace(second) != second {
            self.logged.set(0);
        }
        if self.logged.get() >= DEBUG_LINES_PER_SECOND {
            self.skipped.set(self.skipped.get() + 1);
            return None;
        }
        self.logged.set(self.logged.get() + 1);
        Some(self.skipped.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_next_second_says_how_large_it_was() {
        let lines = DebugLines::default();
        let logged = (0..1_000).filter(|_| lines.take(5_400).is_some()).count();
        assert_eq!(logged, DEBUG_LINES_PER_SECOND as usize);
        assert_eq!(lines.take(6_000), Some(1_000 - u64::from(DEBUG_LINES_PER_SECOND)));
        assert_eq!(lines.take(6_001), Some(0));
    }
}
