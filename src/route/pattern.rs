//! The routes of one pattern, told apart by method.

use crate::config::{Access, Route};

use super::entry::{Asked, RouteEntry};

/// The routes of one pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// Indexes into the entries of the table.
    routes: Vec<usize>,
    pub(super) allow: String,
    pub(super) access: Access,
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
        Self { routes: routes.to_vec(), allow: allow.join(", "), access }
    }

    /// The route that lists the method; else, for HEAD, the one that lists GET; else the one that takes any method.
    pub(super) fn route_of<'t>(
        &self,
        entries: &'t [RouteEntry],
        asked: &Asked<'_>,
    ) -> Option<&'t RouteEntry> {
        let routes = || self.routes.iter().map(|&at| &entries[at]);
        let listing = |name: &[u8]| routes().find(|e| e.route.methods.iter().any(|m| m.as_bytes() == name));
        listing(asked.method)
            .or_else(|| if asked.method == b"HEAD" { listing(b"GET") } else { None })
            .or_else(|| routes().find(|entry| entry.route.methods.is_empty()))
    }
}

/// What two routes of one pattern both take: a method, or any.
pub(super) fn contested<'r>(earlier: &'r Route, later: &'r Route) -> Option<&'r str> {
    let both_any = earlier.methods.is_empty() && later.methods.is_empty();
    let shared = earlier.methods.iter().find(|method| later.methods.contains(method));
    if both_any { Some("any method") } else { shared.map(String::as_str) }
}
