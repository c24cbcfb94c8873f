//! A member of an upstream: one address, and what this core knows about it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::balance::{Seat, Seated, hash_of};
use super::roster::{CoreNumber, CoreRecord, MemberRecord, RosterMember};
use crate::clock;
use crate::net::{Candidate, ConnectError, Endpoint};

/// One address of an upstream as one core sees it. It lives as long as the upstream has the address, and as long as a
/// connection leads there.
pub struct Member {
    record: Arc<MemberRecord>,
    /// The index of this core.
    core: usize,
    /// What the choice among the members looks at.
    seat: Seat,
    /// Which one of the members it is.
    place: Cell<usize>,
    is_withdrawn: Cell<bool>,
}

/// Counts one request among those in flight to a member, until it is dropped.
pub(super) struct MemberRequest {
    member: Rc<Member>,
    /// When the request had left, in µs. 0: it has not, or is answered, or nobody wants to know.
    sent_us: Cell<u64>,
    /// It is one of those that the choice looks at.
    is_load: Cell<bool>,
    has_succeeded: Cell<bool>,
}

impl Member {
    /// A member that this core knows nothing of.
    pub(super) fn new(wanted: &RosterMember, core: CoreNumber) -> Member {
        let key = hash_of(wanted.record.endpoint().text().as_bytes());
        Member {
            record: wanted.record.clone(),
            core: core.index,
            seat: Seat::new(key, wanted.weight, wanted.since_ms),
            place: Cell::new(0),
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

    /// Which one of the upstream's members it is.
    pub(super) fn place(&self) -> usize {
        self.place.get()
    }

    pub(super) fn put_at(&self, place: usize) {
        self.place.set(place);
    }

    /// What other threads see of it.
    pub(super) fn seen(&self) -> &CoreRecord {
        self.record.core(self.core)
    }

    /// Requests of this core that are in flight to it.
    pub fn in_flight(&self) -> usize {
        self.seat.in_flight() as usize
    }

    /// What has failed since it last answered.
    pub fn failures(&self) -> u32 {
        self.seat.failures()
    }

    /// The upstream has this address no longer: no connection to it is kept.
    pub fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.get()
    }

    /// The upstream has this address no longer.
    pub(super) fn withdraw(&self) {
        self.is_withdrawn.set(true);
    }

    /// One more request is in flight to it.
    pub(super) fn begin(self: &Rc<Self>) -> MemberRequest {
        self.seat.begin();
        self.seen().in_flight.add(1);
        MemberRequest {
            member: self.clone(),
            sent_us: Cell::new(0),
            is_load: Cell::new(true),
            has_succeeded: Cell::new(false),
        }
    }
}

impl MemberRequest {
    /// The request has left, now. The time to its answer is measured.
    pub(super) fn sent(&self, now_us: u64) {
        self.sent_us.set(now_us);
    }

    /// The head of its response has arrived, now: how long it took, in µs. `None`: the request has not left whole.
    pub(super) fn answered(&self, now_us: u64) -> Option<u64> {
        let us = self.take_elapsed_us(|| now_us);
        us.inspect(|us| self.member.seat.observe(*us, clock::now_ms()))
    }

    /// Its response has come whole, or goes on for long.
    pub(super) fn succeeded(&self) {
        if !self.has_succeeded.replace(true) {
            self.member.seen().successes.add(1);
            self.member.seat.succeeded();
        }
    }

    /// What goes on is a long response: hardly any load, and members that have few of them are not better for it.
    pub(super) fn become_stream(&self) {
        if self.is_load.replace(false) {
            self.member.seat.end();
        }
    }

    /// It has failed, in a way that is the member's, for this cause.
    pub(super) fn failed(&self, cause: &'static str) {
        self.member.seen().failures.add(1);
        self.member.record.note_cause(cause);
        self.member.seat.failed(self.take_elapsed_us(clock::now_us).unwrap_or(0), clock::now_ms());
    }

    fn take_elapsed_us(&self, now_us: impl FnOnce() -> u64) -> Option<u64> {
        let sent_us = Some(self.sent_us.replace(0)).filter(|sent_us| *sent_us > 0);
        sent_us.map(|sent_us| now_us().saturating_sub(sent_us))
    }
}

impl Drop for MemberRequest {
    fn drop(&mut self) {
        // A client that has not waited for the answer has seen how slow the member is, all the same.
        if let Some(us) = self.take_elapsed_us(clock::now_us) {
            self.member.seat.observe(us, clock::now_ms());
        }
        if self.is_load.get() {
            self.member.seat.end();
        }
        self.member.seen().in_flight.subtract(1);
    }
}

impl Seated for Rc<Member> {
    fn seat(&self) -> &Seat {
        &self.seat
    }
}

impl Candidate for Rc<Member> {
    fn endpoint(&self) -> &Endpoint {
        self.record.endpoint()
    }

    fn failed(&self, error: &ConnectError) {
        // What this machine has run out of says nothing about the member.
        if error.is_own() {
            return;
        }
        self.seat.connect_failed(clock::now_ms());
        self.seen().failures.add(1);
        self.seen().connect_failures.add(1);
        self.record.note_cause(error.cause());
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::*;
    use crate::upstream::roster::roster;

    fn member() -> Rc<Member> {
        let roster = roster(&[Endpoint::tcp(([127, 0, 0, 1], 1).into())], None, 1, 0);
        Rc::new(Member::new(&roster[0], CoreNumber::ONLY))
    }

    fn failed(errno: Errno) -> ConnectError {
        ConnectError::Failed(io::Error::from(errno))
    }

    #[test]
    fn requests_in_flight_are_counted_until_they_end() {
        let member = member();
        let (first, second) = (member.begin(), member.begin());
        assert_eq!((member.in_flight(), member.seen().in_flight.get()), (2, 2));
        first.become_stream();
        assert_eq!((member.in_flight(), member.seen().in_flight.get()), (1, 2), "a long response is no load");
        drop((first, second));
        assert_eq!((member.in_flight(), member.seen().in_flight.get()), (0, 0));
    }

    #[test]
    fn an_answer_ends_a_row_of_failures() {
        let member = member();
        (0..3).for_each(|_| member.failed(&failed(Errno::CONNREFUSED)));
        assert_eq!((member.failures(), member.seen().connect_failures.get()), (3, 3));
        assert_eq!(member.record.last_cause(), Some("ECONNREFUSED"));
        let request = member.begin();
        request.answered(clock::now_us());
        assert_eq!(member.failures(), 3, "the response may still break off");
        request.succeeded();
        request.succeeded();
        assert_eq!((member.failures(), member.seen().successes.get()), (0, 1));
    }

    #[test]
    fn what_this_machine_lacks_is_no_fault_of_the_member() {
        let member = member();
        member.failed(&failed(Errno::MFILE));
        member.failed(&failed(Errno::ADDRNOTAVAIL));
        assert_eq!((member.failures(), member.seen().failures.get()), (0, 0));
    }

    #[test]
    fn a_request_that_nobody_waited_for_still_tells_how_slow_the_member_is() {
        let member = member();
        for _ in 0..2 {
            let request = member.begin();
            request.sent(clock::now_us());
            request.sent_us.set(request.sent_us.get().saturating_sub(5_000_000));
        }
        assert!(member.seat().latency_us(clock::now_ms()).is_some_and(|us| us > 4_900_000.0));
        let untold = self::member();
        drop(untold.begin());
        assert_eq!(untold.seat().latency_us(0), None);
    }
}
