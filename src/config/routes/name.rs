//! The names of routes and upstreams.

use super::key::RouteKey;
use super::report::Report;
use crate::config::value::{Parsed, quoted};
use crate::limits::NAME_BYTES_MAX;

/// The name of a route.
pub(super) const NAME: RouteKey = RouteKey {
    name: "name",
    default: "required",
    help: "Its name in logs and metrics. No two routes have the same name. 1 to 64 letters, digits, `-`, `_`, `.`, as \
           for upstreams.",
};

/// Checks the name of a route or an upstream.
pub(super) fn check(name: &str, report: &mut Report<'_>) {
    if let Err(why) = judge(name) {
        report.add(&format!("its name {why}"));
    }
}

/// Whether a name fits logs and the labels of metrics.
pub(crate) fn judge(name: &str) -> Parsed<()> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_plain {
        return Err(format!(
            "{} is not 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' or '.'",
            quoted(name)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_that_fit_a_label() {
        assert!(["a", "A-1_b.c", &"x".repeat(64)].iter().all(|name| judge(name).is_ok()));
        assert!(["", "b c", "é", "a\"", &"x".repeat(65)].iter().all(|name| judge(name).is_err()));
    }
}
