//! Load balancing: which member of an upstream a request goes to. Pure: it does no I/O, and time is an argument.
//!
//! A core judges by what it has seen itself. Sums over all cores would be as old as the last exchange of them, and
//! every core would run to the member that looked idle then.

#[cfg(test)]
mod figure;
mod hash;
mod latency;
mod p2c;
mod random;
mod rendezvous;
mod seat;
#[cfg(test)]
mod simulation;
mod subset;
mod suspicion;
mod tried;
mod turns;

use std::cell::Cell;

use crate::config::BalancePolicy;

pub use hash::hash_of;
pub(super) use random::Random;
pub(super) use seat::{Seat, Seated};
pub(super) use subset::subset;
pub(super) use tried::Tried;

/// The choice among the members of one upstream on one core.
#[derive(Debug)]
pub(super) struct Balancer {
    policy: Cell<BalancePolicy>,
    /// How long a new member takes to its whole weight. 0: no time.
    slow_start_ms: Cell<u64>,
    random: Random,
    /// So many are ejected, or suspected, that all are used.
    panics: [Cell<bool>; 2],
    /// What was told of that last, and when.
    told: Cell<(bool, u64)>,
}

/// Why all members are used.
const EJECTED: usize = 0;
const SUSPECTED: usize = 1;
/// The least time between two news, in milliseconds.
const NEWS_MS: u64 = 10_000;

impl Balancer {
    pub(super) fn new(random: Random) -> Balancer {
        Balancer {
            policy: Cell::default(),
            slow_start_ms: Cell::new(0),
            random,
            panics: Default::default(),
            told: Cell::default(),
        }
    }

    /// The rule from now on, and how long a new member takes to its whole weight.
    pub(super) fn adjust(&self, policy: BalancePolicy, slow_start_ms: u64) {
        self.policy.set(policy);
        self.slow_start_ms.set(slow_start_ms);
    }

    /// The member for the next try of a request; `None`: each one was tried. `key`: what the request is to stay with
    /// one member by. Those that this core suspects come last. If under half of the members are free of suspicion,
    /// that says more about this core, or about the load on the rest, than about each of them: the first try goes to
    /// any of them.
    pub(super) fn choose<S: Seated>(
        &self,
        members: &[S],
        tried: &Tried,
        key: Option<u64>,
        now_ms: u64,
    ) -> Option<usize> {
        let usable = members.iter().filter(|member| !member.seat().is_suspected(now_ms)).count();
        let is_panicking = 2 * usable < members.len();
        self.panics[SUSPECTED].set(is_panicking);
        let is_any_good = is_panicking && tried.is_empty();
        let trusted =
            |index: usize, seat: &Seat| !tried.has(index) && (is_any_good || !seat.is_suspected(now_ms));
        let chosen = self
            .among(members, trusted, key, now_ms)
            .or_else(|| self.among(members, |index, _| !tried.has(index), key, now_ms))?;
        members[chosen].seat().asked(now_ms);
        Some(chosen)
    }

    fn among<S: Seated>(
        &self,
        members: &[S],
        may: impl Fn(usize, &Seat) -> bool,
        key: Option<u64>,
        now_ms: u64,
    ) -> Option<usize> {
        match (self.policy.get(), key) {
            (BalancePolicy::Hash, Some(key)) => rendezvous::choose(members, may, key),
            (BalancePolicy::RoundRobin, _) => {
                let weight = |seat: &Seat| seat.weight(now_ms, self.slow_start_ms.get());
                turns::next(members, &may, weight).map(|turn| turn.index)
            }
            (BalancePolicy::P2c | BalancePolicy::Hash, _) => {
                p2c::choose(members, may, now_ms, self.slow_start_ms.get(), &self.random)
            }
        }
    }

    /// Whether so many members are ejected that the verdicts are ignored.
    pub(super) fn ignores_ejections(&self, usable: usize, members: usize) -> bool {
        let is_panicking = 2 * usable < members;
        self.panics[EJECTED].set(is_panicking);
        is_panicking
    }

    /// Whether all members are used because too few are usable, if that is another answer than the last one.
    pub(super) fn take_news(&self, now_ms: u64) -> Option<bool> {
        let is_panicking = self.panics.iter().any(Cell::get);
        let (told, told_ms) = self.told.get();
        if is_panicking == told || (told_ms > 0 && now_ms < told_ms + NEWS_MS) {
            return None;
        }
        self.told.set((is_panicking, now_ms));
        Some(is_panicking)
    }

    /// A new member begins somewhere in the turns: cores that begin together would send their first requests to the
    /// same member.
    pub(super) fn seat(&self, seat: &Seat) {
        seat.begin_turns_at(self.random.below(seat::WEIGHT_UNIT.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balancer(policy: BalancePolicy) -> Balancer {
        {
            let balancer = Balancer::new(Random::new(7));
            balancer.adjust(policy, 0);
            balancer
        }
    }

    fn seats(weights: &[u32]) -> Vec<Seat> {
        let seat = |(index, weight): (usize, &u32)| Seat::new(hash_of(&[index as u8]), *weight, 0);
        weights.iter().enumerate().map(seat).collect()
    }

    #[test]
    fn one_that_is_suspected_is_asked_last() {
        for policy in [BalancePolicy::P2c, BalancePolicy::RoundRobin, BalancePolicy::Hash] {
            let (balancer, seats) = (balancer(policy), seats(&[1, 1, 1]));
            seats[1].connect_failed(0);
            let mut tried = Tried::default();
            for turn in 0..3 {
                let chosen = balancer.choose(&seats, &tried, Some(turn), 10).expect("one is left");
                assert_eq!(chosen == 1, turn == 2, "{policy:?}");
                tried.add(chosen);
            }
            assert_eq!(balancer.choose(&seats, &tried, Some(1), 10), None);
            assert_eq!(balancer.take_news(10), None);
        }
    }

    #[test]
    fn one_that_refused_is_tried_by_one_request_as_soon_as_its_time_is_over_and_is_back_if_it_answers() {
        for policy in [BalancePolicy::P2c, BalancePolicy::RoundRobin, BalancePolicy::Hash] {
            let (balancer, seats) = (balancer(policy), seats(&[1, 1, 1]));
            seats.iter().for_each(|seat| (0..2).for_each(|_| seat.observe(200, 0)));
            let times = |now_ms: u64| {
                let chosen = |key| balancer.choose(&seats, &Tried::default(), Some(key), now_ms);
                (0..300).filter(|key| chosen(hash_of(&u64::to_le_bytes(*key))) == Some(1)).count()
            };
            seats[1].connect_failed(0);
            assert_eq!((times(999), times(1_000)), (0, 1), "{policy:?}");
            seats[1].connect_failed(1_001);
            assert_eq!((times(3_000), times(3_001)), (0, 1), "{policy:?}");
            seats[1].succeeded();
            assert!(times(3_002) > 60, "{policy:?}");
        }
    }

    #[test]
    fn with_under_half_usable_all_are_used_and_that_is_news_once() {
        let (balancer, seats) = (balancer(BalancePolicy::RoundRobin), seats(&[1, 1, 1]));
        seats[0].connect_failed(0);
        seats[1].connect_failed(0);
        let chosen = || (0..300).map(|_| balancer.choose(&seats, &Tried::default(), None, 10));
        for index in 0..3 {
            assert_eq!(chosen().filter(|chosen| *chosen == Some(index)).count(), 100);
        }
        assert_eq!((balancer.take_news(10), balancer.take_news(10)), (Some(true), None));
        seats[0].succeeded();
        assert_eq!(chosen().filter(|chosen| *chosen == Some(1)).count(), 0);
        assert_eq!(balancer.take_news(20), None, "not at once");
        assert_eq!((balancer.take_news(20_010), balancer.take_news(20_010)), (Some(false), None));
    }

    #[test]
    fn a_second_try_goes_to_one_that_is_not_suspected() {
        let (balancer, seats) = (balancer(BalancePolicy::RoundRobin), seats(&[1, 1, 1, 1]));
        seats[..3].iter().for_each(|seat| seat.connect_failed(0));
        for _ in 0..8 {
            let mut tried = Tried::default();
            let first = balancer.choose(&seats, &tried, None, 10).expect("a member");
            tried.add(first);
            let second = balancer.choose(&seats, &tried, None, 10).expect("another one");
            assert!(first == 3 || second == 3);
        }
    }

    #[test]
    fn without_members_there_is_no_choice() {
        for policy in [BalancePolicy::P2c, BalancePolicy::RoundRobin, BalancePolicy::Hash] {
            assert_eq!(balancer(policy).choose::<Seat>(&[], &Tried::default(), Some(1), 0), None);
        }
    }
}
