//! A member of an upstream: one address, and what this core knows about it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::roster::{CoreNumber, CoreRecord, MemberRecord};
use crate::net::{Candidate, Endpoint};

/// One address of an upstream as one core sees it. It lives as long as the upstream has the address, and as long as a
/// connection leads there.
#[derive(Debug)]
pub struct Member {
    record: Arc<MemberRecord>,
    /// The index of this core.
    core: usize,
    in_flight: Cell<usize>,
    failures: Cell<u32>,
    is_withdrawn: Cell<bool>,
}

/// Counts one request among those in flight to a member, until it is dropped.
#[derive(Debug)]
pub(super) struct MemberRequest(Rc<Member>);

impl Member {
    /// A member that this core knows nothing of.
    pub(super) fn new(record: Arc<MemberRecord>, core: CoreNumber) -> Member {
        Member {
            record,
            core: core.index,
            in_flight: Cell::new(0),
            failures: Cell::new(0),
            is_withdrawn: Cell::new(false),
        }
    }

    /// Its address.
    pub fn endpoint(&self) -> &Endpoint {
        self.record.endpoint()
    }

    /// Whether it is the member with this record.
    pub(super) fn is(&self, record: &Arc<MemberRecord>) -> bool {
        Arc::ptr_eq(&self.record, record)
    }

    /// What other threads see of it.
    fn seen(&self) -> &CoreRecord {
        self.record.core(self.core)
    }

    /// Requests of this core that are in flight to it.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Connections that could not be opened since the last one that could.
    pub fn failures(&self) -> u32 {
        self.failures.get()
    }

    /// The upstream has this address no longer: no connection to it is kept.
    pub fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.get()
    }

    /// The upstream has this address no longer.
    pub(super) fn withdraw(&self) {
        self.is_withdrawn.set(true);
    }

    /// A connection to it was opened.
    pub(super) fn succeeded(&self) {
        self.failures.set(0);
    }

    /// One more request is in flight to it.
    pub(super) fn begin(self: &Rc<Self>) -> MemberRequest {
        self.in_flight.set(self.in_flight.get() + 1);
        self.seen().in_flight.add(1);
        MemberRequest(self.clone())
    }
}

impl Drop for MemberRequest {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        self.0.seen().in_flight.subtract(1);
    }
}

impl Candidate for &Rc<Member> {
    fn endpoint(&self) -> &Endpoint {
        self.record.endpoint()
    }

    fn failed(&self) {
        self.failures.set(self.failures.get().saturating_add(1));
        self.seen().failures.add(1);
        self.seen().connect_failures.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Rc<Member> {
        let record = MemberRecord::new(Endpoint::tcp(([127, 0, 0, 1], 1).into()), 1);
        Rc::new(Member::new(Arc::new(record), CoreNumber::ONLY))
    }

    #[test]
    fn requests_in_flight_are_counted_until_they_end() {
        let member = member();
        let (first, second) = (member.begin(), member.begin());
        assert_eq!((member.in_flight(), member.seen().in_flight.get()), (2, 2));
        drop((first, second));
        assert_eq!((member.in_flight(), member.seen().in_flight.get()), (0, 0));
    }

    #[test]
    fn a_connection_ends_a_row_of_failures() {
        let member = member();
        (0..3).for_each(|_| (&member).failed());
        assert_eq!(member.failures(), 3);
        member.succeeded();
        assert_eq!(member.failures(), 0);
    }
}
