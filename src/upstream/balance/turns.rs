//! Smooth weighted round robin: in every row of turns each member has its share, and the turns of a heavy one are
//! spread out. The algorithm is nginx's.

use super::seat::{Seat, Seated};

/// Whose turn it is.
pub(super) struct Turn {
    pub(super) index: usize,
    /// The weights of all that may be chosen.
    pub(super) weights: u64,
    /// How many they are.
    pub(super) count: u32,
}

/// The next turn among those that may be chosen.
pub(super) fn next<S: Seated>(
    members: &[S],
    may: impl Fn(usize, &Seat) -> bool,
    weight: impl Fn(&Seat) -> u64,
) -> Option<Turn> {
    let (mut best, mut weights, mut count) = (None::<(usize, i64)>, 0, 0);
    for (index, member) in members.iter().enumerate() {
        let seat = member.seat();
        if !may(index, seat) {
            continue;
        }
        let weight = weight(seat);
        weights += weight;
        count += 1;
        let credit = seat.earn(weight as i64);
        if best.is_none_or(|(_, most)| credit > most) {
            best = Some((index, credit));
        }
    }
    let (index, _) = best?;
    members[index].seat().earn(-(weights as i64));
    Some(Turn { index, weights, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_weights_and_are_spread_out() {
        let seats = [5, 1, 1].map(|weight| Seat::new(0, weight, 0));
        let weight = |seat: &Seat| seat.weight(0, 0);
        let turns: Vec<usize> =
            (0..7).filter_map(|_| next(&seats, |_, _| true, weight)).map(|turn| turn.index).collect();
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
        assert!(next(&seats, |_, _| false, weight).is_none());
    }
}
