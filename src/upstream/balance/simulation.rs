//! The choice in a world of cores and members, on a virtual clock: the same module that serves requests, seeded.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// Requests that a member of weight 1 serves at the same time. Others wait in line.
const WORKERS: usize = 16;
const SECOND_US: u64 = 1_000_000;

/// What a member does from some time on.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Member {
    /// Serves, in this mean time in µs, exponentially distributed.
    Serves(f64),
    /// Fails after a millisecond.
    Fails,
    /// Accepts no connection.
    Refuses,
}

pub(super) struct World {
    random: Random,
    pub(super) members: Vec<Member>,
    /// When each worker of a member is free again, in µs.
    workers: Vec<BinaryHeap<Reverse<u64>>>,
    cores: Vec<(Balancer, Vec<Seat>)>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    now_us: u64,
    /// Requests of the whole process per second.
    rate: f64,
    keys: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival { core: usize },
    End { core: usize, member: usize, begun_us: u64, is_failure: bool },
}

/// What came of a while.
#[derive(Default)]
pub(super) struct Seen {
    served: Vec<u64>,
    latencies_us: Vec<u64>,
    failed: u64,
}

impl Seen {
    fn share(&self, member: usize) -> f64 {
        self.served[member] as f64 / self.served.iter().sum::<u64>() as f64
    }

    pub(super) fn p99_ms(&mut self) -> f64 {
        self.latencies_us.sort_unstable();
        self.latencies_us[self.latencies_us.len() * 99 / 100] as f64 / 1_000.0
    }
}

impl World {
    /// With a mean service time of 10 ms at every member, and this load on them.
    pub(super) fn new(policy: BalancePolicy, cores: usize, weights: &[u32], load: f64) -> World {
        let core = |core: usize| {
            let balancer = Balancer::new(Random::new(core as u64));
            balancer.adjust(policy, 0);
            let seats: Vec<Seat> = weights
                .iter()
                .enumerate()
                .map(|(index, weight)| Seat::new(hash_of(format!("10.0.0.{index}").as_bytes()), *weight, 0))
                .collect();
            seats.iter().for_each(|seat| balancer.seat(seat));
            (balancer, seats)
        };
        let mut world = World {
            random: Random::new(42),
            members: vec![Member::Serves(10_000.0); weights.len()],
            workers: weights
                .iter()
                .map(|weight| (0..WORKERS * *weight as usize).map(|_| Reverse(0)).collect())
                .collect(),
            cores: (0..cores).map(core).collect(),
            events: BinaryHeap::new(),
            now_us: 0,
            rate: load * 100.0 * (WORKERS * weights.iter().sum::<u32>() as usize) as f64,
            keys: 1_000,
        };
        for core in 0..cores {
            let at_us = world.gap_us();
            world.events.push(Reverse((at_us, Event::Arrival { core })));
        }
        world
    }

    fn exponential(&self, mean: f64) -> u64 {
        let uniform = (self.random.below(1 << 53) as f64 + 0.5) / (1u64 << 53) as f64;
        (-uniform.ln() * mean) as u64
    }

    fn gap_us(&self) -> u64 {
        self.exponential(self.cores.len() as f64 * SECOND_US as f64 / self.rate)
    }

    /// What happens in the next seconds.
    pub(super) fn run(&mut self, seconds: f64) -> Seen {
        let mut seen = Seen { served: vec![0; self.members.len()], ..Seen::default() };
        let end_us = self.now_us + (seconds * SECOND_US as f64) as u64;
        while let Some(Reverse((at_us, _))) = self.events.peek() {
            if *at_us > end_us {
                break;
            }
            let Some(Reverse((at_us, event))) = self.events.pop() else { break };
            self.now_us = at_us;
            match event {
                Event::Arrival { core } => self.arrive(core, &mut seen),
                Event::End { core, member, begun_us, is_failure } => {
                    let (seat, us, now_ms) = (&self.cores[core].1[member], at_us - begun_us, at_us / 1_000);
                    seat.end();
                    if is_failure {
                        seat.failed(us, now_ms);
                        seen.failed += 1;
                    } else {
                        seat.observe(us, now_ms);
                        seat.succeeded();
                        seen.latencies_us.push(us);
                    }
                }
            }
        }
        self.now_us = end_us;
        seen
    }

    fn arrive(&mut self, core: usize, seen: &mut Seen) {
        let (now_us, now_ms) = (self.now_us, self.now_us / 1_000);
        let next = now_us + self.gap_us();
        self.events.push(Reverse((next, Event::Arrival { core })));
        let (balancer, seats) = &self.cores[core];
        let key = mix_key(self.random.below(self.keys));
        let mut tried = Tried::default();
        while let Some(member) = balancer.choose(seats, &tried, Some(key), now_ms) {
            tried.add(member);
            let (us, is_failure) = match self.members[member] {
                Member::Refuses => {
                    seats[member].connect_failed(now_ms);
                    continue;
                }
                Member::Fails => (1_000, true),
                Member::Serves(mean) => (self.exponential(mean), false),
            };
            seen.served[member] += 1;
            seats[member].begin();
            let free_us = self.workers[member].pop().map_or(0, |Reverse(free_us)| free_us);
            let end_us = free_us.max(now_us) + us;
            self.workers[member].push(Reverse(end_us));
            self.events.push(Reverse((end_us, Event::End { core, member, begun_us: now_us, is_failure })));
            return;
        }
        seen.failed += 1;
    }
}

fn mix_key(user: u64) -> u64 {
    hash_of(&user.to_le_bytes())
}

#[test]
fn each_member_has_its_share() {
    for policy in [BalancePolicy::P2c, BalancePolicy::RoundRobin] {
        for (cores, weights, load) in [
            (1, vec![1, 1], 0.3),
            (4, vec![1, 1, 1, 1], 0.05),
            (8, vec![1; 16], 0.7),
            (2, vec![1, 2], 0.2),
            (1, vec![1, 4], 0.3),
            (4, vec![3, 2, 1], 0.3),
            (2, vec![2, 1], 0.7),
            (4, vec![1, 2, 4], 0.5),
        ] {
            let mut world = World::new(policy, cores, &weights, load);
            let (seen, total) = (world.run(60.0), weights.iter().sum::<u32>());
            for (member, weight) in weights.iter().enumerate() {
                let wanted = f64::from(*weight) / f64::from(total);
                let share = seen.share(member);
                assert!(
                    (share / wanted - 1.0).abs() < 0.05,
                    "{policy:?} {weights:?} {load}: {member} has {share}"
                );
            }
        }
    }
}

#[test]
fn one_that_is_ten_times_slower_gets_under_a_fifth_of_its_share() {
    for (cores, members, load) in [(2, 2, 0.3), (4, 4, 0.5), (8, 16, 0.7)] {
        let mut world = World::new(BalancePolicy::P2c, cores, &vec![1; members], load);
        world.members[0] = Member::Serves(100_000.0);
        world.run(5.0);
        let share = world.run(20.0).share(0) * members as f64;
        assert!(share < 0.2, "{members} members: {share}");
    }
}

#[test]
fn one_at_a_quarter_of_its_speed_does_not_spoil_the_99th_percentile() {
    let mut healthy = World::new(BalancePolicy::P2c, 64, &[1; 16], 0.8);
    let mut slow = World::new(BalancePolicy::P2c, 64, &[1; 16], 0.8);
    slow.members[0] = Member::Serves(40_000.0);
    healthy.run(5.0);
    slow.run(5.0);
    let (healthy, slow) = (healthy.run(10.0).p99_ms(), slow.run(10.0).p99_ms());
    assert!(slow < 1.5 * healthy, "{slow} ms instead of {healthy} ms");
}

#[test]
fn one_that_fails_fast_does_not_win() {
    let mut world = World::new(BalancePolicy::P2c, 4, &[1; 4], 0.5);
    world.members[2] = Member::Fails;
    world.run(1.0);
    let seen = world.run(20.0);
    assert!(seen.share(2) * 4.0 < 0.05, "{}", seen.share(2));
}

#[test]
fn one_that_refuses_loses_nothing_and_three_of_four_neither() {
    let mut world = World::new(BalancePolicy::P2c, 4, &[1; 4], 0.2);
    world.members[0] = Member::Refuses;
    assert_eq!(world.run(10.0).failed, 0);
    world.members[1..3].fill(Member::Refuses);
    assert_eq!(world.run(10.0).failed, 0);
    world.members.fill(Member::Serves(10_000.0));
    world.run(40.0);
    let seen = world.run(20.0);
    assert!(
        (0..4).all(|member| (seen.share(member) * 4.0 - 1.0).abs() < 0.1),
        "all are back: {:?}",
        seen.served
    );
}

#[test]
fn members_that_come_are_no_herds_aim() {
    let mut world = World::new(BalancePolicy::P2c, 16, &[1; 9], 0.6);
    for (_, seats) in &world.cores {
        seats[8].connect_failed(0);
    }
    world.run(0.9);
    // The ninth comes to every core at the same moment.
    for (_, seats) in &mut world.cores {
        seats[8] = Seat::new(hash_of(b"new"), 1, world.now_us / 1_000);
    }
    let seen = world.run(0.5);
    assert!(seen.share(8) * 9.0 < 1.5, "{}", seen.share(8) * 9.0);
}

#[test]
fn cores_that_begin_together_do_not_run_to_the_same_member() {
    let first = |core: usize| {
        let (balancer, seats) = &World::new(BalancePolicy::P2c, 64, &[1; 8], 0.5).cores[core];
        balancer.choose(seats, &Tried::default(), None, 0).expect("a member")
    };
    let mut firsts = [0; 8];
    (0..64).for_each(|core| firsts[first(core)] += 1);
    assert!(firsts.iter().all(|count| *count <= 20), "{firsts:?}");
}

#[test]
fn a_hash_moves_no_more_keys_than_it_must() {
    let world = |weights: &[u32]| World::new(BalancePolicy::Hash, 1, weights, 0.1);
    for members in [3, 10, 40] {
        let (few, many) = (world(&vec![1; members]), world(&vec![1; members + 1]));
        let place = |world: &World, user| {
            let (balancer, seats) = &world.cores[0];
            balancer.choose(seats, &Tried::default(), Some(mix_key(user)), 0)
        };
        let moved = (0..20_000).filter(|user| place(&few, *user) != place(&many, *user)).count();
        let bound = 1.0 / (members + 1) as f64 + 0.02;
        assert!((moved as f64) < bound * 20_000.0, "{members}: {moved}");
    }
}
