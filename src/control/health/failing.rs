//! Whether a member fails, for the program's log: a word when it begins, one every while, and one when it is over.

use super::outlier::Seen;
use crate::limits::{MEMBER_FAILING_LOG_MS, MEMBER_FAILING_WINDOW_MS};

/// The watch over one member.
#[derive(Debug, Clone, Default)]
pub struct Failing {
    window: (u64, u64),
    window_began_ms: u64,
    begun: Option<Begun>,
    /// When a beginning was said last.
    told_ms: Option<u64>,
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
    /// Over a tenth of its exchanges and connections fail.
    Begun,
    /// They still do.
    Lasts(Outage),
    /// They succeed again.
    Over(Outage),
}

/// How long a member has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// For so many milliseconds.
    pub ms: u64,
    /// So many exchanges and connections have failed since it began.
    pub failures: u64,
}

impl Failing {
    /// Takes what the cores have seen of the member since the last look.
    pub fn look(&mut self, new: Seen, now_ms: u64) -> Option<Word> {
        if self.window == (0, 0) {
            self.window_began_ms = now_ms;
        }
        self.window.0 += new.successes;
        self.window.1 += new.failures;
        if let Some(begun) = &mut self.begun {
            begun.failures += new.failures;
        }
        // That nearly everything fails is told at once, the rest when there was enough to tell.
        let (successes, failures) = self.window;
        let is_full = now_ms.saturating_sub(self.window_began_ms) >= MEMBER_FAILING_WINDOW_MS;
        if is_full {
            self.window = (0, 0);
        }
        let is_much = failures > 0 && (failures >= successes || is_full && failures * 10 > successes);
        match self.begun {
            // A member that comes and goes is told of no more often than one that stays away.
            None if is_much
                && self.told_ms.is_none_or(|told_ms| now_ms - told_ms >= MEMBER_FAILING_LOG_MS) =>
            {
                self.begun = Some(Begun { begun_ms: now_ms, said_ms: now_ms, failures });
                self.told_ms = Some(now_ms);
                self.window = (0, 0);
                Some(Word::Begun)
            }
            None => None,
            Some(begun) if is_full && successes > 0 && failures * 10 <= successes => {
                self.begun = None;
                Some(Word::Over(begun.outage(now_ms)))
            }
            // Nobody asks any more: nothing is known about it, and nothing is said.
            Some(begun) if now_ms - begun.said_ms >= MEMBER_FAILING_LOG_MS && failures > 0 => {
                self.begun = Some(Begun { said_ms: now_ms, ..begun });
                Some(Word::Lasts(begun.outage(now_ms)))
            }
            Some(_) => None,
        }
    }

    /// For how long it has failed until now, if it does.
    pub fn outage(&self, now_ms: u64) -> Option<Outage> {
        self.begun.map(|begun| begun.outage(now_ms))
    }
}

impl Begun {
    fn outage(self, now_ms: u64) -> Outage {
        Outage { ms: now_ms.saturating_sub(self.begun_ms), failures: self.failures }
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
        let (begun_ms, Word::Begun) = said[0] else { panic!("{said:?}") };
        assert!((5_000..6_000).contains(&begun_ms), "{said:?}");
        for (nth, lasts) in said[1..3].iter().enumerate() {
            let (at_ms, Word::Lasts(outage)) = lasts else { panic!("{said:?}") };
            assert_eq!((*at_ms, outage.ms), (begun_ms + outage.ms, (nth as u64 + 1) * 10_000));
        }
        let (ended_ms, Word::Over(outage)) = said[3] else { panic!("{said:?}") };
        assert!((32_000..35_000).contains(&ended_ms) && said.len() == 4, "{said:?}");
        assert!((200..=216).contains(&outage.failures), "{outage:?}");
    }

    #[test]
    fn a_failure_among_many_successes_is_no_outage_and_the_only_request_that_fails_is_one() {
        let mut failing = Failing::default();
        assert_eq!(failing.look(seen(50, 3), 0), None);
        assert_eq!(failing.look(seen(0, 0), 1_250), None);
        let mut failing = Failing::default();
        assert_eq!(failing.look(seen(0, 1), 0), Some(Word::Begun));
        for now_ms in (250..40_000).step_by(250) {
            assert_eq!(failing.look(seen(0, 0), now_ms), None, "nobody asks");
        }
        assert_eq!(failing.look(seen(1, 0), 40_000), None);
        assert!(matches!(failing.look(seen(1, 0), 41_500), Some(Word::Over(Outage { failures: 1, .. }))));
    }

    #[test]
    fn a_third_that_fails_for_ever_is_told_although_most_succeeds() {
        let mut failing = Failing::default();
        let mut look = |now_ms| failing.look(seen(2, 1), now_ms);
        let said: Vec<Word> = (0..25_000).step_by(250).filter_map(&mut look).collect();
        assert!(matches!(said[..], [Word::Begun, Word::Lasts(_), Word::Lasts(_)]), "{said:?}");
    }

    #[test]
    fn a_member_that_comes_and_goes_does_not_fill_the_log() {
        let mut failing = Failing::default();
        let mut look = |now_ms: u64| match now_ms / 2_000 % 2 {
            0 => failing.look(seen(0, 5), now_ms),
            _ => failing.look(seen(5, 0), now_ms),
        };
        let said = (0..100_000).step_by(250).filter_map(&mut look).count();
        assert!((10..=20).contains(&said), "{said} lines in 100 s");
    }
}
