//! `forward_authorization`, `forward_method_override` and `forward_trailers` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::value::choice;
use crate::config::written::WrittenRoute;

/// Whether the client's `Authorization` goes to the upstream.
pub(super) const FORWARD_AUTHORIZATION: RouteKey = RouteKey {
    name: "forward_authorization",
    default: "`true`",
    help: "The client's `Authorization` goes to the upstream.",
};

/// Whether the fields that name another method go to the upstream.
pub(super) const FORWARD_METHOD_OVERRIDE: RouteKey = RouteKey {
    name: "forward_method_override",
    default: "`false`",
    help: "`X-HTTP-Method-Override`, `X-HTTP-Method` and `X-Method-Override` go to the upstream. The route, its \
           methods and its limits are those of the method in the request line.",
};

/// Whether trailer fields pass.
pub(super) const FORWARD_TRAILERS: RouteKey = RouteKey {
    name: "forward_trailers",
    default: "`false`",
    help: "Trailer fields pass in both directions.",
};

pub(super) fn authorization(route: &WrittenRoute, report: &mut Report<'_>) -> bool {
    FORWARD_AUTHORIZATION.read(route.forward_authorization.as_deref(), choice, report).unwrap_or(true)
}

pub(super) fn method_override(route: &WrittenRoute, report: &mut Report<'_>) -> bool {
    FORWARD_METHOD_OVERRIDE.read(route.forward_method_override.as_deref(), choice, report).unwrap_or(false)
}

pub(super) fn trailers(route: &WrittenRoute, report: &mut Report<'_>) -> bool {
    FORWARD_TRAILERS.read(route.forward_trailers.as_deref(), choice, report).unwrap_or(false)
}
