//! The mistakes of one route or upstream.

use crate::config::mistake::Mistakes;
use crate::config::value::quoted;

/// Adds mistakes about one route or upstream.
pub(super) struct Report<'a> {
    /// `route "orders" (gateway.toml:12)`
    subject: String,
    /// The beginning of every mistake: `limit: `, or empty.
    scope: &'static str,
    mistakes: &'a mut Mistakes,
}

impl<'a> Report<'a> {
    /// A report about the `noun` of this name; `place` is file and line, or empty.
    pub(super) fn new(noun: &str, name: &str, place: &str, mistakes: &'a mut Mistakes) -> Self {
        let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
        Self { subject: format!("{noun} {}{place}", quoted(name)), scope: "", mistakes }
    }

    /// A report about a part of the route. Every mistake begins with `scope`.
    pub(super) fn within(&mut self, scope: &'static str) -> Report<'_> {
        Report { subject: self.subject.clone(), scope, mistakes: self.mistakes }
    }

    /// Adds a mistake.
    pub(super) fn add(&mut self, why: &str) {
        self.mistakes.add(&self.subject, &format!("{}{why}", self.scope));
    }
}
