//! The roster of an upstream: its members as the control thread hands them to every core, and what each core has seen
//! of each of them.
//!
//! ```text
//! control thread ──Roster──▶ every core        who is a member, with which weight, usable or not
//!                ◀─MemberRecord── every core   numbers with one writer each, which the control thread only reads
//! ```

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use crate::net::Endpoint;
use crate::telemetry::metrics::{Counter, Gauge};

/// The members of an upstream, in the order of their addresses. Immutable: a change is another roster.
pub type Roster = Arc<[RosterMember]>;

/// A member, as the control thread sees it.
#[derive(Debug, Clone)]
pub struct RosterMember {
    /// Its address, and what the cores have seen of it.
    pub record: Arc<MemberRecord>,
    /// Its share, relative to the weights of the other members. At least 1.
    pub weight: u32,
    /// Whether requests may go to it.
    pub standing: Standing,
    /// When it became a member, by the coarse clock.
    pub since_ms: u64,
}

/// Whether requests may go to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// They may.
    Usable,
    /// It has failed too often, or its health check has: they go to others, as long as there are enough of them.
    Ejected,
}

/// What the cores have seen of one member. It lives from when the address becomes a member until nobody knows it.
#[derive(Debug)]
pub struct MemberRecord {
    endpoint: Endpoint,
    cores: Box<[CoreRecord]>,
    /// Why the last exchange or connection has failed, on any core; empty: none has. Only failures come here.
    last_cause: Mutex<&'static str>,
}

/// What one core has seen of one member. The core alone writes to it. A cache line of its own, so that cores which
/// write at the same time do not take it from each other.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct CoreRecord {
    /// Exchanges whose response has come whole, or goes on for long.
    pub successes: Counter,
    /// Exchanges and connections that failed for a reason of the member's: refused, reset, timed out, protocol broken.
    pub failures: Counter,
    /// Those failures that were connections which could not be opened.
    pub connect_failures: Counter,
    /// Requests in flight.
    pub in_flight: Gauge,
    /// Idle connections.
    pub idle: Gauge,
}

/// Which one of how many cores a core is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreNumber {
    /// From 0.
    pub index: usize,
    /// All cores of the process.
    pub count: usize,
}

impl CoreNumber {
    /// The only core of a process.
    pub const ONLY: CoreNumber = CoreNumber { index: 0, count: 1 };
}

impl MemberRecord {
    /// A member that no core has seen anything of.
    pub fn new(endpoint: Endpoint, cores: usize) -> MemberRecord {
        let cores = (0..cores).map(|_| CoreRecord::default()).collect();
        MemberRecord { endpoint, cores, last_cause: Mutex::default() }
    }

    /// Notes why something has failed, as a stable word. Nobody waits: of two causes at the same moment one is kept.
    pub fn note_cause(&self, cause: &'static str) {
        match self.last_cause.try_lock() {
            Ok(mut last) => *last = cause,
            Err(TryLockError::Poisoned(last)) => *last.into_inner() = cause,
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Why the last exchange or connection has failed.
    pub fn last_cause(&self) -> Option<&'static str> {
        let cause = *self.last_cause.lock().unwrap_or_else(PoisonError::into_inner);
        Some(cause).filter(|cause| !cause.is_empty())
    }

    /// Its address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What the core with this index has seen.
    ///
    /// # Panics
    /// There are fewer cores.
    pub fn core(&self, index: usize) -> &CoreRecord {
        &self.cores[index]
    }

    /// What each core has seen.
    pub fn cores(&self) -> &[CoreRecord] {
        &self.cores
    }
}

impl PartialEq for RosterMember {
    /// Two members are the same if their record is: another one begins with nothing known.
    fn eq(&self, other: &RosterMember) -> bool {
        Arc::ptr_eq(&self.record, &other.record)
            && (self.weight, self.standing, self.since_ms) == (other.weight, other.standing, other.since_ms)
    }
}

/// The roster of these addresses, each with the same weight. A member of `before` that stays is kept as it is.
pub fn roster(endpoints: &[Endpoint], before: Option<&Roster>, cores: usize, now_ms: u64) -> Roster {
    let member = |endpoint: &Endpoint| {
        let known = before
            .and_then(|before| before.iter().find(|member| member.record.endpoint() == endpoint))
            .cloned();
        known.unwrap_or_else(|| RosterMember {
            record: Arc::new(MemberRecord::new(endpoint.clone(), cores)),
            weight: 1,
            standing: Standing::Usable,
            since_ms: now_ms,
        })
    };
    endpoints.iter().map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_stays_keeps_its_record_and_a_new_one_begins_now() {
        let endpoint = |last| Endpoint::tcp(([127, 0, 0, last], 80).into());
        let before = roster(&[endpoint(1), endpoint(2)], None, 2, 5);
        before[1].record.core(1).successes.add(3);
        let after = roster(&[endpoint(2), endpoint(3)], Some(&before), 2, 9);
        assert_eq!(after[0], before[1]);
        assert_eq!(after[0].record.cores().iter().map(|core| core.successes.get()).sum::<u64>(), 3);
        assert_eq!((after[1].since_ms, after[1].weight, after[1].standing), (9, 1, Standing::Usable));
        assert_ne!(after[1], roster(&[endpoint(3)], None, 2, 9)[0], "another record");
    }
}
