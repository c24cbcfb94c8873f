//! `paths`, `trailing_slash` and `path_case` of a route, and the spellings of a limited path that its limit misses.

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::{PathCase, Route, TrailingSlash};
use crate::config::value::{Parsed, choice, quoted};
use crate::config::written::WrittenRoute;
use crate::limits::{ANY_CASE_PATH_BYTES_MAX, REQUEST_LINE_BYTES_DEFAULT};

/// The path patterns of a route.
pub(super) const PATHS: RouteKey = RouteKey {
    name: "paths",
    default: "required",
    help: "Patterns: `/exact`, `/with/{parameter}`, `/below/*` (every path below, and `/below/` itself). A \
           `{parameter}` cannot be where another path has its `*`.",
};

/// How a slash at the end is matched.
pub(super) const TRAILING_SLASH: RouteKey = RouteKey {
    name: "trailing_slash",
    default: "`exact`",
    help: "`exact`: the paths match as written. `either`: with and without a slash at their end; of `/below/*` also \
           `/below`. For a service that takes both for the same: then access and limits of the route hold for both.",
};

/// How case is matched.
pub(super) const PATH_CASE: RouteKey = RouteKey {
    name: "path_case",
    default: "`exact`",
    help: "`exact`: the case of a path matters. `any`: it does not, for a service that ignores it. Only for paths \
           without `{parameter}` and `*`, up to 256 bytes.",
};

pub(super) fn trailing_slash(route: &WrittenRoute, report: &mut Report<'_>) -> TrailingSlash {
    TRAILING_SLASH.read(route.trailing_slash.as_deref(), choice, report).unwrap_or(TrailingSlash::Exact)
}

pub(super) fn path_case(route: &WrittenRoute, report: &mut Report<'_>) -> PathCase {
    let case = PATH_CASE.read(route.path_case.as_deref(), choice, report).unwrap_or(PathCase::Exact);
    let is_fit = |path: &String| !path.contains(['{', '*']) && path.len() < ANY_CASE_PATH_BYTES_MAX;
    let unfit = route.paths.iter().find(|path| case == PathCase::Any && !is_fit(path));
    let Some(unfit) = unfit else { return case };
    report.add(&format!(
        "path_case \"any\" is for paths without {{parameter}} and *, not for {}",
        quoted(unfit)
    ));
    PathCase::Exact
}

/// The warnings about limited paths: a service often reads `/login/` or `/Login` as `/login`, and where another route
/// to the same upstream takes those, the limit of `/login` does not hold.
pub(super) fn unlimited_spellings(routes: &[Route]) -> Vec<String> {
    let mut warnings = Vec::new();
    for route in routes.iter().filter(|route| !route.limits.is_empty()) {
        for path in route.paths.iter().filter(|path| !path.ends_with('*') && *path != "/") {
            warnings.extend(missed(routes, route, path));
        }
    }
    warnings
}

fn missed(routes: &[Route], limited: &Route, path: &str) -> Option<String> {
    let (slash, case) = (other_slash(path), other_case(path));
    let spellings = [
        (limited.trailing_slash == TrailingSlash::Exact, slash, "trailing_slash = \"either\""),
        (limited.path_case == PathCase::Exact && !path.contains('{'), case, "path_case = \"any\""),
    ];
    let taker = |spelling: &str| {
        let is_same_service =
            |other: &&Route| other.upstreams().any(|one| limited.upstreams().any(|another| one == another));
        let others = routes.iter().filter(|other| other.name != limited.name).filter(is_same_service);
        let others = others.filter(|other| other.shares_a_host_with(limited));
        others
            .filter(|other| other.paths.iter().any(|pattern| covers(pattern, spelling)))
            .map(|other| &other.name)
            .next()
    };
    let missed = spellings.iter().filter(|(is_exact, ..)| *is_exact);
    let missed: Vec<_> =
        missed.filter_map(|(_, spelling, key)| Some((spelling, key, taker(spelling)?))).collect();
    let (_, _, other) = missed.first()?;
    let join = |words: Vec<&str>, with: &str| words.join(with);
    let spelled = join(missed.iter().map(|(spelling, ..)| spelling.as_str()).collect(), " and ");
    let keys = join(missed.iter().map(|(_, key, _)| **key).collect(), ", ");
    Some(format!(
        "route {}: its limit does not hold for {spelled}, which route {} takes to the same upstream ({keys})",
        quoted(&limited.name),
        quoted(other)
    ))
}

fn other_slash(path: &str) -> String {
    path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned)
}

/// The path with the first letter of its last segment in the other case.
fn other_case(path: &str) -> String {
    let mut bytes = path.as_bytes().to_vec();
    let from = path.trim_end_matches('/').rfind('/').unwrap_or_default();
    if let Some(letter) = bytes[from..].iter_mut().find(|byte| byte.is_ascii_alphabetic()) {
        *letter ^= b' ';
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Whether a pattern matches a path, which may be a pattern itself.
pub(super) fn covers(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) | (Some("*"), Some(_)) => return true,
            (Some(segment), Some(actual)) if segment == actual => {}
            (Some(segment), Some(actual)) if segment.starts_with('{') && !actual.is_empty() => {}
            _ => return false,
        }
    }
}

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
    if text.contains(['[', ']', '"', '<', '>', '^', '`', '|']) {
        return wrong("has a character that is percent-encoded in a path (write it so)");
    }
    if text.contains(['?', '#', '\\', ';']) {
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
            "/a?b", "/a#b", "/a b", "/a[0]", "/a|b", "/é", "/a\\b", "/a;b", "/{*rest}",
        ] {
            assert!(judge(text).is_err(), "{text}");
        }
    }

    const SHOP: &str = "[upstreams.a]\nurl = 'http://a'\n[upstreams.b]\nurl = 'http://b'\n\
                        [[route]]\nname = 'rest'\npaths = ['/auth/*', '/x/{y}']\nupstream = 'a'\n";

    fn limited(keys: &str) -> Vec<String> {
        let limit = "[[route.limit]]\nrate = 1\nburst = 1\n";
        let text = format!("{SHOP}[[route]]\nname = 'login'\n{keys}\n{limit}");
        let lowered = crate::config::testing::lowered_toml(&text).unwrap_or_else(|wrong| panic!("{wrong}"));
        lowered.warnings.into_iter().filter(|warning| warning.starts_with("route ")).collect()
    }

    #[test]
    fn warns_of_spellings_that_another_route_takes_past_a_limit() {
        let both = "route \"login\": its limit does not hold for /auth/login/ and /auth/Login, which route \"rest\" \
                    takes to the same upstream (trailing_slash = \"either\", path_case = \"any\")";
        assert_eq!(limited("upstream = 'a'\npaths = ['/auth/login']"), [both]);
        let case = limited("upstream = 'a'\npaths = ['/auth/login']\ntrailing_slash = 'either'");
        assert!(case[0].ends_with("(path_case = \"any\")") && !case[0].contains("login/"), "{case:?}");
        let other = limited("upstream = 'a'\npaths = ['/x/in']");
        assert!(other[0].ends_with("(path_case = \"any\")"), "{other:?}");
        for keys in [
            "upstream = 'a'\npaths = ['/auth/login']\ntrailing_slash = 'either'\npath_case = 'any'",
            "upstream = 'a'\npaths = ['/login', '/login/*', '/']",
        ] {
            assert_eq!(limited(keys).len(), 0, "{keys}");
        }
        let elsewhere = limited("upstream = 'b'\npaths = ['/auth/login']");
        assert_eq!(elsewhere.len(), 0, "{elsewhere:?}");
    }

    #[test]
    fn any_case_is_for_paths_without_parameters() {
        use super::super::testing::{lowered_route, mistake};
        let route = lowered_route("path_case = 'any'\ntrailing_slash = 'either'\n");
        assert_eq!((route.path_case, route.trailing_slash), (PathCase::Any, TrailingSlash::Either));
        assert!(mistake("path_case = 'some'\n").contains("path_case"));
        assert!(mistake("trailing_slash = 'some'\n").contains("trailing_slash"));
        let route = |path: &str| WrittenRoute {
            paths: vec![path.to_owned()],
            path_case: Some("any".into()),
            ..WrittenRoute::default()
        };
        for (path, is_fit) in
            [("/a", true), ("/a/*", false), ("/{a}", false), (&format!("/{}", "a".repeat(256)), false)]
        {
            let mut mistakes = crate::config::mistake::Mistakes::default();
            path_case(
                &route(path),
                &mut Report::new("route", "x", ("", &crate::config::Wrong::default()), &mut mistakes),
            );
            assert_eq!(mistakes.count() == 0, is_fit, "{path}");
        }
    }
}
