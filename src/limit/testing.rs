//! Shared by the tests of this module: limits, requests and routes.

use super::{Client, LimitedRequest};
use crate::config::{
    Access, LimitHeaders, LimitStore, OnRedisFailure, PathCase, Rate, RateLimit, Route, RouteKind,
    TokenSources, TrailingSlash,
};

/// A global limit, kept in memory.
pub(crate) fn global(rate: &str, burst: u32) -> RateLimit {
    let (whole, milli) = rate.split_once('.').unwrap_or((rate, "000"));
    let rate = Rate::from_milli(format!("{whole}{milli:0<3}").parse().unwrap());
    let (prefix, on_failure) = ("rl".to_owned(), OnRedisFailure::Open);
    RateLimit { store: LimitStore::Memory, rate, burst, prefix, on_failure, headers: LimitHeaders::Refused }
}

/// A request that no route matches.
pub(crate) fn request(client: Client<'_>) -> LimitedRequest<'_> {
    LimitedRequest { client, address: [192, 0, 2, 1].into(), route: None }
}

/// A route without limits of its own.
pub(crate) fn route(name: &str, access: Access) -> Route {
    Route {
        name: name.to_owned(),
        methods: Vec::new(),
        paths: vec![format!("/{name}")],
        trailing_slash: TrailingSlash::Exact,
        path_case: PathCase::Exact,
        upstream: 0,
        access,
        kind: RouteKind::Http,
        token_sources: TokenSources::ALL,
        authorization_forwarded: true,
        method_override_forwarded: false,
        trailers_forwarded: false,
        body_bytes_max: None,
        is_limited_globally: true,
        limits: Vec::new(),
    }
}
