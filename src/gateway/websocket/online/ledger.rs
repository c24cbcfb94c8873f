//! The sockets of one core that Redis knows, and when the lease of each is renewed.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::socket_id::SocketId;

/// The sockets of one core.
#[derive(Debug)]
pub struct Ledger<L> {
    entries: HashMap<SocketId, Entry<L>>,
    /// When which lease is renewed. Sockets without a user have none.
    due: BTreeSet<(u64, SocketId)>,
}

/// What is known of one socket.
#[derive(Debug, Clone)]
pub struct Entry<L> {
    /// Its user; `None`: its route needs none.
    pub user: Option<Rc<str>>,
    /// Its route.
    pub route: Rc<str>,
    /// By what it is told to end.
    pub leash: L,
    due_ms: u64,
}

impl<L> Default for Ledger<L> {
    fn default() -> Ledger<L> {
        Ledger { entries: HashMap::new(), due: BTreeSet::new() }
    }
}

impl<L> Ledger<L> {
    /// A socket has opened. Its lease is renewed at `due_ms`.
    pub fn enter(&mut self, id: SocketId, (user, route): (Option<Rc<str>>, Rc<str>), leash: L, due_ms: u64) {
        if user.is_some() {
            self.due.insert((due_ms, id));
        }
        self.entries.insert(id, Entry { user, route, leash, due_ms });
    }

    /// A socket has closed.
    pub fn leave(&mut self, id: &SocketId) -> Option<Entry<L>> {
        let entry = self.entries.remove(id)?;
        self.due.remove(&(entry.due_ms, *id));
        Some(entry)
    }

    /// One socket.
    pub fn get(&self, id: &SocketId) -> Option<&Entry<L>> {
        self.entries.get(id)
    }

    /// Takes up to `most` sockets whose leases are due; each is due again at the time that `next_ms` gives.
    pub fn take_due(
        &mut self,
        now_ms: u64,
        most: usize,
        mut next_ms: impl FnMut() -> u64,
    ) -> Vec<(SocketId, Rc<str>)> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(&(due_ms, id)) = self.due.first()
            && due_ms <= now_ms
        {
            self.due.pop_first();
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            // Never due again in the same turn.
            entry.due_ms = next_ms().max(now_ms + 1);
            self.due.insert((entry.due_ms, id));
            taken.extend(entry.user.clone().map(|user| (id, user)));
        }
        taken
    }

    /// A lease could not be renewed: it is due at this time.
    pub fn defer(&mut self, id: &SocketId, due_ms: u64) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if self.due.remove(&(entry.due_ms, *id)) {
            entry.due_ms = due_ms;
            self.due.insert((due_ms, *id));
        }
    }

    /// A lease is due by now.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.due.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms)
    }

    /// How many sockets there are.
    pub fn sockets(&self) -> usize {
        self.entries.len()
    }

    /// Renews nothing any more.
    pub fn forget_leases(&mut self) {
        self.due.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> SocketId {
        SocketId { opened_ms: 1_000, instance: 1, core: 0, number }
    }

    fn ledger(due: &[u64]) -> Ledger<()> {
        let mut ledger = Ledger::default();
        for (number, due_ms) in due.iter().enumerate() {
            ledger.enter(id(number as u64), (Some("ann".into()), "ws".into()), (), *due_ms);
        }
        ledger
    }

    fn due(ledger: &mut Ledger<()>, now_ms: u64, most: usize) -> Vec<u64> {
        ledger.take_due(now_ms, most, || now_ms + 100).into_iter().map(|(id, _)| id.number).collect()
    }

    #[test]
    fn leases_are_renewed_when_they_are_due_and_so_many_at_once() {
        let mut ledger = ledger(&[30, 10, 20, 99]);
        assert!(!ledger.is_due(9) && ledger.is_due(10));
        assert_eq!(due(&mut ledger, 30, 2), [1, 2]);
        assert_eq!(due(&mut ledger, 30, 2), [0]);
        assert_eq!(due(&mut ledger, 129, 9), [3]);
        assert_eq!(due(&mut ledger, 130, 9), [0, 1, 2]);
    }

    #[test]
    fn what_has_closed_is_not_renewed_and_what_failed_is_tried_again() {
        let mut ledger = ledger(&[10, 10]);
        assert_eq!(due(&mut ledger, 10, 9), [0, 1]);
        ledger.defer(&id(1), 15);
        assert_eq!(ledger.leave(&id(0)).and_then(|entry| entry.user).as_deref(), Some("ann"));
        assert!(ledger.leave(&id(0)).is_none());
        ledger.defer(&id(0), 15);
        assert_eq!((due(&mut ledger, 20, 9), ledger.sockets()), (vec![1], 1));
        ledger.enter(id(7), (None, "public".into()), (), 0);
        assert_eq!((due(&mut ledger, 20, 9), ledger.sockets()), (vec![], 2), "nobody's socket has no lease");
    }

    #[test]
    fn a_renewal_is_never_due_again_at_once() {
        let mut ledger = ledger(&[10]);
        assert_eq!(ledger.take_due(10, 1_000, || 0).len(), 1);
    }
}
