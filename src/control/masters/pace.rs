//! When the masters are looked for next: seldom while nothing is wrong, often while something is.

use crate::limits::{REDIS_LOOK_LATER_MS, REDIS_LOOK_MS, REDIS_WRONG_LONG_MS, REDIS_WRONG_MS};

/// The pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How often to look while nothing is wrong.
    idle_ms: u64,
    looked_ms: u64,
    /// Since when something is wrong, and when a core has said so last.
    wrong: Option<(u64, u64)>,
}

impl Pace {
    /// Nothing is wrong, and nobody has looked.
    pub(super) fn new(idle_ms: u64) -> Pace {
        Pace { idle_ms, ..Pace::default() }
    }

    /// A core says that something is wrong.
    pub(super) fn rung(&mut self, now_ms: u64) {
        let since_ms = self.wrong.map_or(now_ms, |(since_ms, _)| since_ms);
        self.wrong = Some((since_ms, now_ms));
    }

    /// The masters were looked for.
    pub(super) fn looked(&mut self, now_ms: u64) {
        self.looked_ms = now_ms;
        if self.wrong.is_some_and(|(_, said_ms)| now_ms >= said_ms + REDIS_WRONG_MS) {
            self.wrong = None;
        }
    }

    /// When they are to be looked for next. `jitter`: a part by which to be early or late.
    pub(super) fn next_ms(&self, jitter: f64) -> u64 {
        let wait_ms = match self.wrong {
            Some((since_ms, _)) if self.looked_ms < since_ms + REDIS_WRONG_LONG_MS => REDIS_LOOK_MS,
            Some(_) => REDIS_LOOK_LATER_MS,
            None => (self.idle_ms as f64 * (1.0 + jitter)) as u64,
        };
        self.looked_ms + wait_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REDIS_LOOK_IDLE_MS;

    #[test]
    fn looks_often_while_something_is_wrong_and_seldom_before_and_after() {
        let mut pace = Pace::new(REDIS_LOOK_IDLE_MS);
        pace.looked(1_000);
        for jitter in [-0.1, 0.0, 0.1] {
            let next_ms = pace.next_ms(jitter);
            assert!(
                (1_000 + REDIS_LOOK_IDLE_MS * 9 / 10..=1_001 + REDIS_LOOK_IDLE_MS * 11 / 10)
                    .contains(&next_ms)
            );
        }
        pace.rung(1_010);
        assert_eq!(pace.next_ms(0.0), 1_000 + REDIS_LOOK_MS);
        pace.looked(1_050);
        assert_eq!(pace.next_ms(0.0), 1_050 + REDIS_LOOK_MS, "until it has been quiet for a while");
        pace.looked(1_010 + REDIS_WRONG_MS);
        assert!(pace.next_ms(0.0) > 1_010 + REDIS_WRONG_MS + REDIS_LOOK_LATER_MS);
    }

    #[test]
    fn what_is_wrong_for_long_is_looked_at_less_often() {
        let mut pace = Pace::default();
        for now_ms in (0..=REDIS_WRONG_LONG_MS).step_by(1_000) {
            pace.rung(now_ms);
            pace.looked(now_ms);
        }
        assert_eq!(pace.next_ms(0.0), REDIS_WRONG_LONG_MS + REDIS_LOOK_LATER_MS);
    }
}
