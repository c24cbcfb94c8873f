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
           address.",
};

/// The protocol that a route carries.
pub(super) const KIND: RouteKey = RouteKey {
    name: "kind",
    default: "`http`",
    help: "`http` or `websocket`. A WebSocket route accepts GET only.",
};

pub(super) fn access(route: &WrittenRoute, report: &mut Report<'_>) -> Access {
    ACCESS.read(route.access.as_deref(), choice, report).unwrap_or(Access::Protected)
}

pub(super) fn kind(route: &WrittenRoute, report: &mut Report<'_>) -> RouteKind {
    KIND.read(route.kind.as_deref(), choice, report).unwrap_or(RouteKind::Http)
}
