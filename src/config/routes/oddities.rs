//! `empty_segments`, `encoded_slash` and `path_parameters` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::{EmptySegments, Kept, Oddities};
use crate::config::value::choice;
use crate::config::written::WrittenRoute;

/// What becomes of a path with `//`.
pub(super) const EMPTY_SEGMENTS: RouteKey = RouteKey {
    name: "empty_segments",
    default: "`EMPTY_SEGMENTS`",
    help: "`refuse` or `merge`, as `EMPTY_SEGMENTS`, for paths that this route has with one slash.",
};

/// What becomes of a path with `%2F`.
pub(super) const ENCODED_SLASH: RouteKey = RouteKey {
    name: "encoded_slash",
    default: "`refuse`",
    help: "`refuse`: a path with `%2F` is 400. `keep`: it is matched and forwarded as it is, a `%2F` being a part of \
           its segment. For a service that reads it so ([odd paths](#odd-paths)).",
};

/// What becomes of a path with parameters.
pub(super) const PATH_PARAMETERS: RouteKey = RouteKey {
    name: "path_parameters",
    default: "`refuse`",
    help: "`refuse`: a path with `;` or `%3B` is 400. `keep`: it is matched and forwarded as it is, if it has the same \
           route without what follows them ([odd paths](#odd-paths)).",
};

/// Which oddities of a path the route takes. `default`: what becomes of `//` elsewhere.
pub(super) fn taken(route: &WrittenRoute, default: EmptySegments, report: &mut Report<'_>) -> Oddities {
    let empty = EMPTY_SEGMENTS.read(route.empty_segments.as_deref(), choice, report).unwrap_or(default);
    let slash = ENCODED_SLASH.read(route.encoded_slash.as_deref(), choice, report);
    let parameters = PATH_PARAMETERS.read(route.path_parameters.as_deref(), choice, report);
    Oddities {
        empty_segments: empty == EmptySegments::Merge,
        encoded_slash: slash == Some(Kept::Keep),
        parameters: parameters == Some(Kept::Keep),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lowered_route, mistake};
    use super::*;
    use crate::config::testing::lowered_toml;

    #[test]
    fn each_key_has_its_meaning() {
        assert_eq!(lowered_route("").oddities, Oddities::default());
        let all =
            lowered_route("empty_segments = 'merge'\nencoded_slash = 'keep'\npath_parameters = 'keep'\n");
        let expected = Oddities { empty_segments: true, encoded_slash: true, parameters: true };
        assert_eq!(all.oddities, expected);
        let none = lowered_route("encoded_slash = 'refuse'\npath_parameters = 'refuse'\n");
        assert_eq!(none.oddities, Oddities::default());
    }

    #[test]
    fn a_route_has_what_the_gateway_has_unless_it_says_otherwise() {
        let file = "empty_segments = 'merge'\n[upstreams.a]\nurl = 'http://a'\n\
                    [[route]]\nname = 'x'\npaths = ['/x']\nupstream = 'a'\n\
                    [[route]]\nname = 'y'\npaths = ['/y']\nupstream = 'a'\nempty_segments = 'refuse'\n";
        let config = lowered_toml(file).unwrap_or_else(|wrong| panic!("{wrong}")).config;
        let merges: Vec<bool> = config.routes.iter().map(|route| route.oddities.empty_segments).collect();
        assert_eq!(merges, [true, false]);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_place() {
        for (keys, why) in [
            ("empty_segments = 'keep'", "empty_segments \"keep\" is neither refuse nor merge"),
            ("encoded_slash = 'merge'", "encoded_slash \"merge\" is neither refuse nor keep"),
            ("path_parameters = true", "path_parameters \"true\" is neither refuse nor keep"),
        ] {
            let told = mistake(&format!("{keys}\n"));
            assert!(told.starts_with("route \"shop\" (gateway.toml:3): ") && told.contains(why), "{told}");
        }
    }
}
