//! `forward_authorization`, `forward_method_override`, `forward_trailers` and `host` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::HostSent;
use crate::config::value::{Parsed, choice, host_and_port, quoted};
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

/// Which `Host` its upstream gets.
pub(super) const HOST: RouteKey = RouteKey {
    name: "host",
    default: "that of the upstream",
    help: "Which `Host` the upstream gets: `upstream` (its own), `client` (the one that the client has asked for), or \
           a name.",
};

pub(super) fn host(route: &WrittenRoute, report: &mut Report<'_>) -> Option<HostSent> {
    HOST.read(route.host.as_deref(), host_sent, report)
}

/// Reads `client`, `upstream`, or a host with an optional port.
pub(super) fn host_sent(text: &str) -> Parsed<HostSent> {
    match text {
        "client" => Ok(HostSent::Client),
        "upstream" => Ok(HostSent::Upstream),
        name if host_and_port(name).is_some() => Ok(HostSent::Name(name.to_ascii_lowercase())),
        _ => Err(format!("{} is neither client, upstream, a host nor a host and a port", quoted(text))),
    }
}

pub(super) fn authorization(route: &WrittenRoute, report: &mut Report<'_>) -> bool {
    FORWARD_AUTHORIZATION.read(route.forward_authorization.as_deref(), choice, report).unwrap_or(true)
}

pub(super) fn method_override(route: &WrittenRoute, report: &mut Report<'_>) -> bool {
    FORWARD_METHOD_OVERRIDE.read(route.forward_method_override.as_deref(), choice, report).unwrap_or(false)
}

pub(super) fn trailers(route: &WrittenRoute, report: &mut Report<'_>) -> bool {
    FORWARD_TRAILERS.read(route.forward_trailers.as_deref(), choice, report).unwrap_or(false)
}
