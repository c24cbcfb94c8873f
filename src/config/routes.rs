//! Upstreams and routes: RealChat's own, or those of a file.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{WrittenLimit, WrittenRoute, WrittenUpstream};
use super::mistake::Mistakes;
use super::value::{self, Parsed, quoted};
use super::{Access, Per, Rate, RateLimit, Route, RouteKind, RouteLimit, TokenSources, Upstream, address};
use crate::limits::{self, NAME_BYTES_MAX};

/// The services of RealChat: the key of each URL and the name in routes.
pub(super) const REALCHAT: [(&str, &str); 5] = [
    ("UPSTREAM_AUTH_URL", "auth"),
    ("UPSTREAM_MESSAGE_URL", "message"),
    ("UPSTREAM_DELIVERY_URL", "delivery"),
    ("UPSTREAM_PROFILE_URL", "profile"),
    ("UPSTREAM_CONVERSATION_URL", "conversation"),
];

/// The routes of RealChat, over the upstreams of [`REALCHAT`] in their order.
///
/// Who registers or logs in has a bucket for that alone: browsing does not eat into it, and guessing passwords
/// does not eat into browsing.
pub(super) fn realchat(global: &RateLimit) -> Vec<Route> {
    let route = |name: &str, methods: &[&str], paths: &[&str], upstream: &str| Route {
        name: name.to_owned(),
        methods: methods.iter().map(ToString::to_string).collect(),
        paths: paths.iter().map(ToString::to_string).collect(),
        upstream: REALCHAT.iter().position(|(_, name)| *name == upstream).unwrap_or_default(),
        access: Access::Protected,
        kind: RouteKind::Http,
        token_sources: TokenSources::ALL,
        authorization_forwarded: true,
        trailers_forwarded: false,
        body_bytes_max: None,
        is_limited_globally: true,
        limits: Vec::new(),
    };
    let own = RouteLimit { rate: global.rate, burst: global.burst, per: Per::Ip, cost: 1 };
    let public =
        |route| Route { access: Access::Public, is_limited_globally: false, limits: vec![own], ..route };
    vec![
        public(route("auth-register", &["POST"], &["/api/v1/auth/register"], "auth")),
        public(route("auth-login", &["POST"], &["/api/v1/auth/login"], "auth")),
        route("auth", &[], &["/api/v1/auth/*"], "auth"),
        route("users", &[], &["/api/v1/users/*"], "profile"),
        route("conversations", &[], &["/api/v1/conversations", "/api/v1/conversations/*"], "conversation"),
        route("messages", &[], &["/api/v1/messages", "/api/v1/messages/*"], "message"),
        Route { kind: RouteKind::WebSocket, ..route("ws", &["GET"], &["/ws"], "delivery") },
    ]
}

/// The upstreams of a file, in the order of their names.
pub(super) fn upstreams(
    written: &BTreeMap<String, WrittenUpstream>,
    mistakes: &mut Mistakes,
) -> Vec<Upstream> {
    if written.len() > limits::UPSTREAMS_MAX {
        mistakes.add("upstreams", &format!("there are {}, over {}", written.len(), limits::UPSTREAMS_MAX));
    }
    let mut upstreams = Vec::new();
    for (name, WrittenUpstream { url, place }) in written {
        let subject = subject("upstream", name, place);
        if let Err(why) = name_of(name) {
            mistakes.add(&subject, &format!("its name {why}"));
        }
        match address::upstream(name, url) {
            Ok(upstream) => upstreams.push(upstream),
            Err(why) => mistakes.add(&subject, &format!("url {why}")),
        }
    }
    upstreams
}

/// The routes of a file over the upstreams `known` (whose URL may be wrong) and `upstreams` (which are right).
pub(super) fn routes(
    written: &[WrittenRoute],
    known: &BTreeSet<&str>,
    upstreams: &[Upstream],
    mistakes: &mut Mistakes,
) -> Vec<Route> {
    if written.len() > limits::ROUTES_MAX {
        mistakes.add("route", &format!("there are {}, over {}", written.len(), limits::ROUTES_MAX));
    }
    let mut names = BTreeSet::new();
    let mut routes = Vec::new();
    for route in written {
        let subject = subject("route", &route.name, &route.place);
        if !names.insert(route.name.as_str()) {
            mistakes.add(&subject, "another route has this name");
        }
        if !known.contains(route.upstream.as_str()) {
            let why = format!("upstream {} is not defined (add [upstreams.NAME])", quoted(&route.upstream));
            mistakes.add(&subject, &why);
        }
        let upstream = upstreams.iter().position(|upstream| upstream.name == route.upstream);
        routes.push(lower_route(route, upstream.unwrap_or_default(), |why| mistakes.add(&subject, &why)));
    }
    routes
}

/// One route; what is wrong with it goes to `mistake`, and something harmless takes its place.
fn lower_route(written: &WrittenRoute, upstream: usize, mut mistake: impl FnMut(String)) -> Route {
    if let Err(why) = name_of(&written.name) {
        mistake(format!("its name {why}"));
    }
    let access = match written.access.as_deref() {
        None | Some("protected") => Access::Protected,
        Some("public") => Access::Public,
        Some(other) => {
            mistake(format!("access {} is neither public nor protected", quoted(other)));
            Access::Protected
        }
    };
    let kind = match written.kind.as_deref() {
        None | Some("http") => RouteKind::Http,
        Some("websocket") => RouteKind::WebSocket,
        Some(other) => {
            mistake(format!("kind {} is neither http nor websocket", quoted(other)));
            RouteKind::Http
        }
    };

    let token_sources = match written.tokens_from.as_deref().map(TokenSources::of) {
        None => TokenSources::ALL,
        Some(Ok(_)) if kind != RouteKind::WebSocket || access == Access::Public => {
            mistake("tokens_from is for protected websocket routes".to_owned());
            TokenSources::ALL
        }
        Some(Ok(sources)) => sources,
        Some(Err(why)) => {
            mistake(format!("tokens_from {why}"));
            TokenSources::ALL
        }
    };

    let mut methods = Vec::new();
    if written.methods.as_ref().is_some_and(Vec::is_empty) {
        mistake("methods is empty (leave it out for any method)".to_owned());
    }
    for written in written.methods.iter().flatten() {
        match method(written) {
            Ok(method) if methods.contains(&method) => mistake(format!("methods names {method} twice")),
            Ok(method) => methods.push(method),
            Err(why) => mistake(format!("method {why}")),
        }
    }
    if kind == RouteKind::WebSocket {
        // RFC 6455 §4.1: "The method of the request MUST be GET".
        if methods.iter().any(|method| method != "GET") {
            mistake("a websocket route takes GET and no other method".to_owned());
        }
        methods = vec!["GET".to_owned()];
    }

    let mut paths = Vec::new();
    if written.paths.is_empty() {
        mistake("paths is empty".to_owned());
    }
    for written in &written.paths {
        match path(written) {
            Ok(()) if paths.contains(written) => mistake(format!("paths names {} twice", quoted(written))),
            Ok(()) => paths.push(written.clone()),
            Err(why) => mistake(format!("path {why}")),
        }
    }

    let mut flag =
        |name: &str, text: &Option<String>, default: bool| match text.as_deref().map(value::boolean) {
            None => default,
            Some(Ok(flag)) => flag,
            Some(Err(why)) => {
                mistake(format!("{name} {why}"));
                default
            }
        };
    let authorization_forwarded = flag("forward_authorization", &written.forward_authorization, true);
    let trailers_forwarded = flag("forward_trailers", &written.forward_trailers, false);
    let is_limited_globally = flag("limit_global", &written.limit_global, true);
    if written.limit.len() > limits::ROUTE_LIMITS_MAX {
        mistake(format!("limit: there are {}, over {}", written.limit.len(), limits::ROUTE_LIMITS_MAX));
    }
    let own_limits = written.limit.iter().map(|limit| lower_limit(limit, access, &mut mistake)).collect();
    let body_bytes_max =
        match written.body_max_bytes.as_deref().map(|text| value::size(text, 0, BODY_BYTES_MAX)) {
            None => None,
            Some(Ok(bytes)) => Some(bytes),
            Some(Err(why)) => {
                mistake(format!("body_max_bytes {why}"));
                None
            }
        };

    let name = written.name.clone();
    Route {
        name,
        methods,
        paths,
        upstream,
        access,
        kind,
        token_sources,
        authorization_forwarded,
        trailers_forwarded,
        body_bytes_max,
        is_limited_globally,
        limits: own_limits,
    }
}

/// One limit of a route; what is wrong with it goes to `mistake`.
fn lower_limit(written: &WrittenLimit, access: Access, mistake: &mut impl FnMut(String)) -> RouteLimit {
    fn part<T>(
        (name, text): (&str, &Option<String>),
        default: Result<T, T>,
        parse: impl Fn(&str) -> Parsed<T>,
        mistake: &mut impl FnMut(String),
    ) -> T {
        match (text.as_deref().map(parse), default) {
            (Some(Ok(value)), _) | (None, Ok(value)) => value,
            (None, Err(harmless)) => {
                mistake(format!("limit: has no key `{name}`"));
                harmless
            }
            (Some(Err(why)), Ok(harmless) | Err(harmless)) => {
                mistake(format!("limit: {name} {why}"));
                harmless
            }
        }
    }
    let default_per = if access == Access::Public { Per::Ip } else { Per::User };
    let rate = part(("rate", &written.rate), Err(Rate::from_milli(0)), value::rate, mistake);
    let burst = part(("burst", &written.burst), Err(limits::BURST_MAX), value::burst, mistake);
    let per = part(("per", &written.per), Ok(default_per), value::per, mistake);
    if per == Per::User && access == Access::Public {
        mistake("limit: per \"user\" needs a verified user, and a public route has none".to_owned());
    }
    let cost = part(("cost", &written.cost), Ok(1), |text| value::count(text, 1, burst), mistake);
    RouteLimit { rate, burst, per, cost }
}

/// Whether this can be the name of a route or an upstream: it stands in logs and in labels of metrics.
fn name_of(name: &str) -> Parsed<()> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !plain {
        return Err(format!(
            "{} is not 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' or '.'",
            quoted(name)
        ));
    }
    Ok(())
}

/// A method: a token (RFC 9110 §9.1), in upper case as every registered one is.
pub(crate) fn method(text: &str) -> Parsed<String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > METHOD_BYTES_MAX || !text.bytes().all(token) {
        return Err(format!("{} is not a token", quoted(text)));
    }
    if text != text.to_ascii_uppercase() {
        return Err(format!("{} is not in upper case, and methods are told apart by case", quoted(text)));
    }
    if text == "CONNECT" {
        return Err("\"CONNECT\" is never forwarded".to_owned());
    }
    Ok(text.to_owned())
}

/// Whether this is a pattern that a canonical path can match.
fn path(text: &str) -> Parsed<()> {
    let wrong = |why: &str| Err(format!("{} {why}", quoted(text)));
    let Some(rest) = text.strip_prefix('/') else {
        return wrong("does not start with /");
    };
    if text.len() > limits::REQUEST_LINE_BYTES_DEFAULT {
        return wrong("is longer than a request line");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("has a byte outside of visible ASCII (percent-encode it)");
    }
    if text.contains(['?', '#', '\\', ';', '"', '<', '>', '^', '`', '|']) {
        return wrong("has a character that no path matches");
    }
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "" if !last => return wrong("has an empty segment"),
            "." | ".." => return wrong("has a dot segment"),
            "*" if !last => return wrong("has a * that is not at its end"),
            "" | "*" => {}
            _ if segment.contains('*') => return wrong("has a * that is not a whole segment"),
            _ if segment.contains(['{', '}']) && !is_parameter(segment) => {
                return wrong("has a {parameter} that is not a whole segment");
            }
            _ => {}
        }
    }
    Ok(())
}

/// `{name}`.
fn is_parameter(segment: &str) -> bool {
    let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// What a mistake is about: `route "orders" (gateway.toml:12)`.
fn subject(noun: &str, name: &str, place: &str) -> String {
    if place.is_empty() {
        format!("{noun} {}", quoted(name))
    } else {
        format!("{noun} {} ({place})", quoted(name))
    }
}

/// Bytes of a method.
const METHOD_BYTES_MAX: usize = 32;
/// Upper end of what an operator may set for a body, in bytes: what `Content-Length` may say.
pub(super) const BODY_BYTES_MAX: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LimitHeaders, LimitStore, OnRedisFailure};

    fn global() -> RateLimit {
        RateLimit {
            store: LimitStore::Redis,
            rate: Rate::from_milli(500),
            burst: 3,
            prefix: "rl".to_owned(),
            on_failure: OnRedisFailure::Open,
            headers: LimitHeaders::Refused,
        }
    }

    #[test]
    fn registering_and_logging_in_have_buckets_of_their_own_per_address() {
        let own = RouteLimit { rate: Rate::from_milli(500), burst: 3, per: Per::Ip, cost: 1 };
        for route in realchat(&global()) {
            let is_own = ["auth-register", "auth-login"].contains(&route.name.as_str());
            assert_eq!(route.is_limited_globally, !is_own, "{}", route.name);
            assert_eq!(route.limits, if is_own { vec![own] } else { vec![] }, "{}", route.name);
        }
    }

    #[test]
    fn realchat_has_seven_routes_over_five_upstreams() {
        let routes = realchat(&global());
        assert_eq!(routes.len(), 7);
        let public: Vec<_> =
            routes.iter().filter(|r| r.access == Access::Public).map(|r| r.name.as_str()).collect();
        assert_eq!(public, ["auth-register", "auth-login"]);
        let to = |name: &str| routes.iter().find(|r| r.name == name).map(|r| REALCHAT[r.upstream].1);
        assert_eq!(to("users"), Some("profile"));
        assert_eq!(to("conversations"), Some("conversation"));
        assert_eq!(to("messages"), Some("message"));
        assert_eq!(to("ws"), Some("delivery"));
        for route in &routes {
            assert!(route.paths.iter().all(|p| path(p).is_ok()) && name_of(&route.name).is_ok());
        }
    }

    #[test]
    fn takes_patterns_that_a_canonical_path_can_match() {
        for text in ["/", "/a", "/a/", "/a/{id}", "/a/{id}/b", "/a/*", "/*", "/a%20b", "/a.b", "/~a"] {
            assert_eq!(path(text), Ok(()), "{text}");
        }
        for text in [
            "", "a", "//", "/a//b", "/./a", "/a/..", "/*/a", "/a*", "/{id", "/a{id}", "/{}", "/{a-b}",
            "/a?b", "/a#b", "/a b", "/é", "/a\\b", "/a;b", "/{*rest}",
        ] {
            assert!(path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn takes_methods_that_are_tokens_in_upper_case() {
        assert!(["GET", "PATCH", "M-SEARCH"].iter().all(|text| method(text).is_ok()));
        for text in ["", "get", "G ET", "GET,POST", "CONNECT", "GÉT"] {
            assert!(method(text).is_err(), "{text}");
        }
    }
}
