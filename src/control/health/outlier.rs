//! What all cores have seen of one member: failures in a row, and how many of its requests succeed.

use crate::limits::{CONNECTS_FAILED_IN_A_ROW_MAX, EJECT_MS_FIRST, EJECT_MS_MAX, FAILURES_IN_A_ROW_MAX};
use crate::upstream::MemberRecord;

/// The sums over all cores, since the address became a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Exchanges whose response head has arrived.
    pub successes: u64,
    /// Exchanges and connections that failed for a reason of the member's.
    pub failures: u64,
    /// Those of them that were connections.
    pub connect_failures: u64,
}

impl Seen {
    /// What the cores have seen of a member so far.
    pub fn of(record: &MemberRecord) -> Seen {
        record.cores().iter().fold(Seen::default(), |sum, core| Seen {
            successes: sum.successes.wrapping_add(core.successes.get()),
            failures: sum.failures.wrapping_add(core.failures.get()),
            connect_failures: sum.connect_failures.wrapping_add(core.connect_failures.get()),
        })
    }

    /// What is new since then.
    pub(super) fn since(self, before: Seen) -> Seen {
        Seen {
            successes: self.successes.wrapping_sub(before.successes),
            failures: self.failures.wrapping_sub(before.failures),
            connect_failures: self.connect_failures.wrapping_sub(before.connect_failures),
        }
    }
}

/// One member, judged by what the cores have seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Outlier {
    last: Seen,
    /// Failures since the last look in which there was a success.
    row: u64,
    /// Those of them that were connections.
    connections: u64,
    /// Successes and failures of the current window.
    window: (u64, u64),
    /// Ejections that are not forgotten yet.
    times: u32,
    /// It is ejected until then.
    pub(super) until_ms: Option<u64>,
}

impl Outlier {
    /// A member of which the cores have seen this already.
    pub(super) fn new(seen: Seen) -> Outlier {
        Outlier { last: seen, ..Outlier::default() }
    }

    /// Takes what the cores have seen until now. Returns what was new.
    pub(super) fn look(&mut self, seen: Seen) -> Seen {
        let new = seen.since(self.last);
        self.last = seen;
        if new.successes > 0 {
            (self.row, self.connections) = (0, 0);
        } else {
            self.row += new.failures;
            self.connections += new.connect_failures;
        }
        self.window.0 += new.successes;
        self.window.1 += new.failures;
        new
    }

    /// The failures in a row, if they are too many.
    pub(super) fn row(&self) -> Option<u64> {
        let are_too_many =
            self.row >= FAILURES_IN_A_ROW_MAX || self.connections >= CONNECTS_FAILED_IN_A_ROW_MAX;
        (self.until_ms.is_none() && are_too_many).then_some(self.row)
    }

    /// Successes and failures of the window that ends with this call. A good one makes the next ejection shorter.
    pub(super) fn end_window(&mut self) -> (u64, u64) {
        let window = std::mem::take(&mut self.window);
        if self.until_ms.is_none() && window.0 > 0 && window.1 == 0 {
            self.times = self.times.saturating_sub(1);
        }
        window
    }

    /// Ejects the member, each time for longer. `jitter` is from -0.1 to 0.1, so that members that went together do not
    /// come back together.
    pub(super) fn eject(&mut self, now_ms: u64, jitter: f64) {
        self.times = self.times.saturating_add(1);
        let ms = EJECT_MS_FIRST.saturating_mul(u64::from(self.times)).min(EJECT_MS_MAX);
        self.until_ms = Some(now_ms + (ms as f64 * (1.0 + jitter)) as u64);
    }

    /// Whether an ejection is over by now. The member then begins anew.
    pub(super) fn returns(&mut self, now_ms: u64) -> bool {
        let is_over = self.until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        if is_over {
            self.until_ms = None;
            (self.row, self.connections) = (0, 0);
        }
        is_over
    }
}
