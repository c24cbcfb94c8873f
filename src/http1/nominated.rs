//! The names that `Connection` nominates, looked up in linear time.

use std::hash::{BuildHasher, RandomState};

use crate::http::{FoldedName, same_name};
use crate::limits::{CONNECTION_OPTION_BYTES_MAX, CONNECTION_OPTIONS_MAX};

/// The options of one head that may be the name of a field: a table of fixed size, without an allocation.
///
/// A name of another length than every option costs a look at one bit. Any other is folded and hashed once, and
/// compared only with an option of the same hash. The hash is keyed, so a client cannot choose names that collide.
pub(super) struct Nominated<'h> {
    options: [(u64, &'h [u8]); CONNECTION_OPTIONS_MAX],
    count: usize,
    /// Bit n: some option has n bytes, modulo 64.
    lengths: u64,
    keys: RandomState,
}

impl<'h> Nominated<'h> {
    /// No options.
    pub(super) fn new() -> Self {
        let options = [(0, b"".as_slice()); CONNECTION_OPTIONS_MAX];
        Self { options, count: 0, lengths: 0, keys: RandomState::new() }
    }

    /// Adds an option. The caller has counted and measured them: at most [`CONNECTION_OPTIONS_MAX`], none longer than
    /// [`CONNECTION_OPTION_BYTES_MAX`].
    pub(super) fn add(&mut self, option: &'h [u8]) {
        self.options[self.count] = (self.keys.hash_one(FoldedName(option)), option);
        self.count += 1;
        self.lengths |= length_bit(option);
    }

    /// Whether an option is this name, as a folding server reads both.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        if name.len() > CONNECTION_OPTION_BYTES_MAX || self.lengths & length_bit(name) == 0 {
            return false;
        }
        let hash = self.keys.hash_one(FoldedName(name));
        self.options[..self.count].iter().any(|&(its, option)| its == hash && same_name(option, name))
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << (name.len() % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_spelling_of_an_option_and_no_other_name() {
        let long = "x".repeat(CONNECTION_OPTION_BYTES_MAX);
        let mut nominated = Nominated::new();
        assert!(!nominated.contains(b""));
        for option in ["X-A", "x_b.C", "x-a", &long] {
            nominated.add(option.as_bytes());
        }
        for name in ["x-a", "X_A", "x.a", "X-B-c", long.to_uppercase().as_str()] {
            assert!(nominated.contains(name.as_bytes()), "{name}");
        }
        for name in ["", "x-", "x-b", "x-aa", &long[1..], &(long.clone() + "x")] {
            assert!(!nominated.contains(name.as_bytes()), "{name}");
        }
        // As long as an option, and as long modulo the bits of the mask.
        assert!(!nominated.contains(b"x-d") && !nominated.contains(&[b'x'; CONNECTION_OPTION_BYTES_MAX + 3]));
    }
}
