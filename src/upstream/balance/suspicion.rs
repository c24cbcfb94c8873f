//! What a core holds against a member: for a while it asks others first.

use std::cell::Cell;

/// How long a member is passed over at first, and at most, in milliseconds. It doubles each time.
const SUSPECTED_MS: (u64, u64) = (1_000, 30_000);
/// How long a trial keeps other requests away, in milliseconds, while there is no answer.
const TRIAL_MS: u64 = 1_000;
/// Failures in a row of requests on open connections that make a member suspect. One that accepts no connection is so
/// at once.
const FAILURES_IN_A_ROW: u32 = 3;

/// The suspicion against one member.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    until_ms: Cell<u64>,
    /// A request tries the member again, and until then no other one does unless it is answered.
    trial_until_ms: Cell<u64>,
    failures: Cell<u32>,
    times: Cell<u32>,
}

impl Suspicion {
    pub(super) fn holds(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.get().max(self.trial_until_ms.get())
    }

    /// A request goes to the member. After a time of suspicion it is a trial: one that still fails is to cost one
    /// request, and one that has recovered is to be back with the first.
    pub(super) fn asked(&self, now_ms: u64) {
        if self.times.get() > 0 {
            self.trial_until_ms.set(now_ms + TRIAL_MS);
        }
    }

    /// No connection could be opened.
    pub(super) fn connect_failed(&self, now_ms: u64) {
        self.failures.set(self.failures.get().saturating_add(1));
        self.suspect(now_ms);
    }

    /// A request has failed in a way that is no application's. After a time of suspicion one is enough.
    pub(super) fn failed(&self, now_ms: u64) {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        if failures >= FAILURES_IN_A_ROW {
            self.suspect(now_ms);
        }
    }

    fn suspect(&self, now_ms: u64) {
        // Of requests that fail together only the first one counts.
        if now_ms < self.until_ms.get() {
            return;
        }
        let (first, most) = SUSPECTED_MS;
        let times = self.times.get();
        self.until_ms.set(now_ms + (first << times.min(8)).min(most));
        self.times.set(times.saturating_add(1));
    }

    /// It has answered.
    pub(super) fn succeeded(&self) {
        if self.failures.get() > 0 {
            self.until_ms.set(0);
            self.trial_until_ms.set(0);
            self.failures.set(0);
            self.times.set(0);
        }
    }

    /// Failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_or_one_refused_connection() {
        let suspicion = Suspicion::default();
        (0..2).for_each(|_| suspicion.failed(0));
        suspicion.succeeded();
        (0..2).for_each(|_| suspicion.failed(0));
        assert!(!suspicion.holds(0));
        suspicion.failed(0);
        assert!(suspicion.holds(999) && !suspicion.holds(1_000));
        suspicion.succeeded();
        suspicion.connect_failed(0);
        assert!(suspicion.holds(999));
    }

    #[test]
    fn one_request_tries_a_member_again_and_a_success_lets_the_others_follow() {
        let suspicion = Suspicion::default();
        suspicion.asked(0);
        assert!(!suspicion.holds(0), "nothing was held against it");
        suspicion.connect_failed(0);
        assert!(suspicion.holds(999) && !suspicion.holds(1_000));
        suspicion.asked(1_000);
        assert!(suspicion.holds(1_999) && !suspicion.holds(2_000), "one that hangs is tried again");
        suspicion.asked(2_000);
        suspicion.connect_failed(2_001);
        assert!(suspicion.holds(4_000) && !suspicion.holds(4_001), "a failed trial counts");
        suspicion.asked(4_001);
        suspicion.succeeded();
        suspicion.asked(4_002);
        assert!(!suspicion.holds(4_002));
    }

    #[test]
    fn it_doubles_to_a_bound_and_a_success_ends_it() {
        let (suspicion, mut now_ms) = (Suspicion::default(), 0);
        for expected in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            suspicion.connect_failed(now_ms);
            suspicion.connect_failed(now_ms + 1);
            assert!(suspicion.holds(now_ms + expected - 1) && !suspicion.holds(now_ms + expected));
            now_ms += expected;
        }
        suspicion.connect_failed(now_ms);
        suspicion.succeeded();
        assert!(!suspicion.holds(now_ms) && suspicion.failures() == 0);
        suspicion.connect_failed(now_ms);
        assert!(!suspicion.holds(now_ms + 1_000));
    }
}
