//! Round robin: each connection goes to the next candidate in turn.

use std::cell::Cell;

/// The turn of a round robin. The list of candidates may change between two turns.
#[derive(Debug, Default)]
pub struct RoundRobin {
    turn: Cell<usize>,
}

impl RoundRobin {
    /// The next candidates in turn, at most `max` and each at most once. Taking a candidate from the iterator uses up its turn.
    pub fn order<'c, T>(&self, candidates: &'c [T], max: usize) -> impl Iterator<Item = &'c T> {
        (0..candidates.len().min(max)).map(|_| {
            let turn = self.turn.get();
            self.turn.set(turn.wrapping_add(1));
            &candidates[turn % candidates.len()]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_take_turns_and_one_that_was_passed_over_has_had_its_turn() {
        let turns = RoundRobin::default();
        let mut first = turns.order(&['a', 'b', 'c'], 3);
        assert_eq!((first.next(), first.next()), (Some(&'a'), Some(&'b')));
        assert_eq!(turns.order(&['a', 'b', 'c'], 2).collect::<String>(), "ca");
        assert_eq!(turns.order(&['x'], 3).collect::<String>(), "x");
        assert_eq!(turns.order::<char>(&[], 3).count(), 0);
    }
}
