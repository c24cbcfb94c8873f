//! `paths` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::value::{Parsed, quoted};
use crate::config::written::WrittenRoute;
use crate::limits::REQUEST_LINE_BYTES_DEFAULT;

/// The path patterns of a route.
pub(super) const PATHS: RouteKey = RouteKey {
    name: "paths",
    default: "required",
    help: "Patterns: `/exact`, `/with/{parameter}`, `/below/*` (every path below, and `/below/` itself). A \
           `{parameter}` cannot be where another path has its `*`.",
};

pub(super) fn paths(route: &WrittenRoute, report: &mut Report<'_>) -> Vec<String> {
    if route.paths.is_empty() {
        report.add("paths is empty");
    }
    let mut paths = Vec::new();
    for written in &route.paths {
        match judge(written) {
            Ok(()) if paths.contains(written) => {
                report.add(&format!("paths names {} twice", quoted(written)))
            }
            Ok(()) => paths.push(written.clone()),
            Err(why) => report.add(&format!("path {why}")),
        }
    }
    paths
}

/// Checks that a canonical path can match a pattern.
pub(super) fn judge(text: &str) -> Parsed<()> {
    let wrong = |why: &str| Err(format!("{} {why}", quoted(text)));
    let Some(rest) = text.strip_prefix('/') else {
        return wrong("does not start with /");
    };
    if text.len() > REQUEST_LINE_BYTES_DEFAULT {
        return wrong("is longer than a request line");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("has a byte outside of visible ASCII (percent-encode it)");
    }
    if text.contains(['?', '#', '\\', ';', '"', '<', '>', '^', '`', '|']) {
        return wrong("has a character that no path matches");
    }
    let count = rest.split('/').count();
    for (index, segment) in rest.split('/').enumerate() {
        let position = if index + 1 == count { Position::Last } else { Position::Before };
        if let Some(why) = fault(segment, position) {
            return wrong(why);
        }
    }
    Ok(())
}

/// Where a segment is in its pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Before,
    Last,
}

/// What is wrong with a segment.
fn fault(segment: &str, position: Position) -> Option<&'static str> {
    match (segment, position) {
        ("" | "*", Position::Last) => None,
        ("", Position::Before) => Some("has an empty segment"),
        ("*", Position::Before) => Some("has a * that is not at its end"),
        ("." | "..", _) => Some("has a dot segment"),
        _ if segment.contains('*') => Some("has a * that is not a whole segment"),
        _ if segment.contains(['{', '}']) && !is_parameter(segment) => {
            Some("has a {parameter} that is not a whole segment")
        }
        _ => None,
    }
}

/// Whether a segment is `{name}`.
fn is_parameter(segment: &str) -> bool {
    let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_patterns_that_a_canonical_path_can_match() {
        for text in ["/", "/a", "/a/", "/a/{id}", "/a/{id}/b", "/a/*", "/*", "/a%20b", "/a.b", "/~a"] {
            assert_eq!(judge(text), Ok(()), "{text}");
        }
        for text in [
            "", "a", "//", "/a//b", "/./a", "/a/..", "/*/a", "/a*", "/{id", "/a{id}", "/{}", "/{a-b}",
            "/a?b", "/a#b", "/a b", "/é", "/a\\b", "/a;b", "/{*rest}",
        ] {
            assert!(judge(text).is_err(), "{text}");
        }
    }
}
