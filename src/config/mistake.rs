//! The list of mistakes of a configuration: all are reported at once, one line each.

use std::fmt;

/// All mistakes. Printed, each is one line that begins with its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

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
        self.0.push(Mistake { subject: subject.to_owned(), what: what.to_owned() });
    }

    /// Adds the mistakes of another list.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether one of the mistakes is about this key, in any file or in none. Rules that involve a wrong key are not
    /// checked.
    #[must_use]
    pub fn concern(&self, key: &str) -> bool {
        let same =
            |subject: &str| subject == key || subject.strip_prefix(key).is_some_and(|s| s.starts_with(" ("));
        self.0.iter().any(|mistake| same(&mistake.subject))
    }

    /// The number of mistakes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The value, if there are no mistakes.
    ///
    /// # Errors
    /// The mistakes, if there are any.
    pub fn none_or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Mistake { subject, what }) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{subject}: {what}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

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
