//! The upstream of a route, or the upstreams among which its requests are divided.

use super::key::RouteKey;
use super::replies;
use super::report::Report;
use super::upstreams::Upstreams;
use crate::config::meaning::Share;
use crate::config::value::{count, quoted};
use crate::config::written::WrittenRoute;
use crate::limits::{ROUTE_UPSTREAMS_MAX, SHARE_WEIGHT_MAX};

/// The upstream of a route.
pub(super) const UPSTREAM: RouteKey = RouteKey {
    name: "upstream",
    default: "required, unless there is one of the next three",
    help: "The name of an upstream.",
};

/// The upstreams of a route that divides its requests.
pub(super) const UPSTREAMS: RouteKey = RouteKey {
    name: "upstreams",
    default: "none",
    help: "Instead of `upstream`: up to 8 tables with `name` and `weight` (0 to 1000), among which the users are \
           divided.",
};

/// The names of upstreams in a route.
pub(super) fn names(written: &WrittenRoute) -> impl Iterator<Item = &str> {
    let shares = written.upstreams.iter().flatten().map(|share| share.name.as_str());
    written.upstream.as_deref().into_iter().chain(shares)
}

/// The index of the upstream of a route; and its shares, if it divides its requests.
pub(super) fn upstream(
    written: &WrittenRoute,
    upstreams: &Upstreams,
    report: &mut Report<'_>,
) -> (usize, Vec<Share>) {
    if replies::is_written(written) {
        if written.upstream.is_some() || written.upstreams.is_some() {
            report.add("has an upstream and an answer of its own; it can have one of them");
        }
        return (0, Vec::new());
    }
    let shares = match (&written.upstream, &written.upstreams) {
        (Some(name), None) => return (index(name, upstreams, report), Vec::new()),
        (None, Some(shares)) => shares,
        (None, None) => {
            // Of a redirect or an answer that cannot be read, that is told alone.
            report.add("upstream is missing, and there is no redirect or respond");
            return (0, Vec::new());
        }
        (Some(_), Some(_)) => {
            report.add("has upstream and upstreams; it can have one of them");
            return (0, Vec::new());
        }
    };
    if shares.len() > ROUTE_UPSTREAMS_MAX {
        report.add(&format!("upstreams: there are {}, over {ROUTE_UPSTREAMS_MAX}", shares.len()));
    }
    let mut lowered: Vec<Share> = Vec::new();
    for share in shares {
        let upstream = index(&share.name, upstreams, report);
        if upstreams.names.contains(&share.name) && lowered.iter().any(|other| other.upstream == upstream) {
            report.add(&format!("upstreams: {} is named twice", quoted(&share.name)));
        }
        let weight = share.weight.as_deref().ok_or("is missing".to_owned());
        let weight = weight.and_then(|text| count(text, 0, SHARE_WEIGHT_MAX as usize));
        let weight = weight.unwrap_or_else(|why| {
            report.add(&format!("upstreams: weight {why}"));
            1
        });
        lowered.push(Share { upstream, weight: weight as u32 });
    }
    if lowered.iter().all(|share| share.weight == 0) {
        report.add("upstreams: no weight is over 0");
    }
    (lowered.first().map_or(0, |share| share.upstream), lowered)
}

/// The index of an upstream, or one that none has. One with a wrong URL has a mistake of its own.
fn index(name: &str, upstreams: &Upstreams, report: &mut Report<'_>) -> usize {
    if !upstreams.names.contains(name) {
        report.add(&format!("upstream {} is not defined (add [upstreams.NAME])", quoted(name)));
    }
    upstreams.valid.iter().position(|upstream| upstream.name == name).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use crate::config::testing::lowered_toml;

    fn file(keys: &str) -> String {
        format!(
            "[upstreams.a]\nurl = 'http://a'\n[upstreams.b]\nurl = 'http://b'\n\
             [[route]]\nname = 'r'\npaths = ['/']\n{keys}\n"
        )
    }

    #[test]
    fn requests_are_divided_among_upstreams() {
        let keys = "upstreams = [{ name = 'b', weight = 95 }, { name = 'a', weight = 5 }]";
        let lowered = lowered_toml(&file(keys)).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let route = &lowered.config.routes[0];
        let shares: Vec<_> = route.shares.iter().map(|share| (share.upstream, share.weight)).collect();
        assert_eq!((route.upstream, shares), (1, vec![(1, 95), (0, 5)]));
        assert!(lowered.warnings.is_empty(), "{:?}", lowered.warnings);
    }

    #[test]
    fn a_mistake_is_named() {
        for (keys, mistake) in [
            ("", "upstream is missing, and there is no redirect or respond"),
            ("upstream = 'a'\nupstreams = [{ name = 'b', weight = 1 }]", "has upstream and upstreams"),
            ("upstreams = []", "no weight is over 0"),
            ("upstreams = [{ name = 'a', weight = 0 }]", "no weight is over 0"),
            ("upstreams = [{ name = 'a' }]", "weight is missing"),
            ("upstreams = [{ name = 'a', weight = 1001 }]", "upstreams: weight"),
            ("upstreams = [{ name = 'c', weight = 1 }]", "upstream \"c\" is not defined"),
            ("upstreams = [{ name = 'a', weight = 1 }, { name = 'a', weight = 1 }]", "\"a\" is named twice"),
        ] {
            let mistakes = lowered_toml(&file(keys)).expect_err(keys).to_string();
            assert!(mistakes.contains(mistake), "{keys}: {mistakes}");
        }
    }
}
