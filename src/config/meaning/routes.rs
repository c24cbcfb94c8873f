//! The routes: which requests go to which upstream, on which conditions.

use super::bounds::RouteTimeouts;
use super::choice::Choice;
use super::claims::{ClaimField, RequiredClaim};
use super::client_networks::ClientNetworks;
use super::conditions::FieldCondition;
use super::field_edits::FieldEdits;
use super::host_sent::HostSent;
use super::hosts::HostPattern;
use super::limits::Rate;
use super::oddities::Oddities;
use super::prefixes::Prefixes;
use super::replies::Reply;
use super::token_sources::TokenSources;
use super::tokens::IssuerSet;

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: String,
    /// File and line of its definition (`gateway.toml:12`). Empty: it is built in.
    pub place: String,
    /// The hosts whose requests it takes. Empty: every host.
    pub hosts: Vec<HostPattern>,
    /// The methods that it accepts, in upper case. Empty: any method.
    pub methods: Vec<String>,
    /// The fields that a request must have. Empty: it takes any.
    pub conditions: Vec<FieldCondition>,
    /// Path patterns: `/exact`, `/with/{parameter}`, `/below/*` (every path below, and `/below/` itself).
    pub paths: Vec<String>,
    /// Whether the paths are matched with and without a trailing slash.
    pub trailing_slash: TrailingSlash,
    /// Whether the paths are matched in any case. If so, they have neither `{parameter}` nor `*`.
    pub path_case: PathCase,
    /// Which oddities a path may have.
    pub oddities: Oddities,
    /// How the path that goes upstream differs from the client's.
    pub prefixes: Prefixes,
    /// What it answers itself. `None`: its requests go to an upstream.
    pub reply: Option<Reply>,
    /// Index into [`super::config::Config::upstreams`]; the first one of `shares`, if there are any.
    pub upstream: usize,
    /// The upstreams among which the requests are divided. Empty: all go to `upstream`.
    pub shares: Vec<Share>,
    /// Who may use it.
    pub access: Access,
    /// From where.
    pub networks: ClientNetworks,
    /// The protocol that it carries.
    pub kind: RouteKind,
    /// The issuers whose tokens it takes.
    pub issuers: IssuerSet,
    /// Where a request may carry its token.
    pub token_sources: TokenSources,
    /// The claims that a token must have, all of them.
    pub require: Vec<RequiredClaim>,
    /// The fields that are set from claims.
    pub claim_fields: Vec<ClaimField>,
    /// Whether the client's `Authorization` goes to the upstream.
    pub authorization_forwarded: bool,
    /// Whether `X-HTTP-Method-Override` and its kin go to the upstream.
    pub method_override_forwarded: bool,
    /// Whether trailer fields pass, in both directions.
    pub trailers_forwarded: bool,
    /// What changes in the fields that its upstream gets.
    pub request_edits: FieldEdits,
    /// What changes in the fields that its clients get.
    pub response_edits: FieldEdits,
    /// Which `Host` its upstream gets. `None`: as [`super::upstreams::Upstream::host_sent`].
    pub host_sent: Option<HostSent>,
    /// Its own timeouts.
    pub timeouts: RouteTimeouts,
    /// The largest request body of this route, in bytes. `None`: as [`super::bounds::Sizes::body_bytes`].
    pub body_bytes_max: Option<u64>,
    /// Whether its requests also draw from the client's global bucket.
    pub is_limited_globally: bool,
    /// The limits of this route, at most [`crate::limits::ROUTE_LIMITS_MAX`].
    pub limits: Vec<RouteLimit>,
}

impl Route {
    /// A protected route over HTTP to the first upstream, for any method, with nothing of its own.
    pub fn new(name: &str, paths: &[&str]) -> Route {
        Route {
            name: name.to_owned(),
            place: String::new(),
            hosts: Vec::new(),
            methods: Vec::new(),
            conditions: Vec::new(),
            paths: paths.iter().map(ToString::to_string).collect(),
            trailing_slash: TrailingSlash::Exact,
            path_case: PathCase::Exact,
            oddities: Oddities::default(),
            prefixes: Prefixes::default(),
            reply: None,
            upstream: 0,
            shares: Vec::new(),
            access: Access::Protected,
            networks: ClientNetworks::default(),
            kind: RouteKind::Http,
            issuers: IssuerSet::ALL,
            token_sources: TokenSources::header(),
            require: Vec::new(),
            claim_fields: Vec::new(),
            authorization_forwarded: true,
            method_override_forwarded: false,
            trailers_forwarded: false,
            request_edits: FieldEdits::default(),
            response_edits: FieldEdits::default(),
            host_sent: None,
            timeouts: RouteTimeouts::default(),
            body_bytes_max: None,
            is_limited_globally: true,
            limits: Vec::new(),
        }
    }
}

/// The part of a route's requests that goes to one upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Index into [`super::config::Config::upstreams`].
    pub upstream: usize,
    /// Relative to the other weights of the route.
    pub weight: u32,
}

impl Route {
    /// What a mistake about it begins with: `route "orders" (gateway.toml:12)`.
    pub fn subject(&self) -> String {
        let place = if self.place.is_empty() { String::new() } else { format!(" ({})", self.place) };
        format!("route \"{}\"{place}", self.name)
    }

    /// Whether there may be a host whose requests both routes take.
    pub fn shares_a_host_with(&self, other: &Route) -> bool {
        let overlap = |one: &HostPattern| other.hosts.iter().any(|two| one.covers(two) || two.covers(one));
        self.hosts.is_empty() || other.hosts.is_empty() || self.hosts.iter().any(overlap)
    }

    /// Whether a request that has passed what `other` asks for has passed what this route asks for as well.
    pub fn asks_no_more_than(&self, other: &Route) -> bool {
        let is_public = self.access == Access::Public;
        (is_public || (self.access == other.access && self.issuers == other.issuers))
            && self.require.iter().all(|required| other.require.contains(required))
            && (self.networks.is_every() || self.networks == other.networks)
            && (self.limits.is_empty() || self.limits == other.limits)
            && (!self.is_limited_globally || other.is_limited_globally)
    }

    /// Every upstream that it leads to: none, if it answers itself.
    pub fn upstreams(&self) -> impl Iterator<Item = usize> {
        let shares = self.shares.iter().map(|share| share.upstream);
        std::iter::once(self.upstream).filter(|_| self.reply.is_none()).chain(shares)
    }

    /// The upstream of a request with this key. `key`: the same for everything that should go to the same upstream, and
    /// evenly spread. A share that grows keeps the keys that it had, if the others are before it.
    pub fn upstream_of(&self, key: impl FnOnce() -> u64) -> usize {
        if self.shares.is_empty() {
            return self.upstream;
        }
        let weights: u64 = self.shares.iter().map(|share| u64::from(share.weight)).sum();
        let mut place = ((u128::from(key()) * u128::from(weights)) >> 64) as u64;
        let found = self.shares.iter().find(|share| {
            let is_here = place < u64::from(share.weight);
            place = place.saturating_sub(u64::from(share.weight));
            is_here
        });
        found.map_or(self.upstream, |share| share.upstream)
    }
}

/// A limit of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimit {
    /// Refill rate of a bucket. 0: no request passes.
    pub rate: Rate,
    /// Capacity of a bucket, in tokens.
    pub burst: u32,
    /// Which requests share a bucket.
    pub per: Per,
    /// Tokens that one request takes, from 1 to `burst`.
    pub cost: u32,
}

/// Which requests of a route share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// The requests of one verified user.
    User,
    /// The requests of one client address. An IPv6 client is its /64.
    Ip,
    /// All requests.
    None,
}

impl Choice for Per {
    const ALL: &'static [Self] = &[Self::User, Self::Ip, Self::None];

    fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Ip => "ip",
            Self::None => "none",
        }
    }
}

/// How a route matches a slash at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailingSlash {
    /// As written.
    Exact,
    /// With and without it: for a service that takes both for the same.
    Either,
}

impl Choice for TrailingSlash {
    const ALL: &'static [Self] = &[Self::Exact, Self::Either];

    fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Either => "either",
        }
    }
}

/// How a route matches the case of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathCase {
    /// As written.
    Exact,
    /// In any case, of ASCII letters: for a service that ignores it.
    Any,
}

impl Choice for PathCase {
    const ALL: &'static [Self] = &[Self::Exact, Self::Any];

    fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Any => "any",
        }
    }
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Any client. Limits are per client address.
    Public,
    /// Clients with a valid token. Limits are per user.
    Protected,
    /// Clients with a valid token, and clients without any. Limits are per user or client address.
    Optional,
}

impl Choice for Access {
    const ALL: &'static [Self] = &[Self::Public, Self::Protected, Self::Optional];

    fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Protected => "protected",
            Self::Optional => "optional",
        }
    }
}

/// The protocol that a route carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// HTTP requests and responses.
    Http,
    /// A WebSocket handshake, then a tunnel.
    WebSocket,
    /// Either, as each request asks for.
    Both,
}

impl Choice for RouteKind {
    const ALL: &'static [Self] = &[Self::Http, Self::WebSocket, Self::Both];

    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Both => "both",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_asks_for_no_more_than_another_or_it_does() {
        let plain = || Route::new("r", &["/"]);
        let public = || Route { access: Access::Public, ..plain() };
        let unlimited = || Route { is_limited_globally: false, ..plain() };
        let limit = RouteLimit { rate: Rate::from_milli(1), burst: 1, per: Per::Ip, cost: 1 };
        let limited = || Route { limits: vec![limit], ..plain() };
        let inside = || {
            let deny = vec!["10.0.0.0/8".parse().expect("a network")];
            Route { networks: ClientNetworks { allow: None, deny }, ..plain() }
        };
        for (no_more, less) in
            [(plain(), plain()), (public(), plain()), (unlimited(), plain()), (plain(), limited())]
        {
            assert!(no_more.asks_no_more_than(&less), "{no_more:?} {less:?}");
        }
        for (more, less) in
            [(plain(), public()), (plain(), unlimited()), (limited(), plain()), (inside(), plain())]
        {
            assert!(!more.asks_no_more_than(&less), "{more:?} {less:?}");
        }
    }

    #[test]
    fn keys_are_divided_by_weight_and_a_share_that_grows_keeps_its_own() {
        let route = |weights: [u32; 2]| {
            let shares = [(3, weights[0]), (5, weights[1])];
            let shares = shares.map(|(upstream, weight)| Share { upstream, weight }).to_vec();
            Route { shares, ..Route::new("r", &["/"]) }
        };
        let key = |user: u64| user * (u64::MAX / 1_000) + u64::MAX / 2_000;
        let to_second = |route: &Route| -> Vec<u64> {
            (0..1_000).filter(|user| route.upstream_of(|| key(*user)) == 5).collect()
        };
        let (few, many) = (to_second(&route([95, 5])), to_second(&route([9, 1])));
        assert_eq!((few.len(), many.len()), (50, 100));
        assert!(few.iter().all(|user| many.contains(user)));
        assert_eq!((to_second(&route([1, 0])).len(), to_second(&route([0, 1])).len()), (0, 1_000));
        assert_eq!(Route::new("r", &["/"]).upstream_of(|| unreachable!("nothing to divide")), 0);
    }
}
