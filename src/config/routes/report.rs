//! The mistakes of one route or upstream.

use crate::config::mistake::{Mistakes, subject};
use crate::config::wrong::Wrong;

/// Adds mistakes about one route or upstream.
pub(super) struct Report<'a> {
    /// `route "orders" (gateway.toml:12)`
    subject: String,
    /// The beginning of every mistake: `limit: `, or empty.
    scope: &'static str,
    /// What of it is wrong by its form.
    wrong: &'a Wrong,
    mistakes: &'a mut Mistakes,
}

impl<'a> Report<'a> {
    /// A report about the `noun` of this name; `place` is file and line.
    pub(super) fn new(
        noun: &str,
        name: &str,
        (place, wrong): (&str, &'a Wrong),
        mistakes: &'a mut Mistakes,
    ) -> Self {
        Self { subject: subject(noun, Some(name), place), scope: "", wrong, mistakes }
    }

    /// A report about a part of the route. Every mistake begins with `scope`.
    pub(super) fn within(&mut self, scope: &'static str) -> Report<'_> {
        Report { subject: self.subject.clone(), scope, wrong: self.wrong, mistakes: self.mistakes }
    }

    /// Adds a mistake, unless it involves what is wrong by its form.
    pub(super) fn add(&mut self, why: &str) {
        self.mistakes.add_beside(self.wrong, &self.subject, &format!("{}{why}", self.scope));
    }
}
