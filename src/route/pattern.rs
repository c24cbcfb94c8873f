//! The routes of one pattern, told apart by method and fields.

use std::cmp::Reverse;

use crate::config::{Access, FieldCondition, Oddities, Route};

use super::conditions::are_met;
use super::entry::{Asked, RouteEntry};

/// The routes of one pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// Indexes into the entries of the table, of those that ask for the most fields first.
    routes: Vec<usize>,
    pub(super) allow: String,
    pub(super) access: Access,
    /// What a path may have on one of the routes.
    pub(super) oddities: Oddities,
}

impl Pattern {
    pub(super) fn new(all: &[Route], routes: &[usize]) -> Self {
        let mut allow: Vec<&str> = Vec::new();
        for method in routes.iter().flat_map(|&at| &all[at].methods) {
            // RFC 9110 §9.1: GET and HEAD go together.
            let implied = if method == "GET" { "HEAD" } else { method };
            for name in [method, implied] {
                if !allow.contains(&name) {
                    allow.push(name);
                }
            }
        }
        let is_any = |access| routes.iter().any(|&at| all[at].access == access);
        let access = match (is_any(Access::Protected), is_any(Access::Optional)) {
            (true, _) => Access::Protected,
            (false, true) => Access::Optional,
            (false, false) => Access::Public,
        };
        let mut routes = routes.to_vec();
        routes.sort_by_key(|&at| Reverse(all[at].conditions.len()));
        let oddities = routes.iter().fold(Oddities::default(), |sum, &at| sum.and(all[at].oddities));
        Self { routes, allow: allow.join(", "), access, oddities }
    }

    /// Of the routes that list the method, the first whose conditions the request meets; else, for HEAD, of those that
    /// list GET; else of those that take any method.
    pub(super) fn route_of<'t>(
        &self,
        entries: &'t [RouteEntry],
        asked: &Asked<'_>,
    ) -> Option<&'t RouteEntry> {
        let routes = || self.routes.iter().map(|&at| &entries[at]);
        let is_met = |entry: &&RouteEntry| are_met(&entry.route.conditions, asked);
        let listing = |name: &[u8]| routes().find(|entry| lists(&entry.route, name) && is_met(entry));
        listing(asked.method)
            .or_else(|| if asked.method == b"HEAD" { listing(b"GET") } else { None })
            .or_else(|| routes().find(|entry| entry.route.methods.is_empty() && is_met(entry)))
    }

    /// Whether a route takes the method, with the fields that it asks for.
    pub(super) fn takes_method(&self, entries: &[RouteEntry], asked: &Asked<'_>) -> bool {
        self.routes.iter().map(|&at| &entries[at].route).any(|route| {
            let is_head = asked.method == b"HEAD" && lists(route, b"GET");
            route.methods.is_empty() || lists(route, asked.method) || is_head
        })
    }
}

fn lists(route: &Route, method: &[u8]) -> bool {
    route.methods.iter().any(|listed| listed.as_bytes() == method)
}

/// What two routes of one pattern both take, with nothing that decides between them: a method, or any.
pub(super) fn contested<'r>(earlier: &'r Route, later: &'r Route) -> Option<&'r str> {
    let excludes = |one: &FieldCondition| later.conditions.iter().any(|other| one.excludes(other));
    if earlier.conditions.len() != later.conditions.len() || earlier.conditions.iter().any(excludes) {
        return None;
    }
    let both_any = earlier.methods.is_empty() && later.methods.is_empty();
    let shared = earlier.methods.iter().find(|method| later.methods.contains(method));
    if both_any { Some("any method") } else { shared.map(String::as_str) }
}
