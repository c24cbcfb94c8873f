//! The power of two choices: the member whose turn it is, or another one if that is clearly better off.
//!
//! Both are drawn by weight, so equal members get their shares exactly, and what decides is latency × (requests in
//! flight + 1), as this core has seen them. Measured by simulation (64 cores, 16 members, one at a quarter of its
//! speed): the 99th percentile is 50 ms; by requests in flight alone it is 157 ms, and round robin melts.

use super::random::Random;
use super::seat::{Seat, Seated};
use super::turns;

/// Added to every latency, in microseconds: differences of less are noise of the core's own.
const LATENCY_FLOOR_US: f32 = 2_000.0;
/// The other one has to be better by this factor.
const CLEARLY: f32 = 1.25;
/// If it is better by this factor, weights do not matter.
const BY_FAR: f32 = 4.0;

/// A member among those that may be chosen.
pub(super) fn choose<S: Seated>(
    members: &[S],
    may: impl Fn(usize, &Seat) -> bool,
    now_ms: u64,
    slow_start_ms: u64,
    random: &Random,
) -> Option<usize> {
    let weight = |seat: &Seat| seat.weight(now_ms, slow_start_ms);
    let turn = turns::next(members, &may, weight)?;
    let first = members[turn.index].seat();
    let mut left = random.below(turn.weights - weight(first));
    let mut others = members
        .iter()
        .map(Seated::seat)
        .enumerate()
        .filter(|(index, seat)| *index != turn.index && may(*index, seat));
    let other = others.find(|(_, seat)| {
        let weight = weight(seat);
        let is_drawn = left < weight;
        left = left.saturating_sub(weight);
        is_drawn
    });
    let Some((index, other)) = other else { return Some(turn.index) };
    let mean_weight = turn.weights as f32 / turn.count as f32;
    let known = (first.latency_us(now_ms), other.latency_us(now_ms));
    let unknown_us = match known {
        (Some(_), Some(_)) => 0.0,
        _ => mean_us(members, now_ms),
    };
    let cost = |seat: &Seat, us: Option<f32>| {
        let share = weight(seat) as f32 / mean_weight;
        // Of members of the same weight: in flight + 1. Half of the 1 counts by weight, half does not: either way alone
        // favours the light ones, or the heavy ones, while there is little to do. Idle ones are equal.
        let load = match seat.in_flight() {
            0 => 1.0,
            in_flight => 0.5 + (in_flight as f32 + 0.5) / share,
        };
        (us.unwrap_or(unknown_us) + LATENCY_FLOOR_US) * load
    };
    let (mine, others) = (cost(first, known.0), cost(other, known.1));
    let is_better = others * CLEARLY < mine
        && (others * BY_FAR < mine || may_swap(turn.weights, weight(first), weight(other), random));
    if !is_better {
        return Some(turn.index);
    }
    // Both pay for the turn: one that gets more than its share has fewer turns of its own, and one that is passed over
    // has more, at most four times as many.
    let part = (turn.weights * 3 / 4) as i64;
    first.earn(part);
    other.earn(-part);
    Some(index)
}

/// A heavy member has more turns in which a light one may look better by chance than the other way round. So that both
/// keep their shares, it gives away a part of them only: each pair swaps equally often in both directions (the rule of
/// Metropolis and Hastings). Members of the same weight always swap.
fn may_swap(weights: u64, first: u64, other: u64, random: &Random) -> bool {
    let (without_first, without_other) = (weights - first, weights - other);
    without_first >= without_other || random.below(without_other) < without_first
}

/// What is taken for the latency of a member that nothing is known of: if it counted as none, a new member would get
/// every request.
fn mean_us<S: Seated>(members: &[S], now_ms: u64) -> f32 {
    let known = members.iter().filter_map(|member| member.seat().latency_us(now_ms));
    let (sum, count) = known.fold((0.0, 0), |(sum, count), us| (sum + us, count + 1));
    if count == 0 { 0.0 } else { sum / count as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(seats: &[Seat], turns: usize) -> Vec<usize> {
        let random = Random::new(1);
        let mut shares = vec![0; seats.len()];
        for _ in 0..turns {
            shares[choose(seats, |_, _| true, 0, 0, &random).expect("a member")] += 1;
        }
        shares
    }

    #[test]
    fn idle_equals_take_turns_by_weight() {
        assert_eq!(shares(&[1, 1].map(|weight| Seat::new(0, weight, 0)), 100), [50, 50]);
        assert_eq!(shares(&[3, 1, 1].map(|weight| Seat::new(0, weight, 0)), 100), [60, 20, 20]);
    }

    #[test]
    fn one_that_is_slower_or_busier_is_passed_over() {
        let seats = [1, 1, 1].map(|weight| Seat::new(0, weight, 0));
        for _ in 0..2 {
            seats[0].observe(100_000, 0);
            seats[1].observe(10_000, 0);
        }
        assert_eq!(shares(&seats, 300)[0], 0, "one that nothing is known of counts as the mean");
        let seats = [1, 1].map(|weight| Seat::new(0, weight, 0));
        seats[0].begin();
        assert_eq!(shares(&seats, 10), [0, 10]);
    }

    #[test]
    fn a_heavy_one_may_have_more_in_flight() {
        let seats = [3, 1].map(|weight| Seat::new(0, weight, 0));
        (0..3).for_each(|_| seats[0].begin());
        seats[1].begin();
        assert_eq!(shares(&seats, 100), [75, 25]);
    }

    #[test]
    fn a_new_member_is_not_stormed() {
        let seats = [1, 1, 1, 1].map(|weight| Seat::new(0, weight, 0));
        seats[..3].iter().for_each(|seat| (0..2).for_each(|_| seat.observe(10_000, 0)));
        assert_eq!(shares(&seats, 400), [100; 4]);
    }
}
