//! `limit_global` and the `[[route.limit]]` of a route.

use super::key::RouteKey;
use super::report::Report;
use crate::config::meaning::{Access, Per, Rate, RouteLimit};
use crate::config::value::{burst, choice, count, rate};
use crate::config::written::{WrittenLimit, WrittenRoute};
use crate::limits::{BURST_MAX, ROUTE_LIMITS_MAX};

/// Whether the requests of a route also draw from the client's global bucket.
pub(super) const LIMIT_GLOBAL: RouteKey = RouteKey {
    name: "limit_global",
    default: "`true`",
    help: "Its requests also draw from the client's global bucket (`RATE_LIMIT_RPS`, `RATE_LIMIT_BURST`).",
};

/// The limits of a route.
pub(super) const LIMIT: RouteKey = RouteKey {
    name: "[[route.limit]]",
    default: "none",
    help: "Up to four limits of this route, in addition to the global one.",
};

/// Refill rate of a bucket.
pub(super) const RATE: RouteKey =
    RouteKey { name: "rate", default: "required", help: "Tokens per second, as `RATE_LIMIT_RPS`." };

/// Capacity of a bucket.
pub(super) const BURST: RouteKey =
    RouteKey { name: "burst", default: "required", help: "Tokens in a full bucket, as `RATE_LIMIT_BURST`." };

/// Which requests share a bucket.
pub(super) const PER: RouteKey = RouteKey {
    name: "per",
    default: "`user`, on a public route `ip`",
    help: "Which requests share a bucket: those of one verified user (without one, of one client \
           address), those of one client address, or (`none`) all.",
};

/// Tokens that one request takes.
pub(super) const COST: RouteKey =
    RouteKey { name: "cost", default: "`1`", help: "Tokens that one request takes, up to `burst`." };

pub(super) fn is_limited_globally(route: &WrittenRoute, report: &mut Report<'_>) -> bool {
    LIMIT_GLOBAL.read(route.limit_global.as_deref(), choice, report).unwrap_or(true)
}

pub(super) fn limits(route: &WrittenRoute, access: Access, report: &mut Report<'_>) -> Vec<RouteLimit> {
    let mut report = report.within("limit: ");
    if route.limit.len() > ROUTE_LIMITS_MAX {
        report.add(&format!("there are {}, over {ROUTE_LIMITS_MAX}", route.limit.len()));
    }
    route.limit.iter().map(|written| limit(written, access, &mut report)).collect()
}

/// One limit. A harmless value takes the place of a wrong one.
fn limit(written: &WrittenLimit, access: Access, report: &mut Report<'_>) -> RouteLimit {
    let rate = RATE.read(required(&RATE, &written.rate, report), rate, report);
    let burst = BURST.read(required(&BURST, &written.burst, report), burst, report).unwrap_or(BURST_MAX);
    let per = PER.read(written.per.as_deref(), choice, report).unwrap_or(default_per(access));
    if per == Per::User && access == Access::Public {
        report.add("per \"user\" needs a verified user, and a public route has none");
    }
    let cost = COST.read(written.cost.as_deref(), |text| count(text, 1, burst), report).unwrap_or(1);
    RouteLimit { rate: rate.unwrap_or(Rate::from_milli(0)), burst, per, cost }
}

fn default_per(access: Access) -> Per {
    match access {
        Access::Public => Per::Ip,
        Access::Protected | Access::Optional => Per::User,
    }
}

/// The text of a key. It is a mistake if there is none.
fn required<'t>(key: &RouteKey, text: &'t Option<String>, report: &mut Report<'_>) -> Option<&'t str> {
    if text.is_none() {
        report.add(&format!("has no key `{}`", key.name));
    }
    text.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::routes::testing::{lowered_route, mistake};

    #[test]
    fn a_route_has_limits_of_its_own() {
        let limits = |text: &str| lowered_route(text).limits;
        let own = |milli, burst, per, cost| RouteLimit { rate: Rate::from_milli(milli), burst, per, cost };
        assert_eq!(limits(""), []);
        assert_eq!(
            limits(
                "[[route.limit]]\nrate = 2.5\nburst = 5\n\
                 [[route.limit]]\nrate = '0'\nburst = 9\nper = 'none'\ncost = 9\n"
            ),
            [own(2500, 5, Per::User, 1), own(0, 9, Per::None, 9)]
        );
        let public = "access = 'public'\n[[route.limit]]\nrate = 1\nburst = 5\n";
        assert_eq!(limits(public), [own(1000, 5, Per::Ip, 1)]);
        assert!(lowered_route("").is_limited_globally);
        assert!(!lowered_route("limit_global = false\n").is_limited_globally);
    }

    #[test]
    fn tells_every_mistake_of_a_limit() {
        let limit = |text: &str| format!("[[route.limit]]\n{text}\n");
        for (text, told) in [
            (limit("burst = 1"), "limit: has no key `rate`"),
            (limit("rate = 1"), "limit: has no key `burst`"),
            (limit("rate = 1\nburst = 0"), "limit: burst \"0\" is not a whole number from 1 to 1000000"),
            (limit("rate = 1\nburst = 3\ncost = 4"), "limit: cost \"4\" is not a whole number from 1 to 3"),
            (limit("rate = 1\nburst = 3\nper = 'all'"), "limit: per \"all\" is none of user, ip, none"),
            ("limit_global = 1\n".to_owned(), "limit_global \"1\" is neither true nor false"),
            (limit("rate = 1\nburst = 1").repeat(5), "limit: there are 5, over 4"),
            (
                format!("access = 'public'\n{}", limit("rate = 1\nburst = 1\nper = 'user'")),
                "limit: per \"user\" needs a verified user, and a public route has none",
            ),
        ] {
            assert_eq!(mistake(&text), format!("route \"shop\" (gateway.toml:3): {told}"));
        }
        let unknown = mistake(&limit("rate = 1\nburst = 1\nkey = 'x'"));
        assert!(unknown.contains("`key` is not a key here"), "{unknown}");
    }
}
