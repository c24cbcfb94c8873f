//! What has been read of the control stream: the list that follows from it, and what is to be told to the cores. Pure.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::entry::{self, Fields, Id, Malformed, Meaning};
use crate::auth::{Revocation, Revocations, TokenLifetime};
use crate::gateway::core::bulletin::Instruction;
use crate::gateway::websocket::handles::Renewal;
use crate::limits::STREAM_RECENT_MAX;

/// The log, as far as it was read.
#[derive(Default)]
pub(super) struct Log {
    list: Revocations,
    is_changed: bool,
    /// The newest entry.
    last: Option<Id>,
    recent: Recent,
    /// The stream was read to its end once.
    has_caught_up: bool,
    instructions: Vec<Instruction>,
    renewals: Vec<Renewal>,
    /// Revocations that did not fit since the last look.
    not_remembered: u64,
}

/// What is to be told to the cores.
pub(super) struct News {
    /// The list, if it is another one.
    pub(super) list: Option<Arc<Revocations>>,
    pub(super) instructions: Vec<Instruction>,
    /// Revocations that did not fit into the list.
    pub(super) not_remembered: u64,
}

impl Log {
    /// Where to read from, at this time of Redis: the whole time in which a revocation matters, or a while before the
    /// last entry. A replica that was promoted may get entries behind those that its predecessor had.
    pub(super) fn begin(&self, lifetime: TokenLifetime, now_unix_s: u64) -> Id {
        let matters_s =
            lifetime.lifetime_s.saturating_add(lifetime.leeway_s).saturating_add(OVERLAP_MS / 1_000);
        match self.last {
            Some(last) if self.has_caught_up => Id { ms: last.ms.saturating_sub(OVERLAP_MS), number: 0 },
            // A start that was interrupted goes on.
            Some(last) => last,
            None => Id { ms: now_unix_s.saturating_sub(matters_s) * 1_000, number: 0 },
        }
    }

    /// The newest entry that was read.
    pub(super) fn last(&self) -> Option<Id> {
        self.last
    }

    /// What was read so far is of another stream. What is known stays in force.
    pub(super) fn begin_again(&mut self) {
        self.last = None;
        self.recent = Recent::default();
    }

    /// How many revocations are known.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// It means nothing.
    pub(super) fn take(&mut self, id: Id, fields: &Fields, lifetime: TokenLifetime) -> Result<(), Malformed> {
        self.last = self.last.max(Some(id));
        let is_new = self.recent.add(id);
        let meaning = entry::parse(id, fields, lifetime.lifetime_s)?;
        if let Meaning::Tell(Instruction::Revoked(revocation)) = &meaning {
            self.revoke(*revocation);
        }
        // What is read at the start was for sockets of the time before.
        if is_new && self.has_caught_up {
            match meaning {
                Meaning::Tell(instruction) => self.instructions.push(instruction),
                Meaning::Renew(renewal) => self.renewals.push(renewal),
            }
        }
        Ok(())
    }

    fn revoke(&mut self, revocation: Revocation) {
        match self.list.add(revocation) {
            Ok(is_other) => self.is_changed |= is_other,
            Err(_) => self.not_remembered += 1,
        }
    }

    /// Notes that the stream was read to its end. True: for the first time.
    pub(super) fn catch_up(&mut self) -> bool {
        !std::mem::replace(&mut self.has_caught_up, true)
    }

    /// Whether it was read to its end once.
    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }

    /// Forgets revocations that matter no more.
    pub(super) fn forget(&mut self, lifetime: TokenLifetime, now_unix_s: u64) {
        self.is_changed |= self.list.forget(lifetime, now_unix_s);
    }

    /// The renewals since the last call. The instructions are to be told before, so that nothing is renewed that was
    /// revoked.
    pub(super) fn renewals(&mut self) -> Vec<Renewal> {
        std::mem::take(&mut self.renewals)
    }

    /// What is to be told since the last call; `None`: nothing.
    pub(super) fn news(&mut self) -> Option<News> {
        if !self.is_changed && self.instructions.is_empty() && self.not_remembered == 0 {
            return None;
        }
        let is_changed = std::mem::take(&mut self.is_changed);
        Some(News {
            list: is_changed.then(|| Arc::new(self.list.clone())),
            instructions: std::mem::take(&mut self.instructions),
            not_remembered: std::mem::take(&mut self.not_remembered),
        })
    }
}

/// The entries of the time that is read again after a reconnect, so that none of them is carried out twice.
#[derive(Default)]
struct Recent {
    order: VecDeque<Id>,
    known: HashSet<Id>,
}

impl Recent {
    /// False: it was there.
    fn add(&mut self, id: Id) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        let newest_ms = self.order.iter().next_back().map_or(0, |newest| newest.ms);
        while let Some(oldest) = self.order.front()
            && (self.order.len() > STREAM_RECENT_MAX || oldest.ms + 2 * OVERLAP_MS < newest_ms)
        {
            self.known.remove(oldest);
            self.order.pop_front();
        }
        true
    }
}

/// What is read again after a reconnect, in milliseconds.
const OVERLAP_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Holder, Mark, Subject};

    const DAY: TokenLifetime = TokenLifetime { lifetime_s: 86_400, leeway_s: 0 };
    const NOW_S: u64 = 1_700_000_000;

    fn id(seconds: u64) -> Id {
        Id { ms: (NOW_S + seconds) * 1_000, number: 0 }
    }

    fn take(log: &mut Log, id: Id, fields: &[(&str, &str)]) -> bool {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        log.take(id, &fields, DAY).is_ok()
    }

    fn counted(log: &mut Log) -> Option<(bool, usize)> {
        log.news().map(|news| (news.list.is_some(), news.instructions.len()))
    }

    const ANN: [(&str, &str); 2] = [("op", "revoke"), ("user", "ann")];
    const CLOSE: [(&str, &str); 2] = [("op", "close"), ("user", "ann")];

    #[test]
    fn what_is_read_at_the_start_is_a_list_and_no_order() {
        let mut log = Log::default();
        assert_eq!(log.begin(DAY, NOW_S), Id { ms: (NOW_S - 86_460) * 1_000, number: 0 });
        assert!(take(&mut log, id(1), &ANN) && take(&mut log, id(2), &CLOSE));
        assert_eq!(log.begin(DAY, NOW_S), id(2), "an interrupted start goes on");
        assert!(log.catch_up() && !log.catch_up());
        assert_eq!((counted(&mut log), counted(&mut log)), (Some((true, 0)), None));
    }

    #[test]
    fn an_entry_that_is_read_again_is_carried_out_once() {
        let mut log = Log::default();
        log.catch_up();
        assert!(take(&mut log, id(100), &ANN) && take(&mut log, id(101), &CLOSE));
        assert_eq!(counted(&mut log), Some((true, 2)));
        assert_eq!(log.begin(DAY, NOW_S), id(41));
        assert!(take(&mut log, id(100), &ANN) && take(&mut log, id(101), &CLOSE));
        assert_eq!(counted(&mut log), None);
        // Behind the last one, from a replica that was promoted, and not seen yet.
        assert!(take(&mut log, id(99), &CLOSE));
        assert_eq!((counted(&mut log), log.last()), (Some((false, 1)), Some(id(101))));
    }

    #[test]
    fn what_is_recent_is_bounded_by_time_and_number() {
        let mut recent = Recent::default();
        for number in 0..STREAM_RECENT_MAX as u64 + 10 {
            assert!(recent.add(Id { ms: 1, number }));
        }
        assert_eq!((recent.order.len(), recent.known.len()), (STREAM_RECENT_MAX, STREAM_RECENT_MAX));
        assert!(recent.add(Id { ms: 200_000, number: 0 }));
        assert_eq!((recent.order.len(), recent.known.len()), (1, 1));
    }

    #[test]
    fn a_malformed_entry_moves_on_and_a_forgotten_one_changes_the_list() {
        let mut log = Log::default();
        log.catch_up();
        assert!(!take(&mut log, id(5), &[("op", "x")]));
        assert_eq!((log.last(), counted(&mut log)), (Some(id(5)), None));
        assert!(take(&mut log, id(6), &ANN));
        let list = log.news().and_then(|news| news.list).expect("a list");
        assert!(list.refuse(&Holder { user: Mark::of(Subject::User, "ann"), ..Holder::someone("x", NOW_S) }));
        log.forget(DAY, NOW_S + 7 + 86_400);
        assert_eq!((counted(&mut log), log.len()), (Some((true, 0)), 0));
    }
}
