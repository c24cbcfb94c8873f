//! Which members of a large upstream a core uses: with all of them, cores × members connections would be kept, each
//! hardly used.

use super::hash::mix;
use crate::limits::{MEMBERS_OF_CORE, MEMBERS_WITHOUT_SUBSET};
use crate::upstream::roster::CoreNumber;

/// The members that a core uses, by index, of members with these keys; `None`: all. The members stand in a circle, in
/// an order that only depends on their keys and `seed`, which is the same for the whole process. The parts that the
/// cores use begin at even distances, so that every member has as many cores as any other, or one more. (The idea:
/// deterministic subsetting, "Site Reliability Engineering", chapter 20; a process is a complete group of clients by
/// itself.)
pub(crate) fn subset(keys: &[u64], core: CoreNumber, seed: u64) -> Option<Vec<usize>> {
    let members = keys.len();
    if members <= MEMBERS_WITHOUT_SUBSET {
        return None;
    }
    let mut circle: Vec<usize> = (0..members).collect();
    circle.sort_unstable_by_key(|index| mix(keys[*index] ^ seed));
    let (cores, used) = (core.count.max(1), size(members, core.count.max(1)));
    let begin = core.index % cores * members / cores;
    Some((begin..begin + used).map(|position| circle[position % members]).collect())
}

/// How many members a core uses: the fewest with which every member has the same number of cores, if that is not too
/// many. Few cores use so many that no member is left out.
fn size(members: usize, cores: usize) -> usize {
    if cores * MEMBERS_OF_CORE < members {
        return members.div_ceil(cores);
    }
    let is_even = |used: &usize| (cores * used).is_multiple_of(members);
    (MEMBERS_OF_CORE..=MEMBERS_WITHOUT_SUBSET).find(is_even).unwrap_or(MEMBERS_OF_CORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By how many cores each member is used.
    fn cores_of_members(members: usize, cores: usize) -> Vec<usize> {
        let keys: Vec<u64> = (0..members as u64).map(mix).collect();
        let mut users = vec![0; members];
        for index in 0..cores {
            for member in subset(&keys, CoreNumber { index, count: cores }, 5).expect("a subset") {
                users[member] += 1;
            }
        }
        users
    }

    #[test]
    fn every_member_has_as_many_cores_or_one_more() {
        for (members, cores) in [(33, 8), (40, 8), (64, 16), (100, 64), (250, 128), (37, 3), (64, 1)] {
            let users = cores_of_members(members, cores);
            let (least, most) = (users.iter().min().copied(), users.iter().max().copied());
            assert!(
                most.unwrap_or(0) - least.unwrap_or(0) <= 1,
                "{members} members, {cores} cores: {users:?}"
            );
        }
        assert_eq!(cores_of_members(40, 8), [4; 40]);
        assert_eq!(cores_of_members(64, 16), [4; 64]);
    }

    #[test]
    fn few_members_are_used_by_all() {
        let core = CoreNumber { index: 3, count: 8 };
        assert_eq!(subset(&[1; MEMBERS_WITHOUT_SUBSET], core, 5), None);
        assert_eq!(subset(&[], core, 5), None);
    }

    #[test]
    fn a_member_more_changes_little_and_another_process_uses_others() {
        let core = CoreNumber { index: 1, count: 4 };
        let mut keys: Vec<u64> = (0..48).map(mix).collect();
        let before = subset(&keys, core, 5).expect("a subset");
        let other = subset(&keys, core, 6).expect("a subset");
        assert!(other.iter().filter(|member| !before.contains(member)).count() > 4);
        keys.push(mix(48));
        let after = subset(&keys, core, 5).expect("a subset");
        assert!(after.iter().filter(|member| !before.contains(member)).count() <= 2, "{before:?} {after:?}");
    }
}
