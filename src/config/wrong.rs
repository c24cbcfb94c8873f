//! What of a table has no meaning yet, because a mistake has been told of it.

use std::collections::BTreeSet;

/// The keys of a table that have a mistake of form. Further mistakes that involve one of them are not told: they may
/// be untrue, since the key was written and nobody knows as what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wrong {
    keys: BTreeSet<String>,
    is_whole: bool,
}

impl Wrong {
    /// Nothing of the table is known.
    pub(super) fn whole() -> Self {
        Self { is_whole: true, ..Self::default() }
    }

    /// Whether nothing of the table is known.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Adds a key.
    pub(super) fn add(&mut self, key: &str) {
        self.keys.insert(key.to_ascii_lowercase());
    }

    /// Whether there is a mistake of form about this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.is_whole || self.keys.contains(&key.to_ascii_lowercase())
    }

    /// Whether a mistake speaks of one of the keys, or of one that may be among them.
    pub(super) fn is_in(&self, why: &str) -> bool {
        let is_key_byte = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        self.is_whole || (!self.keys.is_empty() && why.split(|c| !is_key_byte(c)).any(|word| self.has(word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_what_a_mistake_says() {
        let mut wrong = Wrong::default();
        assert!(!wrong.is_in("url is missing"));
        wrong.add("url");
        assert!(wrong.is_in("has none of the keys url, urls and srv") && wrong.has("URL"));
        assert!(!wrong.is_in("urls is empty") && !wrong.is_in(""));
        assert!(Wrong::whole().is_in("") && Wrong::whole().has("a"));
    }
}
