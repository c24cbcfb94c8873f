//! `access` and `kind` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::{Access, RouteKind};
use crate::config::value::choice;
use crate::config::written::WrittenRoute;

/// Who may use a route.
pub(super) const ACCESS: RouteKey = RouteKey {
    name: "access",
    default: "`protected`",
    help: "`protected`: only clients with a valid token, limited per user. `public`: any client, limited per client \
           address. `optional`: a client with a valid token as on a protected route, one without a token as on a \
           public one; an invalid token is 401.",
};

/// The protocol that a route carries.
pub(super) const KIND: RouteKey = RouteKey {
    name: "kind",
    default: "`http`",
    help: "`http`, `websocket`, or `both`: then each request decides, so a handshake becomes a WebSocket and any other \
           request is forwarded. A WebSocket route accepts GET only.",
};

pub(super) fn access(route: &WrittenRoute, report: &mut Report<'_>) -> Access {
    ACCESS.read(route.access.as_deref(), choice, report).unwrap_or(Access::Protected)
}

pub(super) fn kind(route: &WrittenRoute, report: &mut Report<'_>) -> RouteKind {
    KIND.read(route.kind.as_deref(), choice, report).unwrap_or(RouteKind::Http)
}
