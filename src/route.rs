//! Routing: finds the route of a request from its host, method and canonical path, and its fields where routes ask.
//!
//! The routes of the request's own host come first, then those of `*.` above it, then those without hosts. The first
//! of these with a pattern for the path decides alone. Of its patterns, only the most specific one that matches the
//! path decides: static text before a `{parameter}`, and both before `/*`. If that pattern does not have the method,
//! the answer is *method not allowed*, even if a wider pattern has it: `GET /api/v1/auth/login` must not fall through
//! to `/api/v1/auth/*` because only `POST` has a route of its own. Of the routes of that pattern which take the method,
//! the one decides that asks for the most fields which the request has. If it has those of none, no route takes it.

mod any_case;
mod conditions;
mod entry;
mod hosts;
mod paths;
mod pattern;
mod readings;
mod translate;

use crate::config::{Access, Oddities, Route};
use hosts::Hosts;
use paths::Paths;
use pattern::Pattern;
use readings::Reading;

pub use entry::{Asked, RouteEntry};

/// The table of all routes. It is immutable; a reload makes a new one.
#[derive(Debug, Clone)]
pub struct RouteTable {
    entries: Vec<RouteEntry>,
    /// Those of named hosts. `None`: there are none, and nobody looks at a host.
    hosts: Option<Box<Hosts>>,
    /// Those for every host.
    paths: Paths,
}

/// The result of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match<'t> {
    /// This route serves the request.
    Route(&'t RouteEntry),
    /// A route has the path, but no route has it with this method: 405.
    MethodNotAllowed {
        /// The value of `Allow` (RFC 9110 §10.2.1).
        allow: &'t str,
        /// Open to strangers only if every route with this path is. Otherwise the answer would show the API to them.
        access: Access,
        /// What the path may have on one of the routes.
        oddities: Oddities,
    },
    /// Routes have the path and the method, and all ask for fields that the request lacks. To its client it is as the
    /// next.
    FieldsMissing,
    /// No route has the path.
    Unknown,
}

impl<'t> Match<'t> {
    /// The route's name, for the access log.
    pub fn name(&self) -> Option<&'t str> {
        match self {
            Match::Route(entry) => Some(&entry.route.name),
            Match::MethodNotAllowed { .. } | Match::FieldsMissing | Match::Unknown => None,
        }
    }

    /// The route's place among those that the table was made of.
    pub fn index(&self) -> Option<usize> {
        match self {
            Match::Route(entry) => Some(entry.index),
            Match::MethodNotAllowed { .. } | Match::FieldsMissing | Match::Unknown => None,
        }
    }

    /// Who may see the result. An unknown path is protected too, so that strangers cannot explore the API.
    pub fn access(&self) -> Access {
        match self {
            Match::Route(entry) => entry.route.access,
            Match::MethodNotAllowed { access, .. } => *access,
            Match::FieldsMissing | Match::Unknown => Access::Protected,
        }
    }
}

impl RouteTable {
    /// Builds the table.
    ///
    /// # Errors
    /// A sentence for every malformed pattern and every two routes for the same requests, with their names.
    pub fn new(routes: &[Route]) -> Result<Self, Vec<String>> {
        let mut mistakes: Vec<String> = conditions::mistakes(routes).collect();
        let everywhere: Vec<usize> = (0..routes.len()).filter(|&at| routes[at].hosts.is_empty()).collect();
        let paths = Paths::new(routes, &everywhere, None, &mut mistakes);
        let hosts = Hosts::new(routes, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let entries = routes
            .iter()
            .enumerate()
            .map(|(index, route)| RouteEntry { index, route: route.clone() })
            .collect();
        Ok(Self { entries, hosts, paths })
    }

    /// Finds the route of a request. Method and path are compared byte by byte, so case matters, except for the paths
    /// of a route that says otherwise.
    pub fn find<'t>(&'t self, asked: Asked<'_>) -> Match<'t> {
        let Ok(path) = std::str::from_utf8(asked.path) else { return Match::Unknown };
        let of_host = self.hosts.as_ref().and_then(|hosts| hosts.find(asked.host, path));
        let Some(pattern) = of_host.or_else(|| self.paths.find(path)) else { return Match::Unknown };
        match pattern.route_of(&self.entries, &asked) {
            Some(entry) => Match::Route(entry),
            None if pattern.takes_method(&self.entries, &asked) => Match::FieldsMissing,
            None => {
                let Pattern { allow, access, oddities, .. } = pattern;
                Match::MethodNotAllowed { allow, access: *access, oddities: *oddities }
            }
        }
    }

    /// Which oddities of a path lead a server that reads them in another way to another route: parameters to any other
    /// one; encoded slashes to one that does not keep what the path has, or that asks for more. Where no route serves
    /// the request, none.
    pub fn misleading(&self, asked: Asked<'_>, found: &Match<'_>, oddities: Oddities) -> Oddities {
        let mut misleading = Oddities::default();
        let Match::Route(found) = found else { return misleading };
        // Empty segments are merged already.
        let oddities = Oddities { empty_segments: false, ..oddities };
        for Reading { path, is_decoded } in readings::readings(asked.path, oddities) {
            let is_harmless = match self.find(Asked { path: &path, ..asked }) {
                Match::Route(entry) if entry.index == found.index => true,
                Match::Route(RouteEntry { route, .. }) if is_decoded => {
                    !oddities.beyond(route.oddities).any() && route.asks_no_more_than(&found.route)
                }
                Match::Unknown => is_decoded,
                // Whoever leaves the fields out would get past the routes that ask for them.
                Match::Route(_) | Match::MethodNotAllowed { .. } | Match::FieldsMissing => false,
            };
            misleading.encoded_slash |= is_decoded && !is_harmless;
            misleading.parameters |= !is_decoded && !is_harmless;
        }
        misleading
    }

    /// The routes, in the order written.
    pub fn entries(&self) -> &[RouteEntry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests;
