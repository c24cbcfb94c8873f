//! `explain METHOD PATH`: what would happen to a request, told by the code that would do it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::config::{Access, Config, LimitStore, Rate, Route, RouteKind};
use crate::gateway::headers;
use crate::http1::{HeadLimits, HeadScan, RequestHead};
use crate::limit::arithmetic::UNITS_PER_TOKEN;
use crate::limit::{Ask, Client, Draw, KeyBuf, Limit};
use crate::route::{Match, RouteTable};

/// The whole story, as text. Errors: the request could not even be sent, or the routes cannot be.
pub fn explain(config: &Config, method: &str, path: &str) -> Result<String, String> {
    let table = RouteTable::new(&config.routes).map_err(|mistakes| mistakes.join("\n"))?;
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: example\r\n{PROBES}\r\n").into_bytes();
    let sizes = &config.sizes;
    let limits = HeadLimits {
        head_bytes: sizes.head_bytes,
        request_line_bytes: sizes.request_line_bytes,
        fields: sizes.fields,
    };
    let mut head = RequestHead::default();
    let length = match HeadScan::default().advance(&bytes, &limits) {
        Ok(Some(length)) => length,
        Ok(None) => return Err("PATH: not a request target".to_owned()),
        Err(error) => return Ok(refused(error.status(), error.code(), error.detail())),
    };
    if let Err(error) = head.parse(&mut bytes[..length], &limits) {
        return Ok(refused(error.status(), error.code(), error.detail()));
    }
    let path = head.target.path(&bytes);
    let mut text = format!("path            {}\n", String::from_utf8_lossy(path));
    let found = table.find(method.as_bytes(), path);
    let is_public = found.access() == Access::Public;
    let _ = match found {
        _ if matches!(path, b"/healthz" | b"/readyz") && matches!(method, "GET" | "HEAD") => {
            text.push_str("answered by     the gateway itself, to anybody\n");
            return Ok(text);
        }
        Match::Route(entry) => {
            let route = &entry.route;
            let upstream = &config.upstreams[route.upstream];
            let _ = writeln!(
                text,
                "route           {} (upstream {}, {})",
                route.name, upstream.name, upstream.authority
            );
            if route.kind == RouteKind::WebSocket {
                text.push_str("                a WebSocket: without a handshake 426 upgrade_required\n");
            }
            Ok(())
        }
        Match::MethodNotAllowed { allow, .. } => {
            writeln!(text, "route           none for this method: 405, Allow: {allow}")
        }
        Match::Unknown => {
            writeln!(text, "route           none: 404 no_route, to bearers of a valid token only")
        }
    };
    match (is_public, found.websocket()) {
        (true, _) => text.push_str("authentication  none: a public route\n"),
        (false, None) => text.push_str("authentication  Bearer token, HS256; without a valid one 401\n"),
        (false, Some(route)) => {
            let sources = route.token_sources;
            let _ = writeln!(text, "authentication  token, HS256, from {sources}; without a valid one 401");
        }
    }
    let route = if let Match::Route(entry) = found { Some(&entry.route) } else { None };
    text.push_str(&buckets(config, is_public, route));
    if let Match::Route(entry) = found {
        let route = &entry.route;
        if head.target.has_parameters {
            text.push_str("parameters      refused: 400 path_parameters\n");
        }
        let limit = route.body_bytes_max.unwrap_or(config.sizes.body_bytes);
        let _ = writeln!(text, "body            at most {limit} bytes (0: any)");
        let (passed, removed) = sort(&head, &bytes, |field| headers::passes_upstream(field, route, false));
        let _ = writeln!(text, "removed         {}", removed.join(", "));
        let _ = writeln!(text, "passed on       {}, and any other field", passed.join(", "));
        let user = if is_public { "" } else { "X-Internal-User-Id, " };
        let _ = writeln!(
            text,
            "set             Host, {user}X-Request-Id, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, \
             Via, traceparent"
        );
    }
    Ok(text)
}

/// A line for each bucket, with the key that it would have.
fn buckets(config: &Config, is_public: bool, route: Option<&Route>) -> String {
    let global = &config.rate_limit;
    if global.store == LimitStore::Off {
        return "bucket          none: RATE_LIMIT_STORE=off\n".to_owned();
    }
    let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let user = if is_public { Client::Address(address) } else { Client::User("<user>") };
    let mut text = String::new();
    let mut tell = |client, whose: &str| {
        let draws = Ask { client, address, route }.draws(global);
        for Draw { bucket, limit } in draws.all() {
            let mut buffer = KeyBuf::default();
            let key = String::from_utf8_lossy(bucket.key(draws.prefix(), &mut buffer));
            let key = key.replace(&address.to_string(), "<client address>");
            let Limit { units_per_us, capacity, cost } = limit;
            let rate = Rate::from_milli(u32::try_from(*units_per_us).unwrap_or(0));
            let (burst, cost) = (capacity / UNITS_PER_TOKEN, cost / UNITS_PER_TOKEN);
            let _ = writeln!(text, "bucket          {key}: {rate}/s, burst {burst}, takes {cost}{whose}");
        }
        if draws.all().is_empty() {
            text.push_str("bucket          none: the route is not limited\n");
        }
    };
    tell(user, "");
    if !is_public {
        tell(Client::Bad(address), " (without a valid token)");
    }
    text
}

fn refused(status: u16, code: &str, detail: &str) -> String {
    format!("refused         {status} {code}: {detail}\n")
}

fn sort(
    head: &RequestHead,
    bytes: &[u8],
    passes: impl Fn(&crate::http1::Field) -> bool,
) -> (Vec<String>, Vec<String>) {
    let name = |field: &crate::http1::Field| String::from_utf8_lossy(field.name.of(bytes)).into_owned();
    let (passed, removed): (Vec<_>, Vec<_>) = head.fields.iter().partition(|field| passes(field));
    (passed.into_iter().map(name).collect(), removed.into_iter().map(name).collect())
}

/// One field of every kind that is treated in its own way.
const PROBES: &str = "Connection: keep-alive, X-Nominated-By-Connection\r\nX-Nominated-By-Connection: 1\r\n\
Keep-Alive: 1\r\nProxy-Connection: 1\r\nProxy-Authorization: 1\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\n\
X-Internal-User-Id: 1\r\nX_Internal_Anything: 1\r\nX-Forwarded-For: 1\r\nX-Forwarded-Proto: http\r\n\
X-Forwarded-Host: h\r\nForwarded: for=1\r\nX-Real-IP: 1\r\nX-Request-Id: 1\r\nVia: 1.1 x\r\ntraceparent: 1\r\n\
tracestate: 1\r\nContent_Length: 1\r\nAuthorization: Bearer x\r\nCookie: a=b\r\nAccept: */*\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;

    fn story(method: &str, path: &str) -> String {
        explain(&config(""), method, path).expect("a story")
    }

    #[test]
    fn tells_a_protected_route_with_its_bucket_and_headers() {
        let story = story("GET", "/api/v1/users/%61lice");
        for part in [
            "path            /api/v1/users/alice",
            "route           users",
            "rl:u:<user>: 10/s, burst 20, takes 1\n",
            "rl:bad:<client address>: 10/s, burst 20, takes 1 (without a valid token)",
            "X-Internal-User-Id, X-Request-Id",
        ] {
            assert!(story.contains(part), "{part} is missing in:\n{story}");
        }
        let removed = story.lines().find(|line| line.starts_with("removed")).expect("a line");
        for name in [
            "X_Internal_Anything",
            "X-Forwarded-For",
            "X-Nominated-By-Connection",
            "Content_Length",
            "tracestate",
        ] {
            assert!(removed.contains(name), "{name} is missing in {removed}");
        }
        assert!(!removed.contains("Authorization,") || removed.contains("Proxy-Authorization"));
        assert!(story.contains("passed on       Authorization, Cookie, Accept"));
    }

    #[test]
    fn tells_a_public_route_other_methods_and_nothing() {
        assert!(story("POST", "/api/v1/auth/login").contains("{rl:ip:<client address>}:auth-login: 10/s"));
        assert!(!story("POST", "/api/v1/auth/login").contains(" rl:ip:"));
        assert!(story("GET", "/api/v1/auth/login").contains("405, Allow: POST"));
        assert!(story("GET", "/nowhere").contains("404 no_route"));
        assert!(story("GET", "/healthz").contains("the gateway itself"));
        assert!(story("GET", "/a/../b").contains("refused         400"));
    }
}
