//! `strip_prefix` and `add_prefix` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::Prefixes;
use crate::config::value::{Parsed, quoted};
use crate::config::written::WrittenRoute;
use crate::limits::PREFIX_BYTES_MAX;

/// What is taken from the beginning of the path that goes upstream.
pub(super) const STRIP_PREFIX: RouteKey = RouteKey {
    name: "strip_prefix",
    default: "none",
    help: "Whole segments that the path loses on its way upstream: with `/api`, `/api/x` becomes `/x`, and `/api` \
           becomes `/`. Every path of the route has to begin with it.",
};

/// What is put at the beginning of the path that goes upstream.
pub(super) const ADD_PREFIX: RouteKey = RouteKey {
    name: "add_prefix",
    default: "none",
    help: "Segments that the path gets at its beginning on its way upstream, after `strip_prefix`. Routes, limits \
           and logs know the path of the client.",
};

pub(super) fn prefixes(route: &WrittenRoute, report: &mut Report<'_>) -> Prefixes {
    let strip = STRIP_PREFIX.read(route.strip_prefix.as_deref(), prefix, report).unwrap_or_default();
    let add = ADD_PREFIX.read(route.add_prefix.as_deref(), prefix, report).unwrap_or_default();
    let has_it = |path: &&String| {
        path.strip_prefix(strip.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if let Some(other) = route.paths.iter().find(|path| !has_it(path)) {
        report.add(&format!(
            "strip_prefix {} is not the beginning of {}, in whole segments",
            quoted(&strip),
            quoted(other)
        ));
    }
    Prefixes { strip, add }
}

/// Reads a prefix of canonical paths. There is no escape in it, so it has one spelling.
fn prefix(text: &str) -> Parsed<String> {
    let wrong = |why: &str| Err(format!("{} {why}", quoted(text)));
    let Some(segments) = text.strip_prefix('/') else { return wrong("does not begin with /") };
    if text.ends_with('/') {
        return wrong("ends with / (leave it out)");
    }
    if text.len() > PREFIX_BYTES_MAX {
        return Err(format!("is over {PREFIX_BYTES_MAX} bytes"));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@/".contains(&byte);
    if !text.bytes().all(is_plain) {
        return wrong("has a character other than letters, digits and -._~!$&'()+,=:@");
    }
    match segments.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        true => wrong("has an empty or a dot segment"),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lowered_route, mistake};
    use super::*;

    #[test]
    fn prefixes_are_whole_segments() {
        let route = lowered_route("strip_prefix = '/shop'\nadd_prefix = '/v2/@x'\n");
        assert_eq!(route.prefixes, Prefixes { strip: "/shop".into(), add: "/v2/@x".into() });
        assert_eq!(lowered_route("").prefixes, Prefixes::default());
    }

    #[test]
    fn a_mistake_is_named() {
        for (keys, why) in [
            ("strip_prefix = '/sh'", "is not the beginning of \"/shop\", in whole segments"),
            ("strip_prefix = '/shop/x'", "is not the beginning"),
            ("strip_prefix = 'shop'", "strip_prefix \"shop\" does not begin with /"),
            ("strip_prefix = '/'", "ends with /"),
            ("strip_prefix = ''", "does not begin with /"),
            ("add_prefix = '/v2/'", "ends with /"),
            ("add_prefix = '//host'", "empty or a dot segment"),
            ("add_prefix = '/a/../b'", "empty or a dot segment"),
            ("add_prefix = '/a%2e'", "has a character"),
            ("add_prefix = '/a?b'", "has a character"),
            ("add_prefix = '/{id}'", "has a character"),
            ("add_prefix = '/a b'", "has a character"),
            ("add_prefix = '/a;b'", "has a character"),
        ] {
            let told = mistake(&format!("{keys}\n"));
            assert!(told.contains(why) && told.lines().count() == 1, "{keys}: {told}");
        }
        assert!(mistake(&format!("add_prefix = '/{}'\n", "a".repeat(PREFIX_BYTES_MAX))).contains("over 256"));
    }
}
