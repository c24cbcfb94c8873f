//! The layers of a configuration, nearest first, and the reading of typed settings out of them.

use super::key::{AnyKey, DefaultText, Key};
use super::mistake::Mistakes;
use super::written::Written;

/// What was written in each place, and the mistakes and warnings found so far.
///
/// After a mistake the default takes the place of the value, so that the rest is judged too.
pub(crate) struct Layers {
    /// Flags and environment, then the file, then the defaults of a subcommand. The first that has a setting wins.
    pub(super) written: [Written; 3],
    pub(super) mistakes: Mistakes,
    /// What is allowed and probably not meant, one line each.
    pub(super) warnings: Vec<String>,
}

impl Layers {
    /// The value of a setting: what is written, or else the default.
    pub(super) fn value<T>(&mut self, key: &Key<T>) -> T {
        self.option(key).unwrap_or_else(|| key.default_value())
    }

    /// The value of a setting, if it is written and valid.
    pub(super) fn option<T, D: DefaultText>(&mut self, key: &Key<T, D>) -> Option<T> {
        let (written, text) =
            self.written.iter().find_map(|written| written.get(key).map(|text| (written, text)))?;
        match key.read(text) {
            Ok(value) => Some(value),
            Err(why) => {
                let subject = written.subject(key);
                self.mistakes.add(&subject, &why);
                None
            }
        }
    }

    /// Whether a setting is written.
    pub(super) fn has<T, D>(&self, key: &Key<T, D>) -> bool {
        self.written.iter().any(|written| written.get(key).is_some())
    }

    /// Adds a mistake about a setting, without its place: for rules that involve several settings.
    pub(super) fn refuse(&mut self, key: &dyn AnyKey, why: &str) {
        self.mistakes.add(key.about().env, why);
    }

    /// Adds a mistake about what is written of a setting, with its place.
    pub(super) fn refuse_written<T, D: DefaultText>(&mut self, key: &Key<T, D>, why: &str) {
        let written = self.written.iter().find(|written| written.get(key).is_some());
        let subject = written.map_or_else(|| key.env.to_owned(), |written| written.subject(key));
        self.mistakes.add(&subject, why);
    }

    /// Whether there is a mistake about anything whose subject begins with this word.
    pub(super) fn any_is_wrong_of(&self, noun: &str) -> bool {
        self.mistakes.to_string().lines().any(|line| line.starts_with(noun))
    }

    /// Whether there is a mistake about one of these settings.
    pub(super) fn any_is_wrong(&self, keys: &[&dyn AnyKey]) -> bool {
        keys.iter().any(|key| self.mistakes.concern(key.about().env))
    }
}
