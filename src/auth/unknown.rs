//! Tokens that name a key which nobody has: perhaps the key is new, and the next key set has it.
//!
//! Such a token is invalid once a key set that was fetched after it came does not have the key either. Until then
//! nobody can say, and the client is told so: a 401 would make it throw its token away.
//!
//! ```text
//! core ──ask──▶ KeyRequests ──take──▶ the thread that keeps keys: fetches, hands the new keys to the cores
//!      ◀───────────────answered───────┘
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::UnknownKey;
use crate::config::IssuerSet;
use crate::limits::{ISSUERS_MAX, KEYS_WANTED_MS, UNKNOWN_KEY_WAITERS_MAX, UNKNOWN_KEYS_MAX};

/// The requests of all cores for newer key sets. A flood of them is one request: what is asked for is a set of issuers.
#[derive(Debug, Default)]
pub struct KeyRequests {
    issuers: AtomicU64,
    /// How often requests were taken.
    taken: AtomicU64,
    /// By issuer, the number of the latest requests that are answered, with all before them.
    answered: [AtomicU64; ISSUERS_MAX],
    /// No key set comes before this time, by the coarse clock.
    idle_until_ms: AtomicU64,
}

impl KeyRequests {
    /// Asks for newer key sets of these issuers. Returns the number of the requests of which this is one.
    fn ask(&self, issuers: IssuerSet) -> u64 {
        // Before the request: those that are taken in between have a number that is too low, and not one too high.
        let number = self.taken.load(Ordering::SeqCst) + 1;
        self.issuers.fetch_or(u64::from(issuers.bits()), Ordering::SeqCst);
        number
    }

    /// Takes the requests since the last time: their number, and the issuers. `None`: there are none.
    pub fn take(&self) -> Option<(u64, IssuerSet)> {
        let issuers = IssuerSet::of_bits(self.issuers.swap(0, Ordering::SeqCst) as u16);
        if issuers == IssuerSet::NONE {
            return None;
        }
        Some((self.taken.fetch_add(1, Ordering::SeqCst) + 1, issuers))
    }

    /// Requests for a newer key set of the issuer at an index are answered up to this number: every core has the set
    /// that was fetched for them.
    pub fn answer(&self, index: usize, number: u64) {
        self.answered[index].store(number, Ordering::SeqCst);
    }

    /// No key set comes before this time, by the coarse clock. 0: one may come at any moment.
    pub fn set_idle_until(&self, at_ms: u64) {
        self.idle_until_ms.store(at_ms, Ordering::SeqCst);
    }

    /// Whether it is of no use to wait until this time, by the coarse clock: nothing comes before.
    pub(super) fn is_idle_until(&self, at_ms: u64) -> bool {
        self.idle_until_ms.load(Ordering::SeqCst) > at_ms
    }

    fn is_answered(&self, number: u64, issuers: IssuerSet) -> bool {
        let mut answered = self.answered.iter().enumerate().filter(|(index, _)| issuers.contains(*index));
        answered.all(|(_, answered)| answered.load(Ordering::SeqCst) >= number)
    }
}

/// The names of unknown keys that one core has met, and the requests that were made for them.
#[derive(Debug, Default)]
pub(super) struct UnknownKeys {
    /// By the hash of the name, and the issuers that may have it: what one of them does not have, another one may. A
    /// forged name that collides with another is answered as that one is.
    requests: RefCell<HashMap<(u64, u16), Request>>,
    waiters: Cell<usize>,
}

/// The request for a newer key set that was made for a key.
#[derive(Debug, Clone, Copy)]
struct Request {
    number: u64,
    made_ms: u64,
}

/// What is known of a key that no key set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No newer key set has it: the token is invalid.
    Nowhere,
    /// A newer key set was asked for.
    Asked,
}

/// The right to wait for a newer key set, one of [`UNKNOWN_KEY_WAITERS_MAX`] of a core.
#[derive(Debug)]
pub struct Waiter<'u>(&'u Cell<usize>);

impl UnknownKeys {
    /// Asks for newer key sets, unless one was asked for already. A key that nobody had counts as nobody's for
    /// [`KEYS_WANTED_MS`], the time in which no newer set would be fetched for it.
    pub(super) fn look_for(&self, key: UnknownKey, shared: &KeyRequests, now_ms: u64) -> Standing {
        let mut requests = self.requests.borrow_mut();
        let name = (key.kid, key.issuers.bits());
        match requests.get(&name) {
            Some(request) if !shared.is_answered(request.number, key.issuers) => return Standing::Asked,
            Some(request) if now_ms < request.made_ms + KEYS_WANTED_MS => return Standing::Nowhere,
            _ => {}
        }
        // Over the bound all are forgotten: they are asked for again, and fetches have a pace of their own.
        if requests.len() >= UNKNOWN_KEYS_MAX {
            requests.clear();
        }
        requests.insert(name, Request { number: shared.ask(key.issuers), made_ms: now_ms });
        Standing::Asked
    }

    /// These keys were withdrawn: their issuer does not have to be asked for them.
    pub(super) fn withdraw(&self, keys: impl Iterator<Item = UnknownKey>, now_ms: u64) {
        let mut requests = self.requests.borrow_mut();
        for key in keys.take(UNKNOWN_KEYS_MAX.saturating_sub(requests.len())) {
            requests.insert((key.kid, key.issuers.bits()), Request { number: ANSWERED, made_ms: now_ms });
        }
    }

    /// A place among those that wait.
    pub(super) fn waiter(&self) -> Option<Waiter<'_>> {
        let waiters = self.waiters.get();
        (waiters < UNKNOWN_KEY_WAITERS_MAX).then(|| {
            self.waiters.set(waiters + 1);
            Waiter(&self.waiters)
        })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The number of requests that are answered from the beginning.
const ANSWERED: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: u64) -> UnknownKey {
        UnknownKey { kid, issuers: IssuerSet::NONE.with(1) }
    }

    #[test]
    fn a_key_is_nowhere_once_a_set_that_was_asked_for_later_lacks_it() {
        let (shared, core) = (KeyRequests::default(), UnknownKeys::default());
        assert_eq!(core.look_for(key(7), &shared, 0), Standing::Asked);
        let (number, issuers) = shared.take().expect("a request");
        assert!(issuers.contains(1) && !issuers.contains(0));
        assert_eq!(shared.take(), None, "one request, taken once");
        assert_eq!(core.look_for(key(7), &shared, 0), Standing::Asked);
        // One that comes while the set is on its way may be too new for it.
        assert_eq!(core.look_for(key(8), &shared, 0), Standing::Asked);
        shared.answer(1, number);
        assert_eq!(core.look_for(key(7), &shared, 0), Standing::Nowhere);
        assert_eq!(core.look_for(key(8), &shared, 0), Standing::Asked);
        let (number, _) = shared.take().expect("another request");
        shared.answer(1, number);
        assert_eq!(core.look_for(key(8), &shared, 0), Standing::Nowhere);
        assert_eq!(core.look_for(key(7), &shared, KEYS_WANTED_MS), Standing::Asked, "it may be there by now");
    }

    #[test]
    fn a_key_that_was_withdrawn_is_nowhere_at_once_and_may_come_back() {
        let (shared, core) = (KeyRequests::default(), UnknownKeys::default());
        core.withdraw([key(7)].into_iter(), 0);
        assert_eq!(core.look_for(key(7), &shared, 1), Standing::Nowhere);
        assert_eq!(core.look_for(key(7), &shared, KEYS_WANTED_MS), Standing::Asked);
    }

    #[test]
    fn what_one_issuer_does_not_have_another_one_may() {
        let (shared, core) = (KeyRequests::default(), UnknownKeys::default());
        let of = |index| UnknownKey { kid: 7, issuers: IssuerSet::NONE.with(index) };
        core.look_for(of(1), &shared, 0);
        let (number, _) = shared.take().expect("a request");
        shared.answer(1, number);
        assert_eq!(core.look_for(of(1), &shared, 0), Standing::Nowhere);
        assert_eq!(core.look_for(of(2), &shared, 0), Standing::Asked);
        core.withdraw([of(3)].into_iter(), 0);
        assert_eq!(core.look_for(of(4), &shared, 0), Standing::Asked);
    }

    #[test]
    fn a_flood_of_names_is_one_request_and_bounded_memory() {
        let (shared, core) = (KeyRequests::default(), UnknownKeys::default());
        for kid in 0..10 * UNKNOWN_KEYS_MAX as u64 {
            core.look_for(key(kid), &shared, 0);
            assert!(core.requests.borrow().len() <= UNKNOWN_KEYS_MAX);
        }
        assert!(shared.take().is_some() && shared.take().is_none());
    }

    #[test]
    fn so_many_may_wait_at_one_time() {
        let core = UnknownKeys::default();
        let waiters: Vec<_> = (0..UNKNOWN_KEY_WAITERS_MAX).map(|_| core.waiter().expect("a place")).collect();
        assert!(core.waiter().is_none());
        drop(waiters);
        assert!(core.waiter().is_some());
    }
}
