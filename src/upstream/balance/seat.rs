//! What the choice looks at of a member.

use std::cell::Cell;

use super::latency::{FAILED_US, Latency};
use super::suspicion::Suspicion;

/// A weight of 1. Weights are counted in these, so that one that still grows has steps.
pub(super) const WEIGHT_UNIT: u32 = 256;
/// The part of its weight that a new member begins with: a tenth. With less, it would hardly get a request to warm up
/// by.
const RAMP_FLOOR: u64 = 10;

/// A member as the choice sees it, on one core.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The hash of its address.
    key: u64,
    weight: Cell<u32>,
    /// Since when it is one of the members.
    since_ms: Cell<u64>,
    in_flight: Cell<u32>,
    /// What it is owed of turns.
    credit: Cell<i64>,
    latency: Latency,
    suspicion: Suspicion,
}

/// Something that has a seat.
pub(crate) trait Seated {
    /// Its seat.
    fn seat(&self) -> &Seat;
}

impl Seated for Seat {
    fn seat(&self) -> &Seat {
        self
    }
}

impl Seat {
    pub(crate) fn new(key: u64, weight: u32, since_ms: u64) -> Seat {
        Seat {
            key,
            weight: Cell::new(weight),
            since_ms: Cell::new(since_ms),
            in_flight: Cell::new(0),
            credit: Cell::new(0),
            latency: Latency::default(),
            suspicion: Suspicion::default(),
        }
    }

    pub(crate) fn set(&self, weight: u32, since_ms: u64) {
        self.weight.set(weight);
        self.since_ms.set(since_ms);
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// Its weight in [`WEIGHT_UNIT`]s: less, if it is new and starts slowly.
    pub(super) fn weight(&self, now_ms: u64, slow_start_ms: u64) -> u64 {
        let weight = self.full_weight();
        if slow_start_ms == 0 {
            return weight;
        }
        let age_ms = now_ms.saturating_sub(self.since_ms.get());
        if age_ms >= slow_start_ms {
            return weight;
        }
        (weight * age_ms / slow_start_ms).max(weight / RAMP_FLOOR).max(1)
    }

    /// Its weight in [`WEIGHT_UNIT`]s.
    pub(super) fn full_weight(&self) -> u64 {
        u64::from(self.weight.get() * WEIGHT_UNIT)
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    pub(crate) fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    pub(crate) fn end(&self) {
        self.in_flight.set(self.in_flight.get() - 1);
    }

    /// More or less of turns is owed to it; and how much that makes.
    pub(super) fn earn(&self, credit: i64) -> i64 {
        let credit = self.credit.get() + credit;
        self.credit.set(credit);
        credit
    }

    pub(super) fn begin_turns_at(&self, credit: u64) {
        self.credit.set(credit as i64);
    }

    pub(crate) fn latency_us(&self, now_ms: u64) -> Option<f32> {
        self.latency.us(now_ms)
    }

    pub(crate) fn is_suspected(&self, now_ms: u64) -> bool {
        self.suspicion.holds(now_ms)
    }

    /// A response head came so long after its request.
    pub(crate) fn observe(&self, us: u64, now_ms: u64) {
        self.latency.observe(us, now_ms);
    }

    /// It has answered, in time and as the protocol says.
    pub(crate) fn succeeded(&self) {
        self.suspicion.succeeded();
    }

    /// A request has failed, after so long, in a way that is no application's.
    pub(crate) fn failed(&self, us: u64, now_ms: u64) {
        self.latency.observe_failure(us.max(FAILED_US), now_ms);
        self.suspicion.failed(now_ms);
    }

    /// No connection could be opened. Suspicion alone keeps requests away: as a latency it would do so for long after
    /// the member has recovered.
    pub(crate) fn connect_failed(&self, now_ms: u64) {
        self.suspicion.connect_failed(now_ms);
    }

    /// A request goes to it.
    pub(super) fn asked(&self, now_ms: u64) {
        self.suspicion.asked(now_ms);
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.suspicion.failures()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_member_grows_from_a_tenth_to_its_weight() {
        let seat = Seat::new(0, 10, 1_000);
        let shares = [0, 1_000, 4_000, 16_000, 31_000, 90_000]
            .map(|now_ms| seat.weight(now_ms, 30_000) * 100 / seat.full_weight());
        assert_eq!(shares, [10, 10, 10, 50, 100, 100]);
        assert_eq!(seat.weight(0, 0), 2_560);
        assert!(Seat::new(0, 0, 0).weight(0, 30_000) > 0, "no member is without a share");
    }
}
