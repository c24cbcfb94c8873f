//! Verdicts on a virtual clock.

use super::*;
use crate::limits::{EJECT_MS_FIRST, EJECT_MS_MAX, HEALTH_LOOK_MS};

/// An upstream whose cores are played.
struct World {
    health: UpstreamHealth,
    seen: Vec<Seen>,
    now_ms: u64,
}

impl World {
    fn new(members: usize) -> World {
        let mut health = UpstreamHealth::default();
        health.replace(vec![Err(Seen::default()); members]);
        World { health, seen: vec![Seen::default(); members], now_ms: 1_000 }
    }

    /// The cores see so many successes and failures of each member, then the control thread looks.
    fn look(&mut self, new: &[(u64, u64)]) -> Vec<(usize, Option<Reason>)> {
        self.now_ms += HEALTH_LOOK_MS;
        for (seen, (successes, failures)) in self.seen.iter_mut().zip(new) {
            seen.successes += successes;
            seen.failures += failures;
        }
        let (_, changes) = self.health.look(&self.seen, self.now_ms, &mut || 0.0);
        changes.into_iter().map(|change| (change.index, change.reason)).collect()
    }

    fn out(&self) -> Vec<usize> {
        let members = self.health.members().iter().enumerate();
        members.filter(|(_, member)| member.is_out()).map(|(index, _)| index).collect()
    }

    /// Looks until a member is back. Returns how long that took.
    fn wait_back(&mut self) -> u64 {
        let begun_ms = self.now_ms;
        let quiet = vec![(0, 0); self.seen.len()];
        for _ in 0..10_000 {
            if self.look(&quiet).iter().any(|(_, reason)| reason.is_none()) {
                return self.now_ms - begun_ms;
            }
        }
        panic!("never back")
    }
}

#[test]
fn five_failures_in_a_row_over_several_looks_eject_a_member_for_a_time() {
    let mut world = World::new(2);
    assert!(world.look(&[(0, 3), (9, 0)]).is_empty());
    assert!(world.look(&[(0, 0), (9, 0)]).is_empty());
    assert!(world.look(&[(1, 4), (9, 0)]).is_empty(), "a success ends the row");
    assert!(world.look(&[(0, 4), (9, 0)]).is_empty());
    assert_eq!(world.look(&[(0, 1), (9, 0)]), [(0, Some(Reason::Row(5)))]);
    assert_eq!(world.out(), [0]);
    let away_ms = world.wait_back();
    assert!((EJECT_MS_FIRST..=EJECT_MS_FIRST + HEALTH_LOOK_MS).contains(&away_ms), "{away_ms}");
    assert!(world.out().is_empty());
}

#[test]
fn each_ejection_is_longer_up_to_a_bound_and_good_times_are_remembered() {
    let mut world = World::new(2);
    let mut away = Vec::new();
    for _ in 0..40 {
        assert_eq!(world.look(&[(0, 5), (1, 0)]).len(), 1);
        away.push(world.wait_back());
    }
    assert!(away.windows(2).all(|pair| pair[0] <= pair[1]) && away[2] >= 3 * EJECT_MS_FIRST, "{away:?}");
    assert!(away[39] <= EJECT_MS_MAX + HEALTH_LOOK_MS, "{away:?}");
    for _ in 0..45 * OUTLIER_WINDOW_MS / HEALTH_LOOK_MS {
        world.look(&[(1, 0), (1, 0)]);
    }
    world.look(&[(0, 5), (1, 0)]);
    assert!(world.wait_back() < 2 * EJECT_MS_FIRST);
}

#[test]
fn at_most_half_are_ejected_counted_after_the_ejection_and_the_last_never() {
    for (members, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)] {
        let mut world = World::new(members);
        for _ in 0..50 {
            world.look(&vec![(0, 100); members]);
            assert!(world.out().len() <= most, "{members}");
        }
        assert_eq!(world.out().len(), most, "{members}");
    }
}

#[test]
fn members_that_probes_have_taken_out_count() {
    let mut world = World::new(4);
    for index in [0, 1] {
        let change =
            world.health.probed(index, Err("503".to_owned()), 2, 3).expect("the first result decides");
        assert_eq!(change.reason, Some(Reason::Probe("503".to_owned())));
    }
    assert!(world.look(&[(0, 9), (0, 9), (0, 9), (5, 0)]).is_empty());
    assert_eq!(world.out(), [0, 1]);
    // Probes know no bound: what fails them should get no request, and if too many do, the cores take no notice.
    assert!(world.health.probed(2, Err("503".to_owned()), 2, 3).is_some());
    assert_eq!(world.out(), [0, 1, 2]);
}

#[test]
fn who_fails_far_more_than_the_others_is_ejected_and_a_common_fault_ejects_nobody() {
    let run = |rates: &[(u64, u64)]| {
        let mut world = World::new(rates.len());
        let mut changes = Vec::new();
        for _ in 0..2 * OUTLIER_WINDOW_MS / HEALTH_LOOK_MS {
            changes.extend(world.look(rates));
        }
        changes
    };
    let good = (50, 0);
    let changes = run(&[good, good, (30, 20), good, good, good]);
    assert_eq!(changes, [(2, Some(Reason::Rate(60, 93)))]);
    assert!(run(&[(30, 20); 6]).is_empty(), "all of them");
    assert!(run(&[good, good, (49, 1), good, good, good]).is_empty(), "2 % are no reason");
    assert!(run(&[good, good, (30, 20), good]).is_empty(), "too few members to compare with");
    let idle = (0, 0);
    assert!(run(&[idle, idle, (1, 1), idle, idle, good]).is_empty(), "too few requests to compare");
}

#[test]
fn probes_and_cores_both_have_to_agree_that_a_member_is_back() {
    let mut world = World::new(2);
    assert_eq!(world.look(&[(0, 5), (1, 0)]).len(), 1);
    for _ in 0..3 {
        assert_eq!(world.health.probed(0, Ok(()), 2, 3), None, "ejected for a time");
    }
    assert_eq!(world.out(), [0]);
    for _ in 0..3 {
        assert_eq!(world.health.probed(0, Err("timeout".to_owned()), 2, 3), None);
    }
    let quiet = [(0, 0); 2];
    for _ in 0..2 * EJECT_MS_FIRST / HEALTH_LOOK_MS {
        assert!(world.look(&quiet).is_empty(), "its probes still fail");
    }
    assert_eq!(world.health.probed(0, Ok(()), 2, 3), None);
    assert_eq!(world.health.probed(0, Ok(()), 2, 3), Some(Change { index: 0, reason: None }));
    assert!(world.out().is_empty());
}

#[test]
fn a_member_keeps_its_verdict_when_others_come_and_go() {
    let mut world = World::new(2);
    world.look(&[(0, 5), (1, 0)]);
    let new = Seen { successes: 7, failures: 900, connect_failures: 0 };
    world.health.replace(vec![Err(new), Ok(1), Ok(0)]);
    world.seen = vec![new, world.seen[1], world.seen[0]];
    assert_eq!(world.out(), [2]);
    assert!(world.look(&[(0, 0); 3]).is_empty(), "what an old record says of a new member is no news");
}
