//! The choice of one request among the members of its upstream: which were tried, and what it stays with one by.

use std::rc::Rc;

use super::balance::Tried;
use super::member::Member;

/// The tries of one request. It keeps the members that it began with.
#[derive(Default)]
pub struct Choice {
    pub(super) members: Option<Rc<[Rc<Member>]>>,
    pub(super) tried: Tried,
    pub(super) key: Option<u64>,
}

/// Whether a pooled connection will do where the first member fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One that is idle, or a new one.
    Any,
    /// A new one.
    New,
}

impl Choice {
    /// `key`: what the request is to stay with one member by ([`hash_of`](super::hash_of)).
    pub fn new(key: Option<u64>) -> Choice {
        Choice { members: None, tried: Tried::default(), key }
    }

    /// Whether there is a member that was not tried.
    pub fn has_another(&self) -> bool {
        let members = self.members.as_deref().unwrap_or_default();
        (0..members.len()).any(|index| !self.tried.has(index))
    }

    /// How many members there are.
    pub(super) fn members_count(&self) -> usize {
        self.members.as_deref().unwrap_or_default().len()
    }

    /// Every member may be tried once more.
    pub(super) fn forget_tries(&mut self) {
        self.tried = Tried::default();
    }
}
