//! The charges of one request, by where Redis decides them: in a cluster, buckets in different slots cannot be charged
//! by one call.

use super::arithmetic::Decision;
use super::bucket::KeyBuf;
use super::charge::Charges;
use crate::limits::ROUTE_LIMITS_MAX;
use crate::redis::slots::slot;

/// Some of the charges of a request, which one call can be about.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// The charges, in their order.
    pub(super) charges: Charges<'a>,
    /// The index of each among all of the request.
    indices: [usize; 1 + ROUTE_LIMITS_MAX],
}

impl<'a> Part<'a> {
    /// One part for each slot.
    pub(super) fn by_slot(charges: &Charges<'a>) -> Vec<Part<'a>> {
        let slots = slots(charges);
        let count = charges.all().len();
        let is_first = |nth: &usize| slots[..*nth].iter().all(|earlier| *earlier != slots[*nth]);
        let of_slot = |first: usize| Part::pick(charges, |nth| slots[nth] == slots[first]);
        (0..count).filter(is_first).map(of_slot).collect()
    }

    /// One part for each charge of this one.
    pub(super) fn singly(&self) -> Vec<Part<'a>> {
        let single = |nth: usize| {
            let mut part = Part::pick(&self.charges, |other| other == nth);
            part.indices[0] = self.indices[nth];
            part
        };
        (0..self.charges.all().len()).map(single).collect()
    }

    /// The decision as one about the request, whose charges have other indices.
    pub(super) fn of_request(&self, decision: Decision) -> Decision {
        let most_restrictive = self.indices.get(decision.most_restrictive).copied().unwrap_or(0);
        Decision { most_restrictive, ..decision }
    }

    /// The key of its first bucket, by which its place is found.
    pub(super) fn key<'b>(&self, buffer: &'b mut KeyBuf) -> &'b [u8] {
        match self.charges.all().first() {
            Some(charge) => charge.bucket.key(self.charges.prefix(), buffer),
            None => &[],
        }
    }

    fn pick(charges: &Charges<'a>, is_wanted: impl Fn(usize) -> bool) -> Part<'a> {
        let mut indices = [0; 1 + ROUTE_LIMITS_MAX];
        let wanted = (0..charges.all().len()).filter(|nth| is_wanted(*nth));
        indices.iter_mut().zip(wanted).for_each(|(index, nth)| *index = nth);
        Part { charges: charges.pick(is_wanted), indices }
    }
}

/// Of the decisions about all parts of a request, the one that counts: the refusal with the longest wait, or the
/// admission with the fewest tokens left; of two equal ones, that of the first charge.
pub(super) fn merged(decisions: impl Iterator<Item = Decision>) -> Option<Decision> {
    decisions.min_by_key(|decision| {
        let wait = std::cmp::Reverse(decision.wait_us);
        (decision.is_admitted, wait, decision.remaining, decision.most_restrictive)
    })
}

fn slots(charges: &Charges<'_>) -> [u16; 1 + ROUTE_LIMITS_MAX] {
    let mut buffer = KeyBuf::default();
    let mut slots = [0; 1 + ROUTE_LIMITS_MAX];
    for (slot_of, charge) in slots.iter_mut().zip(charges.all()) {
        *slot_of = slot(charge.bucket.key(charges.prefix(), &mut buffer));
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::super::testing::{global, route};
    use super::super::{Client, LimitedRequest};
    use super::*;
    use crate::config::{Access, Per, Rate, Route, RouteLimit};

    #[test]
    fn buckets_of_one_client_are_one_part_and_each_other_is_its_own() {
        let own = |per| RouteLimit { rate: Rate::from_milli(500), burst: 4, per, cost: 2 };
        let limits = vec![own(Per::None), own(Per::User), own(Per::Ip)];
        let shop = Route { limits, ..route("shop", Access::Protected) };
        let address = "192.0.2.1".parse().unwrap();
        let request = LimitedRequest { client: Client::User("ann"), address, route: Some(&shop) };
        let global = global("10", 20);
        let charges = request.charges(&global);
        let parts = Part::by_slot(&charges);
        let indices: Vec<Vec<usize>> =
            parts.iter().map(|part| part.indices[..part.charges.all().len()].to_vec()).collect();
        assert_eq!(indices, [vec![0, 2], vec![1], vec![3]]);
        assert_eq!(parts[0].key(&mut KeyBuf::default()), b"rl:u:ann");
        assert_eq!(parts[2].charges.all(), &charges.all()[3..]);
        let singly: Vec<usize> = parts[0].singly().iter().map(|part| part.indices[0]).collect();
        assert_eq!(singly, [0, 2]);
        let decision =
            Decision { is_admitted: true, most_restrictive: 1, remaining: 3, wait_us: 0, full_us: 0 };
        assert_eq!(parts[0].of_request(decision).most_restrictive, 2);
    }

    #[test]
    fn a_refusal_counts_before_every_admission_and_the_tightest_before_others() {
        let decision = |wait_us, remaining, most_restrictive| Decision {
            is_admitted: wait_us == 0,
            most_restrictive,
            remaining,
            wait_us,
            full_us: 0,
        };
        let counts = |all: &[Decision]| merged(all.iter().copied()).map(|one| one.most_restrictive);
        assert_eq!(counts(&[decision(0, 5, 0), decision(0, 3, 1), decision(0, 3, 2)]), Some(1));
        assert_eq!(counts(&[decision(0, 0, 0), decision(7, 0, 1), decision(9, 4, 2)]), Some(2));
        assert_eq!(counts(&[]), None);
    }
}
