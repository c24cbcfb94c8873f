//! The definition of a key of a `[[route]]` or a `[[route.limit]]`.

use super::report::Report;
use crate::config::value::Parsed;

/// One key of a `[[route]]` or a `[[route.limit]]`, as the manual lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteKey {
    /// Its name in the file.
    pub name: &'static str,
    /// What is in force without it, in the words of the manual.
    pub default: &'static str,
    /// Its meaning, in whole sentences.
    pub help: &'static str,
}

impl RouteKey {
    /// The value of a text. `None`: the key is absent, or its text is wrong, which goes to the report.
    pub(super) fn read<T>(
        &self,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Parsed<T>,
        report: &mut Report<'_>,
    ) -> Option<T> {
        match parse(text?) {
            Ok(value) => Some(value),
            Err(why) => {
                report.add(&format!("{} {why}", self.name));
                None
            }
        }
    }
}
