//! `hosts` of a route, and the warnings about routes that a route of a narrower host hides.

use super::key::RouteKey;
use super::paths::covers;
use super::report::Report;
use crate::config::meaning::{Access, HostPattern, Route};
use crate::config::value::{Parsed, quoted};
use crate::config::written::WrittenRoute;
use crate::limits::{HOST_BYTES_MAX, ROUTE_HOSTS_MAX};

/// The hosts of a route.
pub(super) const HOSTS: RouteKey = RouteKey {
    name: "hosts",
    default: "every host",
    help: "The hosts whose requests it takes, without ports: names, and `*.example.com` for all names one label below \
           one. Up to 64. [Which route wins](#hosts).",
};

pub(super) fn hosts(route: &WrittenRoute, report: &mut Report<'_>) -> Vec<HostPattern> {
    let Some(written) = &route.hosts else { return Vec::new() };
    if written.is_empty() {
        report.add("hosts is empty (leave it out for every host)");
    }
    if written.len() > ROUTE_HOSTS_MAX {
        report.add(&format!("hosts: there are {}, over {ROUTE_HOSTS_MAX}", written.len()));
    }
    let mut hosts = Vec::new();
    for text in written {
        match host(text) {
            Ok(host) if hosts.contains(&host) => report.add(&format!("hosts names {} twice", quoted(text))),
            Ok(host) => hosts.push(host),
            Err(why) => report.add(&format!("host {} {why}", quoted(text))),
        }
    }
    hosts
}

/// Reads the hosts that a text means.
fn host(text: &str) -> Parsed<HostPattern> {
    let wrong = |why: &str| Err(why.to_owned());
    if text == "*" {
        return wrong("is every host (leave hosts out)");
    }
    if text.contains('/') {
        return wrong("is not a host name alone (no scheme, no path)");
    }
    if text.starts_with('[') || text.matches(':').count() > 1 {
        return wrong("is an IPv6 address, and hosts are names");
    }
    if text.contains(':') {
        return wrong("has a port, and hosts are compared without");
    }
    if !text.is_ascii() {
        return wrong("is not ASCII (write the name as it is in DNS: xn--…)");
    }
    if text.ends_with('.') {
        return wrong("ends with a dot (hosts are compared without)");
    }
    let lower = text.to_ascii_lowercase();
    let (name, pattern) = match lower.strip_prefix("*.") {
        Some(name) => (name, HostPattern::Below(name.to_owned())),
        None => (lower.as_str(), HostPattern::Exact(lower.clone())),
    };
    if name.contains('*') {
        return wrong("has a * that is not its first label");
    }
    let is_label = |label: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_plain)
    };
    if name.len() > HOST_BYTES_MAX || !name.split('.').all(is_label) {
        return wrong("is not a host name");
    }
    Ok(pattern)
}

/// The warnings about routes that let more requests through to the same service than a route that they hide: where a
/// narrower host has a path that covers a path of a wider one, the narrower host decides.
pub(super) fn hidden(routes: &[Route]) -> Vec<String> {
    let named = routes.iter().filter(|route| !route.hosts.is_empty());
    named.flat_map(|open| routes.iter().filter_map(move |strict| hides(open, strict))).collect()
}

fn hides(open: &Route, strict: &Route) -> Option<String> {
    let is_narrower = |host: &&HostPattern| {
        strict.hosts.is_empty() || strict.hosts.iter().any(|wide| wide != *host && wide.covers(host))
    };
    if !lets_more_through(open, strict) {
        return None;
    }
    let host = open.hosts.iter().find(is_narrower)?;
    let hides = |path: &&String| open.paths.iter().any(|wide| covers(wide, path));
    let path = strict.paths.iter().find(hides)?;
    Some(format!(
        "{}: on {host} it takes {path} of {} to the same upstream, with what that requires and limits left out",
        open.subject(),
        strict.subject()
    ))
}

/// Whether a route lets requests through to a service that another route to it would not.
pub(super) fn lets_more_through(open: &Route, strict: &Route) -> bool {
    let is_open = openness(open.access) > openness(strict.access)
        || (open.limits.is_empty() && !strict.limits.is_empty())
        || (open.networks.is_every() && !strict.networks.is_every());
    let is_same_service = || strict.upstreams().any(|one| open.upstreams().any(|another| one == another));
    open.name != strict.name && is_open && is_same_service()
}

fn openness(access: Access) -> u8 {
    match access {
        Access::Protected => 0,
        Access::Optional => 1,
        Access::Public => 2,
    }
}

/// Bytes of a label (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::super::testing::{lowered_route, mistake};
    use super::*;
    use crate::config::testing::lowered_toml;

    #[test]
    fn hosts_are_names_and_wildcards_in_lower_case() {
        let route = lowered_route("hosts = ['Chat.Example', '*.Chat.Example', '10.0.0.1', 'my_svc']\n");
        let shown: Vec<_> = route.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["chat.example", "*.chat.example", "10.0.0.1", "my_svc"]);
        assert!(lowered_route("").hosts.is_empty());
    }

    #[test]
    fn a_mistake_is_named() {
        for (hosts, why) in [
            ("", "hosts is empty"),
            ("'a', 'A'", "twice"),
            ("'a:80'", "has a port"),
            ("'https://a'", "no scheme"),
            ("'a/b'", "no scheme"),
            ("'[::1]'", "IPv6"),
            ("'::1'", "IPv6"),
            ("'*'", "every host"),
            ("'a.*.b'", "first label"),
            ("'*a.b'", "first label"),
            ("'*.*.b'", "first label"),
            ("'*.'", "ends with a dot"),
            ("'a.'", "ends with a dot"),
            ("'a..b'", "not a host name"),
            ("''", "not a host name"),
            ("'a b'", "not a host name"),
            ("'münchen.example'", "xn--"),
        ] {
            let told = mistake(&format!("hosts = [{hosts}]\n"));
            assert!(told.contains(why) && told.lines().count() == 1, "{hosts}: {told}");
        }
        let long = format!("hosts = ['{}']\n", "a.".repeat(127) + "aa");
        assert!(mistake(&long).contains("not a host name"));
        let many: Vec<_> = (0..=ROUTE_HOSTS_MAX).map(|n| format!("'h{n}'")).collect();
        assert!(mistake(&format!("hosts = [{}]\n", many.join(","))).contains("over 64"));
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let (below, exact) = (HostPattern::Below("b".into()), |name: &str| HostPattern::Exact(name.into()));
        assert!(below.covers(&exact("a.b")) && below.covers(&below) && exact("b").covers(&exact("b")));
        assert!(!below.covers(&exact("b")) && !below.covers(&exact("x.a.b")) && !exact("a.b").covers(&below));
    }

    #[test]
    fn warns_of_a_host_that_opens_what_other_hosts_protect() {
        let warnings = |site: &str, api: &str| {
            let text = format!(
                "[upstreams.a]\nurl = 'http://a'\n[upstreams.b]\nurl = 'http://b'\n\
                 [[route]]\nname = 'site'\n{site}\n[[route]]\nname = 'api'\npaths = ['/api/*']\nupstream = 'a'\n{api}\n"
            );
            let lowered = lowered_toml(&text).unwrap_or_else(|wrong| panic!("{wrong}"));
            lowered.warnings.into_iter().filter(|warning| warning.contains("to the same")).collect::<Vec<_>>()
        };
        let open = "hosts = ['www.example']\npaths = ['/*']\naccess = 'public'\n";
        let told = warnings(&format!("{open}upstream = 'a'"), "");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("route \"site\"")
                && told[0].contains("on www.example it takes /api/* of route \"api\"")
        );
        assert_eq!(warnings(&format!("{open}upstream = 'a'"), "hosts = ['*.example']").len(), 1);
        for (site, api) in [
            (format!("{open}upstream = 'b'"), ""),
            (format!("{open}upstream = 'a'"), "access = 'public'"),
            (format!("{open}upstream = 'a'"), "hosts = ['other.example']"),
            (format!("{open}upstream = 'a'").replace("/*", "/pages/*"), ""),
            (format!("{open}upstream = 'a'").replace("public", "protected"), ""),
        ] {
            assert_eq!(warnings(&site, api), Vec::<String>::new(), "{site} {api}");
        }
    }
}
