//! The upstreams and routes of RealChat, in force without a file that has its own.

use crate::config::address::UpstreamUrl;
use crate::config::key::Key;
use crate::config::keys::upstreams::{
    UPSTREAM_AUTH_URL, UPSTREAM_CONVERSATION_URL, UPSTREAM_DELIVERY_URL, UPSTREAM_MESSAGE_URL,
    UPSTREAM_PROFILE_URL,
};
use crate::config::layers::Layers;
use crate::config::meaning::{
    Access, PathCase, Per, RateLimit, Route, RouteKind, RouteLimit, TokenSources, TrailingSlash, Upstream,
};

/// The services of RealChat: the setting of each URL and the name in routes.
pub(super) const SERVICES: [(&Key<UpstreamUrl>, &str); 5] = [
    (&UPSTREAM_AUTH_URL, "auth"),
    (&UPSTREAM_MESSAGE_URL, "message"),
    (&UPSTREAM_DELIVERY_URL, "delivery"),
    (&UPSTREAM_PROFILE_URL, "profile"),
    (&UPSTREAM_CONVERSATION_URL, "conversation"),
];

/// The upstreams of [`SERVICES`], in their order.
pub(super) fn upstreams(layers: &mut Layers) -> Vec<Upstream> {
    SERVICES.iter().map(|(key, name)| layers.value(key).named(name)).collect()
}

/// The routes of RealChat, over the upstreams of [`SERVICES`].
///
/// Registering and logging in have buckets of their own: browsing takes no tokens from them, and guessing passwords
/// takes no tokens from browsing.
pub(crate) fn routes(global: &RateLimit) -> Vec<Route> {
    let route = |name: &str, methods: &[&str], paths: &[&str], upstream: &str| Route {
        methods: methods.iter().map(ToString::to_string).collect(),
        upstream: SERVICES.iter().position(|(_, name)| *name == upstream).unwrap_or_default(),
        ..Route::new(name, paths)
    };
    // What the service may read as the limited path must not be served by `/api/v1/auth/*`, without that limit.
    let every_spelling =
        |route| Route { trailing_slash: TrailingSlash::Either, path_case: PathCase::Any, ..route };
    let own = RouteLimit { rate: global.rate, burst: global.burst, per: Per::Ip, cost: 1 };
    let public = |route| Route {
        access: Access::Public,
        is_limited_globally: false,
        limits: vec![own],
        ..every_spelling(route)
    };
    vec![
        public(route("auth-register", &["POST"], &["/api/v1/auth/register"], "auth")),
        public(route("auth-login", &["POST"], &["/api/v1/auth/login"], "auth")),
        route("auth", &[], &["/api/v1/auth/*"], "auth"),
        route("users", &[], &["/api/v1/users/*"], "profile"),
        route("conversations", &[], &["/api/v1/conversations", "/api/v1/conversations/*"], "conversation"),
        route("messages", &[], &["/api/v1/messages", "/api/v1/messages/*"], "message"),
        Route {
            kind: RouteKind::WebSocket,
            token_sources: TokenSources::of_handshakes(),
            ..route("ws", &["GET"], &["/ws"], "delivery")
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::routes::{name, paths};
    use crate::config::testing::config;

    #[test]
    fn registering_and_logging_in_have_buckets_of_their_own_per_address() {
        let global = config("").rate_limit;
        let own = RouteLimit { rate: global.rate, burst: global.burst, per: Per::Ip, cost: 1 };
        for route in routes(&global) {
            let is_own = ["auth-register", "auth-login"].contains(&route.name.as_str());
            assert_eq!(route.is_limited_globally, !is_own, "{}", route.name);
            assert_eq!(route.limits, if is_own { vec![own] } else { vec![] }, "{}", route.name);
        }
    }

    #[test]
    fn realchat_has_seven_routes_over_five_upstreams() {
        let routes = routes(&config("").rate_limit);
        assert_eq!(routes.len(), 7);
        let public: Vec<_> =
            routes.iter().filter(|r| r.access == Access::Public).map(|r| r.name.as_str()).collect();
        assert_eq!(public, ["auth-register", "auth-login"]);
        let to = |name: &str| routes.iter().find(|r| r.name == name).map(|r| SERVICES[r.upstream].1);
        assert_eq!(to("users"), Some("profile"));
        assert_eq!(to("conversations"), Some("conversation"));
        assert_eq!(to("messages"), Some("message"));
        assert_eq!(to("ws"), Some("delivery"));
        for route in &routes {
            assert!(route.paths.iter().all(|p| paths::judge(p).is_ok()) && name::judge(&route.name).is_ok());
        }
    }
}
