//! Whether an upstream as a whole fails, for the program's log: a word when it begins, one every while, and one when it
//! is over.

use super::outlier::Seen;
use crate::limits::{UPSTREAM_FAILING_LOG_MS, UPSTREAM_FAILING_WINDOW_MS};

/// The watch over one upstream.
#[derive(Debug, Clone, Default)]
pub struct Failing {
    window: (u64, u64),
    window_began_ms: u64,
    begun: Option<Begun>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    begun_ms: u64,
    said_ms: u64,
    failures: u64,
}

/// What there is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// At least as many exchanges fail as succeed.
    Begun,
    /// They still do, for so many milliseconds; so many have failed.
    Lasts {
        /// For how long.
        ms: u64,
        /// How many since it began.
        failures: u64,
    },
    /// They succeed again, after so many milliseconds.
    Over {
        /// How long it was.
        ms: u64,
        /// How many have failed.
        failures: u64,
    },
}

impl Failing {
    /// Takes what the cores have seen of all members since the last look.
    pub fn look(&mut self, new: Seen, now_ms: u64) -> Option<Word> {
        if self.window == (0, 0) {
            self.window_began_ms = now_ms;
        }
        self.window.0 += new.successes;
        self.window.1 += new.failures;
        if let Some(begun) = &mut self.begun {
            begun.failures += new.failures;
        }
        // The first failures are told at once, the end only when there were enough successes to tell.
        let (successes, failures) = self.window;
        let is_over = now_ms.saturating_sub(self.window_began_ms) >= UPSTREAM_FAILING_WINDOW_MS;
        if is_over {
            self.window = (0, 0);
        }
        match self.begun {
            None if failures > 0 && failures >= successes => {
                self.begun = Some(Begun { begun_ms: now_ms, said_ms: now_ms, failures: new.failures });
                self.window = (0, 0);
                Some(Word::Begun)
            }
            None => None,
            Some(Begun { begun_ms, failures: all, .. })
                if is_over && successes > 0 && failures * 10 <= successes =>
            {
                self.begun = None;
                Some(Word::Over { ms: now_ms - begun_ms, failures: all })
            }
            // Nobody asks any more: nothing is known about it, and nothing is said.
            Some(begun) if now_ms - begun.said_ms >= UPSTREAM_FAILING_LOG_MS && failures > 0 => {
                self.begun = Some(Begun { said_ms: now_ms, ..begun });
                Some(Word::Lasts { ms: now_ms - begun.begun_ms, failures: begun.failures })
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(successes: u64, failures: u64) -> Seen {
        Seen { successes, failures, connect_failures: 0 }
    }

    #[test]
    fn an_outage_is_a_word_at_its_begin_one_every_while_and_one_at_its_end() {
        let mut failing = Failing::default();
        let mut said = Vec::new();
        for now_ms in (0..60_000).step_by(250) {
            let new = if (5_000..32_000).contains(&now_ms) { seen(0, 2) } else { seen(20, 0) };
            said.extend(failing.look(new, now_ms).map(|word| (now_ms, word)));
        }
        let expected = [
            (5_000, Word::Begun),
            (15_000, Word::Lasts { ms: 10_000, failures: 82 }),
            (25_000, Word::Lasts { ms: 20_000, failures: 162 }),
        ];
        assert_eq!(said[..3], expected);
        let (ended_ms, Word::Over { failures: 216, .. }) = said[3] else { panic!("{said:?}") };
        assert!((32_000..35_000).contains(&ended_ms) && said.len() == 4, "{said:?}");
    }

    #[test]
    fn a_failure_among_many_successes_is_no_outage_and_the_only_request_that_fails_is_one() {
        let mut failing = Failing::default();
        assert_eq!(failing.look(seen(50, 3), 0), None);
        assert_eq!(failing.look(seen(0, 0), 250), None);
        let mut failing = Failing::default();
        assert_eq!(failing.look(seen(0, 1), 0), Some(Word::Begun));
        for now_ms in (250..40_000).step_by(250) {
            assert_eq!(failing.look(seen(0, 0), now_ms), None, "nobody asks");
        }
        assert_eq!(failing.look(seen(1, 0), 40_000), None);
        assert!(matches!(failing.look(seen(1, 0), 41_500), Some(Word::Over { failures: 1, .. })));
    }
}
