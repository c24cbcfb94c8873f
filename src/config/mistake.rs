//! The list of mistakes of a configuration: all are reported at once, one line each.

use std::fmt;

use super::value::quoted;
use super::wrong::Wrong;

/// All mistakes. Printed, each is one line that begins with its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    all: Vec<Mistake>,
    /// The keys of the file that are wrong, or meant by a wrong one.
    wrong: Wrong,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    /// The key, with its place if a file holds it.
    subject: String,
    /// What is wrong with it and what would be right. Never the value of a secret.
    what: String,
}

impl Mistakes {
    /// A list of one mistake.
    #[must_use]
    pub fn one(subject: &str, what: &str) -> Self {
        let mut mistakes = Self::default();
        mistakes.add(subject, what);
        mistakes
    }

    /// Adds a mistake.
    pub fn add(&mut self, subject: &str, what: &str) {
        self.all.push(Mistake { subject: subject.to_owned(), what: what.to_owned() });
    }

    /// Adds a mistake about a table, unless it involves what of the table or of the file is wrong by its form: then it
    /// may be untrue, and the first mistake has been told.
    pub(super) fn add_beside(&mut self, wrong: &Wrong, subject: &str, what: &str) {
        if !wrong.is_in(what) && !self.wrong.is_in(what) {
            self.add(subject, what);
        }
    }

    /// Marks a key of the file as wrong, or as probably meant by what is wrong. No mistake that involves it is told.
    pub(super) fn mark(&mut self, key: &str) {
        self.wrong.add(key);
    }

    /// Adds the mistakes of another list.
    pub fn extend(&mut self, others: Self) {
        self.all.extend(others.all);
    }

    /// Whether one of the mistakes is about this key, in any file or in none. Rules that involve a wrong key are not
    /// checked.
    #[must_use]
    pub fn concern(&self, key: &str) -> bool {
        let same =
            |subject: &str| subject == key || subject.strip_prefix(key).is_some_and(|s| s.starts_with(" ("));
        self.wrong.has(key) || self.all.iter().any(|mistake| same(&mistake.subject))
    }

    /// Whether one of the mistakes is about the route, upstream or issuer of this name.
    #[must_use]
    pub fn are_of(&self, noun: &str, name: &str) -> bool {
        self.concern(&subject(noun, Some(name), ""))
    }

    /// The number of mistakes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The value, if there are no mistakes.
    ///
    /// # Errors
    /// The mistakes, if there are any.
    pub fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.all.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Mistake { subject, what }) in self.all.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{subject}: {what}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// What a mistake is about: `route "orders" (gateway.toml:12)`; `place` is file and line, or empty.
pub(super) fn subject(noun: &str, name: Option<&str>, place: &str) -> String {
    let name =
        name.filter(|name| !name.is_empty()).map_or_else(String::new, |name| format!(" {}", quoted(name)));
    let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
    format!("{noun}{name}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_one_line_per_mistake() {
        let mut mistakes = Mistakes::one("PORT", "is empty");
        mistakes.add("BIND (gateway.toml:3)", "is empty");
        assert_eq!(mistakes.to_string(), "PORT: is empty\nBIND (gateway.toml:3): is empty");
        assert_eq!(mistakes.count(), 2);
    }

    #[test]
    fn knows_a_key_with_and_without_a_place() {
        let mistakes = Mistakes::one("BIND (gateway.toml:3)", "is empty");
        assert!(mistakes.concern("BIND"));
        assert!(!mistakes.concern("BIN") && !mistakes.concern("PORT"));
    }
}
