//! Load balancing: which member of an upstream a new connection should lead to. Connecting is another step.

use std::rc::Rc;

use super::member::Member;
use crate::net::RoundRobin;

/// The policy of one upstream on one core: round robin.
#[derive(Debug, Default)]
pub(super) struct Balance {
    turns: RoundRobin,
}

impl Balance {
    /// The members that one request may try, the best first.
    pub(super) fn order<'m>(&self, members: &'m [Rc<Member>]) -> impl Iterator<Item = &'m Rc<Member>> {
        self.turns.order(members, MEMBERS_TRIED_MAX)
    }
}

/// Members that one request tries before it gives up.
const MEMBERS_TRIED_MAX: usize = 3;
