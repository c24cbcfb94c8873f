//! When the key set of one issuer is to be fetched. Pure: the caller brings the clock and the jitter.

use crate::limits::{
    KEYS_FRESH_MS, KEYS_FRESH_MS_MAX, KEYS_FRESH_MS_MIN, KEYS_RETRY_MS_MAX, KEYS_RETRY_MS_MIN,
    KEYS_STALE_MS_MAX,
};

/// The schedule of one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    due_ms: u64,
    /// When the last fetch succeeded, by the coarse clock.
    fetched_ms: Option<u64>,
    /// When the last fetch began that a missing key was the reason for.
    wanted_ms: Option<u64>,
    /// Fetches that failed since the last one that did not.
    failures: u32,
    /// The shortest time between two fetches that missing keys are the reason for.
    pace_ms: u64,
}

impl Schedule {
    /// The first fetch is due now. `pace_ms`: the shortest time between two fetches that missing keys are the reason
    /// for.
    pub(super) fn new(now_ms: u64, pace_ms: u64) -> Schedule {
        Schedule { due_ms: now_ms, fetched_ms: None, wanted_ms: None, failures: 0, pace_ms }
    }

    /// A set is known already.
    pub(super) fn know(&mut self, now_ms: u64) {
        self.fetched_ms = Some(now_ms);
    }

    /// Whether a fetch is due.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.due_ms
    }

    /// No fetch begins before this time. 0: one may begin at any moment.
    pub(super) fn idle_until_ms(&self) -> u64 {
        self.due_ms.min(self.wanted_ms.map_or(0, |wanted_ms| wanted_ms + self.pace_ms))
    }

    /// A token named a key that the set does not have. A fetch is due if the last one for that reason was long enough
    /// ago: anybody can write such tokens.
    pub(super) fn want(&mut self, now_ms: u64) {
        let may_fetch = self.wanted_ms.is_none_or(|wanted_ms| now_ms >= wanted_ms + self.pace_ms);
        if may_fetch && !self.is_due(now_ms) {
            self.wanted_ms = Some(now_ms);
            self.due_ms = now_ms;
        }
    }

    /// A fetch has succeeded: the next one follows when the set is no longer fresh. `jitter`: from -0.1 to 0.1.
    pub(super) fn succeeded(&mut self, now_ms: u64, max_age_s: Option<u64>, jitter: f64) {
        let fresh_ms = max_age_s.map_or(KEYS_FRESH_MS, |seconds| seconds.saturating_mul(1_000));
        let fresh_ms = fresh_ms.clamp(KEYS_FRESH_MS_MIN, KEYS_FRESH_MS_MAX);
        self.due_ms = now_ms + jittered(fresh_ms, jitter);
        self.fetched_ms = Some(now_ms);
        self.failures = 0;
    }

    /// A fetch has failed: the next one follows sooner, and later each time. `jitter`: from -0.1 to 0.1.
    pub(super) fn failed(&mut self, now_ms: u64, jitter: f64) {
        let retry_ms = KEYS_RETRY_MS_MIN << self.failures.min(16);
        self.due_ms = now_ms + jittered(retry_ms.min(KEYS_RETRY_MS_MAX), jitter);
        self.failures = self.failures.saturating_add(1);
    }

    /// Whether the last fetch failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Whether the last fetch failed and an earlier one did not.
    pub(super) fn is_stale(&self) -> bool {
        self.failures > 0 && self.fetched_ms.is_some()
    }

    /// Whether the set is too old to be used: a key may have been withdrawn since.
    pub(super) fn is_expired(&self, now_ms: u64) -> bool {
        self.fetched_ms.is_some_and(|fetched_ms| now_ms - fetched_ms >= KEYS_STALE_MS_MAX)
    }
}

/// More or less by a tenth, so that instances that started together do not ask together.
fn jittered(ms: u64, jitter: f64) -> u64 {
    (ms as f64 * (1.0 + jitter)).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::KEYS_WANTED_MS;

    const NOW: u64 = 1_000_000;

    /// How long after a success the next fetch is due.
    fn fresh_ms(max_age_s: Option<u64>, jitter: f64) -> u64 {
        let mut schedule = Schedule::new(NOW, KEYS_WANTED_MS);
        schedule.succeeded(NOW, max_age_s, jitter);
        schedule.due_ms - NOW
    }

    #[test]
    fn a_set_is_fresh_as_long_as_its_server_says_within_bounds() {
        assert_eq!(fresh_ms(None, 0.0), 300_000);
        assert_eq!(fresh_ms(Some(600), 0.0), 600_000);
        assert_eq!(fresh_ms(Some(0), 0.0), 60_000);
        assert_eq!(fresh_ms(Some(u64::MAX), 0.0), 3_600_000);
        assert_eq!((fresh_ms(Some(600), -0.1), fresh_ms(Some(600), 0.1)), (540_000, 660_000));
    }

    #[test]
    fn failures_are_retried_later_each_time_up_to_half_a_minute() {
        let mut schedule = Schedule::new(NOW, KEYS_WANTED_MS);
        let waits: Vec<u64> = (0..7)
            .map(|_| {
                schedule.failed(NOW, 0.0);
                schedule.due_ms - NOW
            })
            .collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        (0..100).for_each(|_| schedule.failed(NOW, 0.1));
        assert_eq!(schedule.due_ms - NOW, 33_000);
        assert!(!schedule.is_stale(), "there is nothing that could be stale");
        schedule.succeeded(NOW, None, 0.0);
        schedule.failed(NOW, 0.0);
        assert!(schedule.is_stale() && schedule.due_ms == NOW + 1_000);
    }

    #[test]
    fn a_flood_of_unknown_keys_brings_one_fetch_in_ten_seconds() {
        let mut schedule = Schedule::new(NOW, KEYS_WANTED_MS);
        schedule.succeeded(NOW, None, 0.0);
        let mut fetches = 0;
        for now_ms in (NOW..NOW + 60_000).step_by(10) {
            schedule.want(now_ms);
            if schedule.is_due(now_ms) {
                fetches += 1;
                schedule.succeeded(now_ms, None, 0.0);
            }
        }
        assert_eq!(fetches, 6);
    }

    #[test]
    fn an_unknown_key_brings_a_fetch_at_once_however_fresh_the_set_is() {
        let mut schedule = Schedule::new(NOW, KEYS_WANTED_MS);
        schedule.succeeded(NOW, Some(3_600), 0.0);
        assert!(!schedule.is_due(NOW + 1));
        schedule.want(NOW + 1);
        assert!(schedule.is_due(NOW + 1));
    }

    #[test]
    fn a_set_is_used_for_a_day_after_the_last_fetch() {
        let mut schedule = Schedule::new(NOW, KEYS_WANTED_MS);
        schedule.failed(NOW, 0.0);
        assert!(!schedule.is_expired(u64::MAX), "there is none");
        schedule.succeeded(NOW, None, 0.0);
        schedule.failed(NOW + 5, 0.0);
        assert!(!schedule.is_expired(NOW + 86_399_999) && schedule.is_expired(NOW + 86_400_000));
    }
}
