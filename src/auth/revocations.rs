//! Which tokens do not count any more, although nothing is wrong with them.
//!
//! The list is immutable, and all cores share it. It is cut into shards by the mark, each of them sorted: a list that
//! knows one more has copied one shard of 1,024, some 24 KiB where there are a million entries.
//!
//! ```text
//!  list of the reader   ■ ■ ■ ■' ■      a core's list   ■ ■ ■ ■ ■      ■' is the only shard that is not shared
//! ```
//!
//! *A revocation may be forgotten when no token that it refuses can still be valid.*

use std::sync::Arc;

use super::holder::{Holder, Mark, Subject};
use crate::limits::REVOCATIONS_MAX;

/// One revocation. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The tokens of a user that were issued before this second.
    User(Mark, u32),
    /// The tokens of a session that were issued before this second.
    Session(Mark, u32),
    /// One token, which expires at this second.
    Token(Mark, u32),
    /// Every token that was issued before this second.
    All(u32),
}

/// How long tokens hold, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLifetime {
    /// The longest from `iat` to `exp`.
    pub lifetime_s: u64,
    /// How much longer than `exp` a token counts.
    pub leeway_s: u64,
}

/// The revocations that are in force.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    /// Empty, or [`SHARDS`] of them.
    shards: Vec<Arc<Vec<Entry>>>,
    /// Entries by [`Subject`].
    counts: [usize; 3],
    /// Every token that was issued before this second is revoked; 0: none is.
    all_before_s: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    mark: Mark,
    /// Of a token its end, else the second before which tokens must have been issued.
    time_s: u32,
    subject: Subject,
}

/// The list is full: the revocation is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Revocation {
    /// Whether it refuses the token of this holder.
    pub fn refuses(&self, holder: &Holder) -> bool {
        match *self {
            Revocation::User(mark, before_s) => holder.user == mark && was_issued_before(holder, before_s),
            Revocation::Session(mark, before_s) => {
                holder.session == Some(mark) && was_issued_before(holder, before_s)
            }
            Revocation::Token(mark, _) => holder.token == Some(mark),
            Revocation::All(before_s) => was_issued_before(holder, before_s),
        }
    }
}

impl Revocations {
    /// Whether nothing is revoked. It costs a look at two numbers.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty() && self.all_before_s == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.counts.iter().sum::<usize>() + usize::from(self.all_before_s > 0)
    }

    /// Whether one of them refuses the token of this holder. Subjects of which nothing is revoked cost no look.
    pub fn refuse(&self, holder: &Holder) -> bool {
        if self.is_empty() {
            return false;
        }
        let found = |subject: Subject, mark: Option<Mark>| match self.counts[subject as usize] {
            0 => None,
            _ => self.find(mark?).filter(|entry| entry.subject == subject),
        };
        was_issued_before(holder, self.all_before_s)
            || found(Subject::User, Some(holder.user))
                .is_some_and(|entry| was_issued_before(holder, entry.time_s))
            || found(Subject::Session, holder.session)
                .is_some_and(|entry| was_issued_before(holder, entry.time_s))
            || found(Subject::Token, holder.token).is_some()
    }

    /// Adds one. Of two for the same subject the one that refuses more holds. True: the list is another one.
    ///
    /// # Errors
    /// There are [`REVOCATIONS_MAX`] already.
    pub fn add(&mut self, revocation: Revocation) -> Result<bool, Full> {
        let (mark, time_s, subject) = match revocation {
            Revocation::User(mark, before_s) => (mark, before_s, Subject::User),
            Revocation::Session(mark, before_s) => (mark, before_s, Subject::Session),
            Revocation::Token(mark, until_s) => (mark, until_s, Subject::Token),
            Revocation::All(before_s) => {
                let is_more = before_s > self.all_before_s;
                self.all_before_s = self.all_before_s.max(before_s);
                return Ok(is_more);
            }
        };
        let is_full = self.len() >= REVOCATIONS_MAX;
        if self.shards.is_empty() {
            self.shards = vec![Arc::default(); SHARDS];
        }
        let shard = &mut self.shards[shard_of(mark)];
        match shard.binary_search_by_key(&mark, |entry| entry.mark) {
            Ok(at) if shard[at].time_s >= time_s => Ok(false),
            Ok(at) => {
                Arc::make_mut(shard)[at].time_s = time_s;
                Ok(true)
            }
            Err(_) if is_full => Err(Full),
            Err(at) => {
                let shard = Arc::make_mut(shard);
                // A copy has no room, and twice as much as it needs would be half of the memory.
                if shard.len() == shard.capacity() {
                    shard.reserve_exact(shard.len() / 8 + 1);
                }
                shard.insert(at, Entry { mark, time_s, subject });
                self.counts[subject as usize] += 1;
                Ok(true)
            }
        }
    }

    /// Forgets those that refuse no token that could still be valid. True: the list is another one.
    pub fn forget(&mut self, lifetime: TokenLifetime, now_unix_s: u64) -> bool {
        let before = self.len();
        // "before" the last token that it refuses was issued, and so much later that one expires.
        let is_over = |time_s: u32, subject: Subject| {
            let lifetime_s = if subject == Subject::Token { 0 } else { lifetime.lifetime_s };
            u64::from(time_s).saturating_add(lifetime_s).saturating_add(lifetime.leeway_s) <= now_unix_s
        };
        if is_over(self.all_before_s, Subject::User) {
            self.all_before_s = 0;
        }
        for shard in &mut self.shards {
            if shard.iter().any(|entry| is_over(entry.time_s, entry.subject)) {
                let counts = &mut self.counts;
                Arc::make_mut(shard).retain(|entry| {
                    let is_over = is_over(entry.time_s, entry.subject);
                    counts[entry.subject as usize] -= usize::from(is_over);
                    !is_over
                });
            }
        }
        if self.counts == [0; 3] {
            self.shards = Vec::new();
        }
        self.len() != before
    }

    fn find(&self, mark: Mark) -> Option<&Entry> {
        let shard = self.shards.get(shard_of(mark))?;
        shard.binary_search_by_key(&mark, |entry| entry.mark).ok().map(|at| &shard[at])
    }
}

/// Whole seconds on both sides: a token of that second itself counts.
fn was_issued_before(holder: &Holder, before_s: u32) -> bool {
    holder.issued_unix_s < u64::from(before_s)
}

/// The first bits of a hash are as good as any.
fn shard_of(mark: Mark) -> usize {
    (mark.words()[0] >> (u64::BITS - SHARD_BITS)) as usize
}

const SHARD_BITS: u32 = 10;
/// A list that changed costs a copy of so many pointers and of the shards that changed.
const SHARDS: usize = 1 << SHARD_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: TokenLifetime = TokenLifetime { lifetime_s: 86_400, leeway_s: 10 };

    fn user(name: &str) -> Mark {
        Mark::of(Subject::User, name)
    }

    fn holder(name: &str, issued_unix_s: u64) -> Holder {
        Holder {
            token: Some(Mark::of(Subject::Token, "j")),
            session: Some(Mark::of(Subject::Session, "s")),
            ..Holder::someone(name, issued_unix_s)
        }
    }

    fn list(all: &[Revocation]) -> Revocations {
        let mut list = Revocations::default();
        all.iter().for_each(|revocation| assert!(list.add(*revocation).is_ok()));
        list
    }

    #[test]
    fn an_empty_list_refuses_nobody() {
        assert!(Revocations::default().is_empty() && !Revocations::default().refuse(&holder("ann", 0)));
    }

    #[test]
    fn each_kind_refuses_what_it_names_and_nothing_else() {
        let (token, session) = (Mark::of(Subject::Token, "j"), Mark::of(Subject::Session, "s"));
        for (revocation, refused) in [
            (Revocation::User(user("ann"), 100), [true, false, false, true]),
            (Revocation::User(user("bob"), 100), [false, false, true, false]),
            (Revocation::Session(session, 100), [true, false, true, true]),
            (Revocation::Token(token, 5_000), [true, true, true, true]),
            (Revocation::All(100), [true, false, true, true]),
            (Revocation::Token(user("ann"), 5_000), [false; 4]),
            (Revocation::User(token, 5_000), [false; 4]),
        ] {
            let holders = [holder("ann", 99), holder("ann", 100), holder("bob", 99), holder("ann", 0)];
            let list = list(&[revocation]);
            assert_eq!(holders.map(|holder| list.refuse(&holder)), refused, "{revocation:?}");
            assert_eq!(holders.map(|holder| revocation.refuses(&holder)), refused, "{revocation:?}");
            assert!(!list.is_empty() && list.len() == 1);
        }
        let bare = Holder::someone("ann", 0);
        assert!(!list(&[Revocation::Token(token, 1), Revocation::Session(session, 1)]).refuse(&bare));
    }

    #[test]
    fn of_two_the_one_that_refuses_more_holds_in_any_order() {
        let ann = |before_s| Revocation::User(user("ann"), before_s);
        for order in [[ann(100), ann(200)], [ann(200), ann(100)]] {
            let mut list = list(&order);
            assert!(list.refuse(&holder("ann", 199)) && !list.refuse(&holder("ann", 200)));
            assert_eq!((list.len(), list.add(order[1]), list.add(ann(300))), (1, Ok(false), Ok(true)));
        }
        let all = list(&[Revocation::All(9), Revocation::All(7)]);
        assert!(all.refuse(&holder("ann", 8)));
    }

    /// The longest-lived token that a revocation refuses is issued in the second before and lives as long as any may.
    #[test]
    fn a_revocation_is_forgotten_when_no_token_that_it_refuses_can_still_be_valid() {
        let (before_s, ends_s) = (1_000, 1_500_u32);
        let last_s = u64::from(before_s) - 1 + DAY.lifetime_s + DAY.leeway_s;
        for revocation in [
            Revocation::User(user("ann"), before_s),
            Revocation::Session(Mark::of(Subject::Session, "s"), before_s),
            Revocation::All(before_s),
        ] {
            let mut list = list(&[revocation]);
            assert!(!list.forget(DAY, last_s) && list.refuse(&holder("ann", 999)), "{revocation:?}");
            assert!(list.forget(DAY, last_s + 1) && list.is_empty(), "{revocation:?}");
        }
        let mut one = list(&[Revocation::Token(Mark::of(Subject::Token, "j"), ends_s)]);
        assert!(!one.forget(DAY, u64::from(ends_s) + DAY.leeway_s - 1));
        assert!(one.forget(DAY, u64::from(ends_s) + DAY.leeway_s) && one.is_empty());
    }

    #[test]
    fn a_full_list_says_so_and_still_takes_what_it_knows() {
        let mut list = Revocations::default();
        for number in 0..REVOCATIONS_MAX as u64 {
            // Spread as hashes are.
            let mark = Mark::from_words([number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number]);
            assert_eq!(list.add(Revocation::User(mark, 10)), Ok(true));
        }
        assert_eq!(list.add(Revocation::User(user("ann"), 10)), Err(Full));
        assert_eq!(list.add(Revocation::User(Mark::from_words([0, 0]), 11)), Ok(true));
        assert_eq!(list.add(Revocation::All(10)), Ok(true));
        assert!(list.forget(DAY, 100_000) && list.is_empty());
    }

    #[test]
    fn another_list_shares_what_is_the_same() {
        let names: Vec<String> = (0..2_000).map(|number| format!("u{number}")).collect();
        let all: Vec<_> = names.iter().map(|name| Revocation::User(user(name), 10)).collect();
        let mut list = list(&all);
        let published = list.clone();
        list.add(Revocation::User(user("ann"), 10)).expect("room");
        let shared = list.shards.iter().zip(&published.shards).filter(|(one, other)| Arc::ptr_eq(one, other));
        assert_eq!(shared.count(), SHARDS - 1);
        assert!(list.refuse(&holder("ann", 9)) && !published.refuse(&holder("ann", 9)));
        assert!(names.iter().all(|name| published.refuse(&holder(name, 9))));
    }
}
