//! `tokens_from` of a route.

use super::fields;
use super::key::RouteKey;
use super::report::Report;
use crate::config::layers::Layers;
use crate::config::meaning::token_sources::{ACCESS_TOKEN, BEARER};
use crate::config::meaning::{Access, Origins, Route, RouteKind, TokenEncoding, TokenPrefix, TokenSources};
use crate::config::value::{Parsed, quoted};
use crate::config::written::WrittenRoute;
use crate::limits::{NAME_BYTES_MAX, TOKEN_PLACES_MAX, TOKEN_SOURCES_MAX};

/// Where a request may carry its token.
pub(super) const TOKENS_FROM: RouteKey = RouteKey {
    name: "tokens_from",
    default: "`header`; where handshakes are taken also `subprotocol` and `query`",
    help: "Where a request may carry its token: a list of `header`, `header:NAME`, `cookie:NAME`, `query:NAME`, and \
           for handshakes `subprotocol:PREFIX` and `subprotocol-base64url:PREFIX`. `query` is \
           `query:access_token`, `subprotocol` is `subprotocol:bearer.`.",
};

pub(super) fn token_sources(
    route: &WrittenRoute,
    (access, kind): (Access, RouteKind),
    origins: &Origins,
    report: &mut Report<'_>,
) -> TokenSources {
    let default = || match kind {
        RouteKind::Http => TokenSources::header(),
        RouteKind::WebSocket | RouteKind::Both => TokenSources::of_handshakes(),
    };
    let Some(names) = &route.tokens_from else { return default() };
    let sources = match sources(names) {
        Ok(sources) => sources,
        Err(why) => {
            report.add(&format!("tokens_from {why}"));
            return default();
        }
    };
    if access == Access::Public {
        report.add("tokens_from is for routes that look at tokens, and a public route does not");
    }
    if kind == RouteKind::Http && !sources.subprotocols.is_empty() {
        report.add("tokens_from names a subprotocol, and a route of kind http takes no handshakes");
    }
    // A browser sends cookies with every handshake, whichever page begins it.
    if kind != RouteKind::Http && !sources.cookies.is_empty() && *origins == Origins::Any {
        report.add(
            "tokens_from names a cookie: WS_ALLOWED_ORIGINS has to say which pages may use it, and not *",
        );
    }
    sources
}

/// The sources of all routes together, and those that count where no route is known: with a token in one of them a
/// client is told the same on every path.
pub(in crate::config) fn all_token_sources(layers: &mut Layers, routes: &[Route]) -> TokenSources {
    let mut all = TokenSources::of_handshakes();
    routes.iter().for_each(|route| all.join(&route.token_sources));
    if all.len() > TOKEN_PLACES_MAX {
        let why = format!(
            "{}: all routes have {} different ones, over {TOKEN_PLACES_MAX}",
            TOKENS_FROM.name,
            all.len()
        );
        layers.mistakes.add("route", &why);
    }
    all
}

/// Reads the names of sources.
fn sources(names: &[String]) -> Parsed<TokenSources> {
    if names.is_empty() {
        return Err("is empty (leave it out for the default)".to_owned());
    }
    if names.len() > TOKEN_SOURCES_MAX {
        return Err(format!("has {} sources, over {TOKEN_SOURCES_MAX}", names.len()));
    }
    let mut sources = TokenSources::default();
    for written in names {
        let before = sources.len();
        sources.join(&source(written)?);
        if sources.len() == before {
            return Err(format!("names {} twice", quoted(written)));
        }
    }
    let prefixes = &sources.subprotocols;
    let begins = |one: &TokenPrefix, other: &TokenPrefix| {
        one != other && other.prefix.to_ascii_lowercase().starts_with(&one.prefix.to_ascii_lowercase())
    };
    match prefixes.iter().find(|one| prefixes.iter().any(|other| begins(one, other))) {
        Some(one) => {
            Err(format!("has two prefixes of which one begins with the other: {}", quoted(&one.prefix)))
        }
        None => Ok(sources),
    }
}

fn source(written: &str) -> Parsed<TokenSources> {
    let (place, name) = written.split_once(':').map_or((written, None), |(place, name)| (place, Some(name)));
    let subprotocol = |prefix: &str, encoding| {
        token(prefix).map(|prefix| TokenSources {
            subprotocols: vec![TokenPrefix { prefix, encoding }],
            ..TokenSources::default()
        })
    };
    match (place, name) {
        ("header", None) => Ok(TokenSources::header()),
        ("header", Some(name)) => {
            let name = fields::name(name).map_err(|why| format!("{} {why}", quoted(written)))?;
            Ok(TokenSources { fields: vec![name], ..TokenSources::default() })
        }
        ("subprotocol", name) => subprotocol(name.unwrap_or(BEARER), TokenEncoding::Plain),
        ("subprotocol-base64url", Some(prefix)) => subprotocol(prefix, TokenEncoding::Base64url),
        ("query", name) => {
            let queries = vec![parameter(name.unwrap_or(ACCESS_TOKEN))?];
            Ok(TokenSources { queries, ..TokenSources::default() })
        }
        ("cookie", Some(name)) => Ok(TokenSources { cookies: vec![token(name)?], ..TokenSources::default() }),
        _ => Err(format!(
            "{} is not header, header:NAME, cookie:NAME, query:NAME, subprotocol:PREFIX or \
             subprotocol-base64url:PREFIX",
            quoted(written)
        )),
    }
}

/// A token of HTTP (RFC 9110 §5.6.2), as the names of cookies (RFC 6265 §4.1.1) and subprotocols are.
fn token(name: &str) -> Parsed<String> {
    let is_token =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    match name.len() {
        1..=NAME_BYTES_MAX if is_token => Ok(name.to_owned()),
        _ => Err(format!("{} is not a token of 1 to {NAME_BYTES_MAX} bytes", quoted(name))),
    }
}

/// The name of a parameter that has one spelling, but for case, escapes and what stands for `_`, `-` and `.`.
fn parameter(name: &str) -> Parsed<String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    match name.len() {
        1..=NAME_BYTES_MAX if is_plain => Ok(name.to_owned()),
        _ => Err(format!("{} is not 1 to {NAME_BYTES_MAX} letters, digits, '_', '-' or '.'", quoted(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::routes::testing::{lowered_route, mistake};
    use crate::config::testing::lowered_toml;

    #[test]
    fn sources_have_names_and_are_shown_by_them() {
        let of = |names: &[&str]| sources(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(&["header", "subprotocol", "query"]), Ok(TokenSources::of_handshakes()));
        assert_eq!(
            of(&["query:access_token", "subprotocol:bearer.", "header"]),
            Ok(TokenSources::of_handshakes())
        );
        let all = [
            "header",
            "header:x-auth-token",
            "subprotocol",
            "subprotocol:jwt-",
            "subprotocol-base64url:base64url.bearer.phx.",
            "query",
            "query:token",
            "cookie:__Host-token",
        ];
        assert_eq!(of(&all).map(|sources| sources.to_string()), Ok(all.join(", ")));
        for wrong in [
            &[][..],
            &["cookie"],
            &["cookie:"],
            &["cookie:a b"],
            &["cookie:a;b"],
            &["cookie:a=b"],
            &["query:"],
            &["query:a=b"],
            &["query:a%20b"],
            &["query:a[]"],
            &["subprotocol:"],
            &["subprotocol:a b"],
            &["subprotocol-base64url"],
            &["header:"],
            &["header:x_y"],
            &["header:x y"],
            &["header:x-a", "header:X-A"],
            &["body"],
            &["query", "query:access_token"],
            &["header", "header"],
            &["subprotocol", "subprotocol:Bearer.x."],
            &["query:a"; 9],
        ] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_default_depends_on_whether_handshakes_are_taken() {
        assert_eq!(lowered_route("").token_sources, TokenSources::header());
        for kind in ["websocket", "both"] {
            let route = lowered_route(&format!("kind = '{kind}'\n"));
            assert_eq!(route.token_sources, TokenSources::of_handshakes());
        }
    }

    #[test]
    fn tells_what_makes_no_sense_of_a_route() {
        for (keys, told) in [
            (
                "access = 'public'\ntokens_from = ['header']",
                "tokens_from is for routes that look at tokens, and a public route does not",
            ),
            (
                "tokens_from = ['header', 'subprotocol']",
                "tokens_from names a subprotocol, and a route of kind http takes no handshakes",
            ),
            (
                "kind = 'websocket'\ntokens_from = ['cookie:a']",
                "tokens_from names a cookie: WS_ALLOWED_ORIGINS has to say which pages may use it, and not *",
            ),
            (
                "kind = 'both'\ntokens_from = ['cookie:a']",
                "tokens_from names a cookie: WS_ALLOWED_ORIGINS has to say which pages may use it, and not *",
            ),
            (
                "tokens_from = ['cookie']",
                "tokens_from \"cookie\" is not header, header:NAME, cookie:NAME, query:NAME, subprotocol:PREFIX or \
                 subprotocol-base64url:PREFIX",
            ),
        ] {
            assert_eq!(mistake(&format!("{keys}\n")), format!("route \"shop\" (gateway.toml:3): {told}"));
        }
        assert_eq!(lowered_route("tokens_from = ['cookie:a']\n").token_sources.cookies, ["a"]);
    }

    #[test]
    fn a_cookie_on_a_websocket_needs_a_list_of_origins() {
        for (origins, is_valid) in [("'*'", false), ("'https://a.example'", true), ("'none'", true)] {
            let text = format!(
                "ws_allowed_origins = {origins}\n[upstreams.a]\nurl = 'http://a'\n[[route]]\nname = 'r'\n\
                 paths = ['/']\nupstream = 'a'\nkind = 'websocket'\ntokens_from = ['cookie:a']\n"
            );
            assert_eq!(lowered_toml(&text).is_ok(), is_valid, "{origins}");
        }
    }

    #[test]
    fn there_is_a_bound_for_the_sources_of_all_routes_together() {
        let route = |n: usize| {
            format!(
                "[[route]]\nname = 'r{n}'\npaths = ['/{n}']\nupstream = 'a'\ntokens_from = ['query:t{n}']\n"
            )
        };
        let text =
            |count| format!("[upstreams.a]\nurl = 'http://a'\n{}", (0..count).map(route).collect::<String>());
        assert!(lowered_toml(&text(TOKEN_PLACES_MAX - 3)).is_ok());
        let told = lowered_toml(&text(TOKEN_PLACES_MAX)).unwrap_err().to_string();
        assert_eq!(told, "route: tokens_from: all routes have 19 different ones, over 16");
    }
}
