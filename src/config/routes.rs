//! Upstreams and routes: RealChat's own, or those of a file.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{WrittenRoute, WrittenUpstream};
use super::mistake::Mistakes;
use super::value::{self, Parsed, quoted};
use super::{Access, Route, RouteKind, Upstream, address};
use crate::limits;

/// The services of RealChat: the key of each URL and the name in routes.
pub(super) const REALCHAT: [(&str, &str); 5] = [
    ("UPSTREAM_AUTH_URL", "auth"),
    ("UPSTREAM_MESSAGE_URL", "message"),
    ("UPSTREAM_DELIVERY_URL", "delivery"),
    ("UPSTREAM_PROFILE_URL", "profile"),
    ("UPSTREAM_CONVERSATION_URL", "conversation"),
];

/// The routes of RealChat, over the upstreams of [`REALCHAT`] in their order.
pub(super) fn realchat() -> Vec<Route> {
    let route = |name: &str, methods: &[&str], paths: &[&str], upstream: &str| Route {
        name: name.to_owned(),
        methods: methods.iter().map(ToString::to_string).collect(),
        paths: paths.iter().map(ToString::to_string).collect(),
        upstream: REALCHAT.iter().position(|(_, name)| *name == upstream).unwrap_or_default(),
        access: Access::Protected,
        kind: RouteKind::Http,
        authorization_forwarded: true,
        trailers_forwarded: false,
        body_bytes_max: None,
    };
    let public = |route| Route { access: Access::Public, ..route };
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
        authorization_forwarded,
        trailers_forwarded,
        body_bytes_max,
    }
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

/// Bytes of the name of a route or an upstream.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of a method.
const METHOD_BYTES_MAX: usize = 32;
/// Upper end of what an operator may set for a body, in bytes: what `Content-Length` may say.
pub(super) const BODY_BYTES_MAX: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realchat_has_seven_routes_over_five_upstreams() {
        let routes = realchat();
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
