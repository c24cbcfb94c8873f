//! The lists of all keys of routes, in the order of the manual.

use super::key::RouteKey;
use super::{
    access, body, claims, conditions, edits, forwarding, hosts, issuers, limits, methods, name, networks,
    oddities, paths, prefixes, replies, shares, timeouts, tokens_from,
};

/// The keys of a `[[route]]`.
pub const ROUTE_KEYS: [RouteKey; 36] = [
    name::NAME,
    hosts::HOSTS,
    paths::PATHS,
    paths::TRAILING_SLASH,
    paths::PATH_CASE,
    oddities::EMPTY_SEGMENTS,
    oddities::ENCODED_SLASH,
    oddities::PATH_PARAMETERS,
    shares::UPSTREAM,
    shares::UPSTREAMS,
    replies::REDIRECT,
    replies::RESPOND,
    prefixes::STRIP_PREFIX,
    prefixes::ADD_PREFIX,
    methods::METHODS,
    conditions::HEADERS,
    access::ACCESS,
    access::KIND,
    networks::ALLOW,
    networks::DENY,
    issuers::ISSUERS,
    tokens_from::TOKENS_FROM,
    claims::REQUIRE,
    claims::CLAIMS_TO_HEADERS,
    forwarding::FORWARD_AUTHORIZATION,
    forwarding::FORWARD_METHOD_OVERRIDE,
    forwarding::FORWARD_TRAILERS,
    edits::REQUEST_HEADERS,
    edits::RESPONSE_HEADERS,
    forwarding::HOST,
    timeouts::HEAD_TIMEOUT,
    timeouts::IDLE_TIMEOUT,
    timeouts::BODY_TIMEOUT,
    body::BODY_MAX_BYTES,
    limits::LIMIT_GLOBAL,
    limits::LIMIT,
];

/// The keys of a `[[route.limit]]`.
pub const LIMIT_KEYS: [RouteKey; 4] = [limits::RATE, limits::BURST, limits::PER, limits::COST];
