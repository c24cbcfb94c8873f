//! Shared by the tests of this module: limits, requests and routes.

use super::{Client, LimitedRequest};
use crate::config::{Access, LimitHeaders, LimitStore, OnRedisFailure, Rate, RateLimit, Route};

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
    Route { access, ..Route::new(name, &[&format!("/{name}")]) }
}
