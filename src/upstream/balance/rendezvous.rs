//! A key stays with one member: weighted rendezvous hashing. Of n members one that goes moves only its own keys, and
//! one that comes takes 1/n of them from all. (Thaler and Ravishankar 1998; the weights: Schindelhauer and Schomaker
//! 2005.)

use super::hash::mix;
use super::seat::{Seat, Seated};

/// A member with more than so much of its share in flight is passed over, and the key's next one is taken (consistent
/// hashing with bounded loads, Mirrokni et al. 2018).
const LOAD_MAX: f64 = 1.25;
/// With so few requests in flight a member takes its keys in any case: shares of few are chance.
const LOAD_FREE: u32 = 16;

/// The member of a key among those that may be chosen.
pub(super) fn choose<S: Seated>(
    members: &[S],
    may: impl Fn(usize, &Seat) -> bool,
    key: u64,
) -> Option<usize> {
    let candidates =
        || members.iter().map(Seated::seat).enumerate().filter(|(index, seat)| may(*index, seat));
    let (weights, in_flight) = candidates().fold((0, 0), |(weights, in_flight), (_, seat)| {
        (weights + seat.full_weight(), in_flight + u64::from(seat.in_flight()))
    });
    let load_max = LOAD_MAX * (in_flight + 1) as f64 / weights as f64;
    let is_over = |seat: &Seat| {
        let load = seat.in_flight() + 1;
        load > LOAD_FREE && f64::from(load) > load_max * seat.full_weight() as f64
    };
    let nearest = |seats: &mut dyn Iterator<Item = (usize, &Seat)>| {
        let distances = seats.map(|(index, seat)| (index, distance(key, seat)));
        distances.min_by(|one, other| one.1.total_cmp(&other.1)).map(|(index, _)| index)
    };
    nearest(&mut candidates().filter(|(_, seat)| !is_over(seat))).or_else(|| nearest(&mut candidates()))
}

/// The smaller, the better. An exponential variable with the weight as its rate: each member is the smallest with a
/// probability that is its share of the weights.
fn distance(key: u64, seat: &Seat) -> f64 {
    let random = (mix(key ^ seat.key()) >> 11) as f64 + 0.5;
    -(random / (1u64 << 53) as f64).ln() / seat.full_weight().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::hash::hash_of;
    use super::*;

    fn seats(weights: &[u32]) -> Vec<Seat> {
        let seat = |(index, weight): (usize, &u32)| {
            Seat::new(hash_of(format!("10.0.0.{index}:80").as_bytes()), *weight, 0)
        };
        weights.iter().enumerate().map(seat).collect()
    }

    fn places(seats: &[Seat], may: impl Fn(usize, &Seat) -> bool + Copy) -> Vec<usize> {
        let key = |user: u32| hash_of(format!("user-{user}").as_bytes());
        (0..20_000).map(|user| choose(seats, may, key(user)).expect("a member")).collect()
    }

    #[test]
    fn keys_are_spread_by_weight() {
        let (seats, mut shares) = (seats(&[1, 1, 2]), [0_u32; 3]);
        places(&seats, |_, _| true).into_iter().for_each(|index| shares[index] += 1);
        assert!(shares[0].abs_diff(5_000) < 250 && shares[1].abs_diff(5_000) < 250, "{shares:?}");
        assert!(shares[2].abs_diff(10_000) < 500, "{shares:?}");
    }

    #[test]
    fn a_member_that_goes_moves_its_own_keys_only() {
        let seats = seats(&[1; 10]);
        let (all, without) = (places(&seats, |_, _| true), places(&seats, |index, _| index != 3));
        let moved = all.iter().zip(&without).filter(|(before, after)| before != after);
        assert!(moved.clone().all(|(before, _)| *before == 3));
        assert!(moved.count() < 20_000 * 12 / 100);
    }

    #[test]
    fn a_member_over_its_bound_passes_keys_to_their_next() {
        let seats = seats(&[1; 4]);
        let key = (0..).find(|key| choose(&seats, |_, _| true, *key) == Some(0)).expect("a key of the first");
        (0..LOAD_FREE - 1).for_each(|_| seats[0].begin());
        assert_eq!(choose(&seats, |_, _| true, key), Some(0), "few are no load");
        seats[0].begin();
        let next = choose(&seats, |_, _| true, key).expect("a member");
        assert_eq!(Some(next), choose(&seats, |index, _| index != 0, key));
        seats[1..].iter().for_each(|seat| (0..20).for_each(|_| seat.begin()));
        assert_eq!(choose(&seats, |_, _| true, key), Some(0), "no more than the others have");
    }
}
