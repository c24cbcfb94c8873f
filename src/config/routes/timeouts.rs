//! `head_timeout`, `idle_timeout` and `body_timeout` of a route.

use std::time::Duration;

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::RouteTimeouts;
use crate::config::value::{DAY, Parsed, TICK, duration};
use crate::config::written::WrittenRoute;

/// From the end of a request to the head of its response.
pub(super) const HEAD_TIMEOUT: RouteKey = RouteKey {
    name: "head_timeout",
    default: "that of the upstream",
    help: "From the end of a request to the head of its response; `0`: no timeout. For \
           [long polls](upstreams.md#streams-and-long-polls).",
};

/// Between bytes of a response.
pub(super) const IDLE_TIMEOUT: RouteKey = RouteKey {
    name: "idle_timeout",
    default: "that of the upstream",
    help: "Between bytes of a response body, and of a request that the upstream does not read; `0`: no timeout. For \
           [streams](upstreams.md#streams-and-long-polls) that may be silent.",
};

/// How long the client's side may make no progress.
pub(super) const BODY_TIMEOUT: RouteKey = RouteKey {
    name: "body_timeout",
    default: "`BODY_TIMEOUT`",
    help: "How long the client may make no progress with its body, or with reading the response; `0`: no timeout, and \
           no `BODY_MIN_RATE` either.",
};

pub(super) fn timeouts(route: &WrittenRoute, report: &mut Report<'_>) -> RouteTimeouts {
    RouteTimeouts {
        head: HEAD_TIMEOUT.read(route.head_timeout.as_deref(), timeout, report),
        idle: IDLE_TIMEOUT.read(route.idle_timeout.as_deref(), timeout, report),
        body: BODY_TIMEOUT.read(route.body_timeout.as_deref(), timeout, report),
    }
}

/// Reads a timeout; 0 is none.
fn timeout(text: &str) -> Parsed<Duration> {
    match duration(text, Duration::ZERO, DAY)? {
        Duration::ZERO => Ok(Duration::ZERO),
        _ => duration(text, TICK, DAY).map_err(|why| format!("{why}, nor 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{lowered_route, mistake};
    use super::*;

    #[test]
    fn each_key_has_its_meaning() {
        assert_eq!(lowered_route("").timeouts, RouteTimeouts::default());
        let own = lowered_route("head_timeout = '2m'\nidle_timeout = 0\nbody_timeout = '50ms'\n").timeouts;
        let (head, idle, body) = (Duration::from_secs(120), Duration::ZERO, Duration::from_millis(50));
        assert_eq!(own, RouteTimeouts { head: Some(head), idle: Some(idle), body: Some(body) });
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_place() {
        for (keys, why) in [
            ("head_timeout = 'never'", "head_timeout \"never\" is not a duration"),
            ("idle_timeout = '49ms'", "idle_timeout \"49ms\" is not from 50ms to 24h, nor 0"),
            ("idle_timeout = '25h'", "idle_timeout \"25h\" is not from 0s to 24h"),
            ("body_timeout = 10", "body_timeout \"10\" is not a duration"),
        ] {
            let told = mistake(&format!("{keys}\n"));
            assert!(told.starts_with("route \"shop\" (gateway.toml:3): ") && told.contains(why), "{told}");
        }
    }
}
