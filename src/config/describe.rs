//! Prints a configuration for `check`.

use std::fmt::Write;
use std::time::Duration;

use super::issuers::SINGLE;
use super::key::{AnyKey, Shown};
use super::keys::sections;
use super::meaning::{
    Choice, ClaimField, ClientNetworks, Config, Issuer, KeySetSource, PathCase, Per, Prefixes, RequiredClaim,
    Route, RouteKind, RouteLimit, TokenSources, TrailingSlash,
};
use super::mistake::Mistakes;
use super::upstream_text;
use super::value::{show_bytes, show_duration};

/// Every setting in force, in columns, with units. Of secrets it prints the number and whether they are long enough.
#[must_use]
pub fn describe(config: &Config) -> String {
    describe_judged(config, &Mistakes::default())
}

/// The same of a configuration with mistakes: it leaves out what they are about.
#[must_use]
pub fn describe_judged(config: &Config, mistakes: &Mistakes) -> String {
    let mut text = String::new();
    for section in sections::ALL {
        let right = section.keys.iter().filter(|key| !mistakes.concern(key.about().env));
        let shown = right.filter_map(|key| show(*key, config));
        let rows = shown.map(|(env, value)| vec![env.to_owned(), value]).collect();
        table(&mut text, section.heading_in_check, rows);
    }
    let issuers: Vec<_> = written_issuers(config)
        .filter(|issuer| !mistakes.are_of("issuer", &issuer.name))
        .map(issuer_row)
        .collect();
    if !issuers.is_empty() {
        let heads = ["NAME", "ISS", "AUD", "KEYS", "ALGORITHMS", "BESIDES"].map(str::to_owned).to_vec();
        table(&mut text, "Issuers", std::iter::once(heads).chain(issuers).collect());
    }
    let upstreams = config.upstreams.iter().filter(|upstream| !mistakes.are_of("upstream", &upstream.name));
    let upstreams = upstreams.map(|upstream| vec![upstream.name.clone(), upstream_text::show(upstream)]);
    table(&mut text, "Upstreams", upstreams.collect());
    let heads =
        ["NAME", "ACCESS", "KIND", "METHODS", "PATHS", "UPSTREAM", "BESIDES"].map(str::to_owned).to_vec();
    let routes = config.routes.iter().map(|route| route_row(config, route));
    table(&mut text, "Routes", std::iter::once(heads).chain(routes).collect());
    text
}

/// The variable of a setting and its value as text. `None`: it is shown elsewhere.
pub(super) fn show(key: &dyn AnyKey, config: &Config) -> Option<(&'static str, String)> {
    let about = key.about();
    match about.shown {
        Shown::Value(show) | Shown::Secret { summary: show, .. } => Some((about.env, show(config))),
        Shown::Elsewhere => None,
    }
}

/// The issuers of a file.
pub(super) fn written_issuers(config: &Config) -> impl Iterator<Item = &Issuer> {
    config.jwt.issuers.iter().filter(|issuer| issuer.name != SINGLE)
}

/// One row of the table of issuers.
pub(super) fn issuer_row(issuer: &Issuer) -> Vec<String> {
    let any = |text: String| if text.is_empty() { "any".to_owned() } else { text };
    let set = issuer.key_set.as_ref().map(|source| match source {
        KeySetSource::File(path) => path.display().to_string(),
        KeySetSource::Url(url) | KeySetSource::Discovery(url) => url.as_str().to_owned(),
    });
    let pem = issuer.pem.as_ref().map(|file| file.path.display().to_string());
    let secrets = match issuer.secrets.len() {
        0 => None,
        1 => Some("1 secret".to_owned()),
        count => Some(format!("{count} secrets")),
    };
    let algorithms = issuer.algorithms.map_or_else(|| "those of the keys".to_owned(), |set| set.to_string());
    let mut besides = vec![format!("user {}", issuer.user_claim.text)];
    besides.extend((!issuer.leeway.is_zero()).then(|| format!("leeway {}", show_duration(issuer.leeway))));
    besides.push(match issuer.lifetime_max {
        Some(lifetime) => format!("up to {}", show_duration(lifetime)),
        None => "any lifetime".to_owned(),
    });
    if !issuer.token_types.is_empty() {
        besides.push(format!("types {}", issuer.token_types.join(" ")));
    }
    vec![
        issuer.name.clone(),
        any(issuer.issuer.clone().unwrap_or_default()),
        any(issuer.audiences.join(" ")),
        set.into_iter().chain(pem).chain(secrets).collect::<Vec<_>>().join(", "),
        algorithms,
        besides.join(", "),
    ]
}

/// One row of the table of routes.
pub(super) fn route_row(config: &Config, route: &Route) -> Vec<String> {
    let methods = if route.methods.is_empty() { "any".to_owned() } else { route.methods.join(",") };
    vec![
        route.name.clone(),
        route.access.word().to_owned(),
        route.kind.word().to_owned(),
        methods,
        route.paths.join(" "),
        show_destination(config, route),
        besides(config, route).join(", "),
    ]
}

/// The column BESIDES: the settings of a route that differ from the defaults.
fn besides(config: &Config, route: &Route) -> Vec<String> {
    let mut besides = Vec::new();
    besides.extend(show_hosts(route));
    besides.extend(show_conditions(route));
    besides.extend(show_networks(route));
    besides.extend(show_spellings(route));
    besides.extend(show_oddities(config, route));
    besides.extend(show_prefixes(route));
    if !route.authorization_forwarded {
        besides.push("Authorization stays here".to_owned());
    }
    if route.method_override_forwarded {
        besides.push("method overrides pass".to_owned());
    }
    if route.trailers_forwarded {
        besides.push("trailers pass".to_owned());
    }
    for (word, edits) in [("request", &route.request_edits), ("response", &route.response_edits)] {
        besides.extend((!edits.is_empty()).then(|| format!("{word} headers: {edits}")));
    }
    if let Some(host) = &route.host_sent {
        besides.push(format!("host {}", host.text()));
    }
    besides.extend(show_timeouts(route));
    if let Some(bytes) = route.body_bytes_max {
        besides.push(format!("body {}", show_bytes(bytes, "without bound")));
    }
    let issuers = config.jwt.issuers.iter().enumerate();
    let (taken, others): (Vec<_>, Vec<_>) = issuers.partition(|(index, _)| route.issuers.contains(*index));
    if !others.is_empty() {
        let names: Vec<&str> = taken.iter().map(|(_, issuer)| issuer.name.as_str()).collect();
        besides.push(format!("tokens of {}", names.join(" ")));
    }
    let default = match route.kind {
        RouteKind::Http => TokenSources::header(),
        RouteKind::WebSocket | RouteKind::Both => TokenSources::of_handshakes(),
    };
    if route.token_sources != default {
        besides.push(format!("tokens from {}", route.token_sources));
    }
    besides.extend(show_claims(route));
    besides.extend(route.limits.iter().map(show_limit));
    if !route.is_limited_globally {
        besides.push("no global limit".to_owned());
    }
    besides
}

/// The answer of a route, or its upstream: `parcels`, or with shares `parcels 95, trial 5`.
pub fn show_destination(config: &Config, route: &Route) -> String {
    let name = |index: usize| config.upstreams.get(index).map_or("?", |upstream| upstream.name.as_str());
    if let Some(reply) = &route.reply {
        return reply.to_string();
    }
    if route.shares.is_empty() {
        return name(route.upstream).to_owned();
    }
    let shares = route.shares.iter().map(|share| format!("{} {}", name(share.upstream), share.weight));
    shares.collect::<Vec<_>>().join(", ")
}

/// The hosts of a route: `hosts chat.example *.chat.example`.
pub fn show_hosts(route: &Route) -> Option<String> {
    let hosts: Vec<String> = route.hosts.iter().map(ToString::to_string).collect();
    (!hosts.is_empty()).then(|| format!("hosts {}", hosts.join(" ")))
}

/// The fields that a route wants: `with x-api-version: 2 and x-beta`.
pub fn show_conditions(route: &Route) -> Option<String> {
    let conditions: Vec<String> = route.conditions.iter().map(ToString::to_string).collect();
    (!conditions.is_empty()).then(|| format!("with {}", conditions.join(" and ")))
}

/// How the path goes upstream: `without /api, below /v2`.
fn show_prefixes(route: &Route) -> Option<String> {
    let Prefixes { strip, add } = &route.prefixes;
    match (strip.as_str(), add.as_str()) {
        ("", "") => None,
        (strip, "") => Some(format!("path without {strip}")),
        ("", add) => Some(format!("path below {add}")),
        (strip, add) => Some(format!("path without {strip}, below {add}")),
    }
}

/// The networks of a route: `allow 10.0.0.0/8, deny 10.1.0.0/16`.
pub fn show_networks(route: &Route) -> Option<String> {
    let ClientNetworks { allow, deny } = &route.networks;
    let shown = |word: &str, networks: &Vec<ipnet::IpNet>| {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        format!("{word} {}", networks.join(" "))
    };
    let allow = allow.as_ref().map(|networks| shown("allow", networks));
    let deny = Some(deny).filter(|networks| !networks.is_empty()).map(|networks| shown("deny", networks));
    let both: Vec<String> = allow.into_iter().chain(deny).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

/// In which other spellings a route takes its paths: `any case, with and without trailing slash`.
pub fn show_spellings(route: &Route) -> Option<String> {
    let case = (route.path_case == PathCase::Any).then_some("any case");
    let slash = (route.trailing_slash == TrailingSlash::Either).then_some("with and without trailing slash");
    let spellings: Vec<_> = case.into_iter().chain(slash).collect();
    (!spellings.is_empty()).then(|| spellings.join(", "))
}

/// The timeouts of a route: `head_timeout 2m, idle_timeout none`.
pub fn show_timeouts(route: &Route) -> Option<String> {
    let shown =
        |timeout: Duration| if timeout.is_zero() { "none".to_owned() } else { show_duration(timeout) };
    let written: Vec<_> =
        route.timeouts.written().map(|(key, timeout)| format!("{key} {}", shown(timeout))).collect();
    (!written.is_empty()).then(|| written.join(", "))
}

/// The oddities that a path of the route may have, where it says so itself: `empty segments merged, %2F kept`.
pub fn show_oddities(config: &Config, route: &Route) -> Option<String> {
    let taken = route.oddities;
    let is_own = taken.empty_segments != config.default_oddities().empty_segments;
    let empty = is_own.then_some(match taken.empty_segments {
        true => "empty segments merged",
        false => "empty segments refused",
    });
    let slash = taken.encoded_slash.then_some("%2F kept");
    let parameters = taken.parameters.then_some("parameters kept");
    let shown: Vec<_> = empty.into_iter().chain(slash).chain(parameters).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// `role = admin or editor`.
pub fn show_required(wanted: &RequiredClaim) -> String {
    format!("{} = {}", wanted.claim.text, wanted.any_of.join(" or "))
}

/// What a route does with claims: `requires role = admin or editor`, `X-Internal-Tenant from tenant_id`.
fn show_claims(route: &Route) -> impl Iterator<Item = String> {
    let required = |wanted: &RequiredClaim| format!("requires {}", show_required(wanted));
    let field = |field: &ClaimField| format!("{} from {}", field.field, field.claim.text);
    route.require.iter().map(required).chain(route.claim_fields.iter().map(field))
}

/// `5/s burst 20 per ip`.
fn show_limit(limit: &RouteLimit) -> String {
    let per = match limit.per {
        Per::User => "per user",
        Per::Ip => "per ip",
        Per::None => "for everybody",
    };
    let cost = if limit.cost == 1 { String::new() } else { format!(" cost {}", limit.cost) };
    format!("{}/s burst {} {per}{cost}", limit.rate, limit.burst)
}

/// Adds a heading and its rows, in columns as wide as their widest cell.
fn table(text: &mut String, heading: &str, rows: Vec<Vec<String>>) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line_break = if text.is_empty() { "" } else { "\n" };
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line_break}{heading}");
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;

    #[test]
    fn prints_headings_and_columns() {
        let shown = describe(&config("port = 1\n"));
        assert!(
            shown.starts_with("Listening\n  PORT                  1\n  BIND                  every"),
            "{shown}"
        );
        assert!(shown.contains("\nUpstream connections\n  UPSTREAM_CONNECT_TIMEOUT"), "{shown}");
        assert!(shown.contains("\nUpstreams\n  auth          http://auth:5001\n"), "{shown}");
    }

    #[test]
    fn prints_what_a_route_has_besides() {
        let shown = describe(&config(
            "[upstreams.a]\nurl = 'http://a'\n[[route]]\nname = 'shop'\npaths = ['/shop']\nupstream = 'a'\n\
             encoded_slash = 'keep'\npath_parameters = 'keep'\nempty_segments = 'merge'\n\
             forward_authorization = false\nforward_method_override = true\nforward_trailers = true\n\
             body_max_bytes = 0\nhost = 'Shop.example:1'\nidle_timeout = '0'\nlimit_global = false\n\
             require = { role = ['editor', 'admin'], scope = 'a b' }\n\
             claims_to_headers = { X-Internal-Tenant = 'org.id' }\n\
             [[route.limit]]\nrate = 0.5\nburst = 5\ncost = 2\n",
        ));
        let besides = "empty segments merged, %2F kept, parameters kept, Authorization stays here, \
                       method overrides pass, trailers pass, \
                       host shop.example:1, idle_timeout none, body without bound, \
                       requires role = admin or editor, requires scope = a b, X-Internal-Tenant from org.id, \
                       0.5/s burst 5 per user cost 2, no global limit";
        assert!(shown.contains(besides), "{shown}");
    }
}
