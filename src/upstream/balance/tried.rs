//! Which members a request was tried with.

use crate::limits::MEMBERS_MAX;

/// A set of members, by index.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tried([u64; MEMBERS_MAX / 64]);

impl Tried {
    pub(crate) fn add(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; MEMBERS_MAX / 64]
    }

    /// An index over the bound counts as tried.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.0.get(index / 64).is_none_or(|word| word & (1 << (index % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_what_was_added_and_everything_over_the_bound() {
        let mut tried = Tried::default();
        assert!(tried.is_empty());
        for index in [0, 63, 64, MEMBERS_MAX - 1] {
            assert!(!tried.has(index));
            tried.add(index);
            assert!(tried.has(index));
        }
        assert!(!tried.is_empty());
        tried.add(MEMBERS_MAX);
        assert!(tried.has(MEMBERS_MAX) && !tried.has(1));
    }
}
