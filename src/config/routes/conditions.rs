//! `headers` of a route, and the warnings about what a client gets past by sending or leaving out fields.

use super::fields;
use super::hosts::lets_more_through;
use super::key::RouteKey;
use super::paths::covers;
use super::report::Report;
use crate::config::meaning::{FieldCondition, Route};
use crate::config::value::{Parsed, quoted};
use crate::config::written::WrittenRoute;
use crate::config::written_condition::WrittenCondition;
use crate::limits::{ROUTE_CONDITION_BYTES_MAX, ROUTE_CONDITIONS_MAX};

/// The fields that a request must have.
pub(super) const HEADERS: RouteKey = RouteKey {
    name: "headers",
    default: "any",
    help: "The fields that a request must have for this route to take it, up to 8: a table of name and value, or \
           `true` for any value. [Which route wins](#fields-of-a-request).",
};

pub(super) fn conditions(route: &WrittenRoute, report: &mut Report<'_>) -> Vec<FieldCondition> {
    let Some(written) = &route.headers else { return Vec::new() };
    if written.is_empty() {
        report.add("headers is empty (leave it out for any request)");
    }
    if written.len() > ROUTE_CONDITIONS_MAX {
        report.add(&format!("headers: there are {}, over {ROUTE_CONDITIONS_MAX}", written.len()));
    }
    let mut conditions: Vec<FieldCondition> = Vec::new();
    for (name, wanted) in written {
        match condition(name, wanted) {
            Ok(condition) if conditions.iter().any(|known| known.name == condition.name) => {
                report.add(&format!("headers names {} twice", condition.name));
            }
            Ok(condition) => conditions.push(condition),
            Err(why) => report.add(&format!("headers {}: {why}", quoted(name))),
        }
    }
    conditions
}

fn condition(name: &str, wanted: &WrittenCondition) -> Parsed<FieldCondition> {
    let name = fields::name(name)?;
    let WrittenCondition::Value(value) = wanted else { return Ok(FieldCondition { name, value: None }) };
    fields::value(value, ROUTE_CONDITION_BYTES_MAX)?;
    Ok(FieldCondition { name, value: Some(value.clone()) })
}

/// The warnings about routes with conditions: a client sends the fields that it likes.
pub(super) fn open(routes: &[Route]) -> Vec<String> {
    let conditional = routes.iter().filter(|route| !route.conditions.is_empty());
    conditional.flat_map(|open| weaker(routes, open).into_iter().chain(without(routes, open))).collect()
}

/// The fields are all that a client needs to get past another route.
fn weaker(routes: &[Route], open: &Route) -> Option<String> {
    let strict = routes
        .iter()
        .filter(|strict| strict.conditions.len() < open.conditions.len() && open.shares_a_host_with(strict));
    let shared = |strict: &Route| open.paths.iter().find(|path| strict.paths.contains(path)).cloned();
    strict.filter(|strict| lets_more_through(open, strict)).find_map(|strict| {
        Some(format!(
            "{}: with its headers a client gets {} of {} from the same upstream, with what that requires and limits \
             left out",
            open.subject(),
            shared(strict)?,
            strict.subject()
        ))
    })
}

/// A request without the fields does not go on to a wider path.
fn without(routes: &[Route], open: &Route) -> Option<String> {
    let others =
        || routes.iter().filter(|other| other.conditions.is_empty() && other.shares_a_host_with(open));
    let alone = |path: &&String| !others().any(|other| other.paths.contains(path));
    open.paths.iter().filter(alone).find_map(|path| {
        let wider = others().find(|other| other.paths.iter().any(|wide| covers(wide, path)))?;
        Some(format!(
            "{}: a request of {path} without its headers has no route, and does not go on to {}",
            open.subject(),
            wider.subject()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lowered_route, mistake};
    use crate::config::testing::lowered_toml;
    use crate::limits::ROUTE_CONDITION_BYTES_MAX;

    #[test]
    fn a_condition_is_a_value_or_that_the_field_is_there() {
        let route = lowered_route("headers = { X-Api-Version = 2, x-beta = true, x-c = 'a b' }\n");
        let shown: Vec<String> = route.conditions.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["x-api-version: 2", "x-beta", "x-c: a b"]);
        assert!(lowered_route("").conditions.is_empty());
    }

    #[test]
    fn a_mistake_is_named() {
        let many: Vec<String> = (0..9).map(|n| format!("x-{n} = true")).collect();
        for (table, why) in [
            ("", "headers is empty"),
            ("X-A = true, x-a = '1'", "headers names x-a twice"),
            ("x_a = true", "headers \"x_a\": is not a name of up to 64"),
            ("x-a = ''", "headers \"x-a\": its value is not 1 to 256 bytes"),
            (&format!("x-a = '{}'", "a".repeat(ROUTE_CONDITION_BYTES_MAX + 1)), "is not 1 to 256 bytes"),
            ("x-a = ' 1'", "headers \"x-a\": its value is not visible ASCII"),
            ("x-a = false", "true (the field is there), or its value"),
            ("x-a = ['1', '2']", "true (the field is there), or its value"),
            (&many.join(", "), "headers: there are 9, over 8"),
        ] {
            let told = mistake(&format!("headers = {{ {table} }}\n"));
            assert!(told.contains(why) && told.lines().count() == 1, "{table}: {told}");
            assert!(told.contains("gateway.toml:"), "{told}");
        }
    }

    #[test]
    fn warns_of_what_fields_let_through_and_of_what_they_leave_without_a_route() {
        let warnings = |open: &str, strict: &str| {
            let text = format!(
                "[upstreams.a]\nurl = 'http://a'\n[upstreams.b]\nurl = 'http://b'\n\
                 [[route]]\nname = 'beta'\nheaders = {{ x-beta = true }}\n{open}\n\
                 [[route]]\nname = 'all'\nupstream = 'a'\n{strict}\n"
            );
            let lowered = lowered_toml(&text).unwrap_or_else(|wrong| panic!("{wrong}"));
            let ours = |warning: &String| warning.contains("its headers");
            lowered.warnings.into_iter().filter(ours).collect::<Vec<_>>()
        };
        let open = "paths = ['/x']\naccess = 'public'\nupstream";
        let told = warnings(&format!("{open} = 'a'"), "paths = ['/x']");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("a client gets /x of route \"all\" (gateway.toml:11)"), "{told:?}");
        assert_eq!(warnings(&format!("{open} = 'b'"), "paths = ['/x']"), Vec::<String>::new());
        assert_eq!(warnings("paths = ['/x']\nupstream = 'a'", "paths = ['/x']"), Vec::<String>::new());
        let told = warnings("paths = ['/x']\nupstream = 'a'", "paths = ['/*']");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("of /x without its headers has no route"), "{told:?}");
        assert_eq!(warnings("paths = ['/x']\nupstream = 'a'", "paths = ['/y']"), Vec::<String>::new());
    }
}
