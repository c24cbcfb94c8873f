//! What is wrong with a configuration: everything at once, one line each.

use std::fmt;

/// Everything that is wrong. Shown, it is one line per mistake, each of which names its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    /// The key, or the place in a file.
    subject: String,
    /// What is wrong with it and what would be right. Never the value of a secret.
    what: String,
}

impl Mistakes {
    /// Just one.
    #[must_use]
    pub fn one(subject: &str, what: &str) -> Self {
        let mut mistakes = Self::default();
        mistakes.add(subject, what);
        mistakes
    }

    /// One more.
    pub fn add(&mut self, subject: &str, what: &str) {
        self.0.push(Mistake { subject: subject.to_owned(), what: what.to_owned() });
    }

    /// All of those too.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether something is wrong with this key, wherever it stands. What depends on it is then not judged.
    #[must_use]
    pub fn name(&self, key: &str) -> bool {
        let same =
            |subject: &str| subject == key || subject.strip_prefix(key).is_some_and(|s| s.starts_with(" ("));
        self.0.iter().any(|mistake| same(&mistake.subject))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The value if nothing is wrong.
    ///
    /// # Errors
    /// These, if there are any.
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
    fn knows_a_key_wherever_it_stands() {
        let mistakes = Mistakes::one("BIND (gateway.toml:3)", "is empty");
        assert!(mistakes.name("BIND"));
        assert!(!mistakes.name("BIN") && !mistakes.name("PORT"));
    }
}
