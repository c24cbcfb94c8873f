//! `body_max_bytes` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::keys::clients::BODY_BYTES_MAX;
use crate::config::value::size;
use crate::config::written::WrittenRoute;

/// The largest request body of a route.
pub(super) const BODY_MAX_BYTES: RouteKey = RouteKey {
    name: "body_max_bytes",
    default: "that of the gateway",
    help: "The largest request body of this route, as `BODY_MAX_BYTES`.",
};

pub(super) fn bytes_max(route: &WrittenRoute, report: &mut Report<'_>) -> Option<u64> {
    BODY_MAX_BYTES.read(route.body_max_bytes.as_deref(), |text| size(text, 0, BODY_BYTES_MAX), report)
}
