//! Routing: finds the route of a request from its method and canonical path.
//!
//! Only the most specific pattern that matches the path decides: static text before a `{parameter}`, and both before
//! `/*`. If that pattern does not have the method, the answer is *method not allowed*, even if a wider pattern has it:
//! `GET /api/v1/auth/login` must not fall through to `/api/v1/auth/*` because only `POST` has a route of its own.

mod any_case;

use std::collections::{BTreeMap, HashMap};

use any_case::AnyCase;
use matchit::{InsertError, Router};

use crate::config::{Access, PathCase, Route, TrailingSlash};

/// The table of all routes. It is immutable; a reload makes a new one.
#[derive(Debug, Clone)]
pub struct RouteTable {
    entries: Vec<RouteEntry>,
    /// Paths without a parameter. They take precedence over patterns.
    exact: HashMap<String, Pattern>,
    /// Those that are matched in any case.
    any_case: AnyCase<Pattern>,
    patterns: Router<Pattern>,
}

/// One route and its index in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteEntry {
    /// Index into [`crate::config::Config::routes`].
    pub index: usize,
    /// The route as configured.
    pub route: Route,
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
    },
    /// No route has the path.
    Unknown,
}

impl<'t> Match<'t> {
    /// The route's name, for the access log.
    pub fn name(&self) -> Option<&'t str> {
        match self {
            Match::Route(entry) => Some(&entry.route.name),
            Match::MethodNotAllowed { .. } | Match::Unknown => None,
        }
    }

    /// Who may see the result. An unknown path is protected too, so that strangers cannot explore the API.
    pub fn access(&self) -> Access {
        match self {
            Match::Route(entry) => entry.route.access,
            Match::MethodNotAllowed { access, .. } => *access,
            Match::Unknown => Access::Protected,
        }
    }
}

/// The routes of one pattern.
#[derive(Debug, Clone)]
struct Pattern {
    /// Indexes into [`RouteTable::entries`].
    routes: Vec<usize>,
    allow: String,
    access: Access,
}

/// A pattern while the table is built: as written, with the routes that have it.
struct Draft {
    written: String,
    routes: Vec<usize>,
}

impl RouteTable {
    /// Builds the table.
    ///
    /// # Errors
    /// A sentence for every malformed pattern and every two routes for the same requests, with their names.
    pub fn new(routes: &[Route]) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut drafts = drafts(routes, &mut mistakes);
        let any_case = any_case(routes, &mut drafts);
        let (mut exact, mut patterns) = (HashMap::new(), Router::new());
        for (pattern, draft) in &drafts {
            mistakes.extend(contested_methods(routes, draft));
            let value = Pattern::new(routes, &draft.routes);
            if !pattern.contains('{') {
                exact.insert(pattern.clone(), value);
            } else if let Err(error) = patterns.insert(pattern.clone(), value) {
                mistakes.push(insert_mistake(&error, routes, draft, &drafts));
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let entries = routes
            .iter()
            .enumerate()
            .map(|(index, route)| RouteEntry { index, route: route.clone() })
            .collect();
        Ok(Self { entries, exact, any_case, patterns })
    }

    /// Finds the route of a request. `method` is as sent. `path` is canonical and without its query: the bytes that are
    /// forwarded. Both are compared byte by byte, so case matters, except for the paths of a route that says otherwise.
    ///
    /// It does not allocate for exact paths, nor for patterns with at most three parameters, unless a parameter
    /// competes with static text (`/a/{x}/b` and `/a/c/{y}`): then matchit uses lists on the heap. It would also do so
    /// for `/a/b` and `/a/*`, so exact paths are looked up first.
    pub fn find<'t>(&'t self, method: &[u8], path: &[u8]) -> Match<'t> {
        let Ok(path) = std::str::from_utf8(path) else { return Match::Unknown };
        let pattern = match self.exact.get(path).or_else(|| self.any_case.get(path)) {
            Some(pattern) => pattern,
            None => match self.patterns.at(path) {
                Ok(found) => found.value,
                Err(_) => return Match::Unknown,
            },
        };
        match pattern.route_of(&self.entries, method) {
            Some(entry) => Match::Route(entry),
            None => Match::MethodNotAllowed { allow: &pattern.allow, access: pattern.access },
        }
    }

    /// The routes, in the order written.
    pub fn entries(&self) -> &[RouteEntry] {
        &self.entries
    }
}

impl Pattern {
    fn new(all: &[Route], routes: &[usize]) -> Self {
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
    fn route_of<'t>(&self, entries: &'t [RouteEntry], method: &[u8]) -> Option<&'t RouteEntry> {
        let routes = || self.routes.iter().map(|&at| &entries[at]);
        let listing = |name: &[u8]| routes().find(|e| e.route.methods.iter().any(|m| m.as_bytes() == name));
        listing(method)
            .or_else(|| if method == b"HEAD" { listing(b"GET") } else { None })
            .or_else(|| routes().find(|entry| entry.route.methods.is_empty()))
    }
}

/// All patterns in the syntax of matchit, each with the routes that have it.
fn drafts(routes: &[Route], mistakes: &mut Vec<String>) -> BTreeMap<String, Draft> {
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    let mut roots: BTreeMap<String, Draft> = BTreeMap::new();
    let written =
        routes.iter().enumerate().flat_map(|(at, route)| spellings(route).map(move |path| (at, path)));
    for (at, written) in written {
        let (pattern, root) = match translate(&written) {
            Ok(translated) => translated,
            Err(mistake) => {
                mistakes.push(format!("route \"{}\": path \"{written}\": {mistake}", routes[at].name));
                continue;
            }
        };
        add(&mut drafts, pattern, &written, at);
        if let Some(root) = root {
            add(&mut roots, root, &written, at);
        }
    }
    // `/below/*` matches `/below/` too, unless that has a pattern of its own.
    for (root, draft) in roots {
        drafts.entry(root).or_insert(draft);
    }
    drafts
}

/// The paths that are matched in any case. Each such route also goes to the drafts that differ from one of its paths in
/// case alone: there it competes with their own routes, and two for the same method are a mistake.
fn any_case(routes: &[Route], drafts: &mut BTreeMap<String, Draft>) -> AnyCase<Pattern> {
    let mut folded: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, route) in routes.iter().enumerate().filter(|(_, route)| route.path_case == PathCase::Any) {
        for path in spellings(route) {
            let others = drafts.keys().filter(|other| other.eq_ignore_ascii_case(&path));
            let others: Vec<String> = others.cloned().collect();
            others.into_iter().for_each(|other| add(drafts, other, &path, at));
            let same = folded.entry(path.to_ascii_lowercase()).or_default();
            if !same.contains(&at) {
                same.push(at);
            }
        }
    }
    AnyCase::new(folded.into_iter().map(|(path, at)| (path, Pattern::new(routes, &at))).collect())
}

/// The paths of a route as written, and with or without their trailing slash if the route takes both.
fn spellings(route: &Route) -> impl Iterator<Item = String> {
    let other = |path: &String| match path.strip_suffix("/*").or_else(|| path.strip_suffix('/')) {
        _ if route.trailing_slash == TrailingSlash::Exact => None,
        Some("") => None,
        Some(without) => Some(without.to_owned()),
        None => Some(format!("{path}/")),
    };
    route.paths.iter().flat_map(move |path| std::iter::once(path.clone()).chain(other(path)))
}

fn add(drafts: &mut BTreeMap<String, Draft>, pattern: String, written: &str, at: usize) {
    let draft =
        drafts.entry(pattern).or_insert_with(|| Draft { written: written.to_owned(), routes: Vec::new() });
    if !draft.routes.contains(&at) {
        draft.routes.push(at);
    }
}

/// Translates a pattern into the syntax of matchit; for `/below/*` also its `/below/`. Parameters are renamed by
/// position, so two routes may use different names for the same segment.
fn translate(written: &str) -> Result<(String, Option<String>), &'static str> {
    let Some(segments) = written.strip_prefix('/') else { return Err("must begin with /") };
    let mut pattern = String::new();
    let mut segments = segments.split('/').enumerate().peekable();
    while let Some((position, segment)) = segments.next() {
        pattern.push('/');
        if segment == "*" {
            if segments.peek().is_some() {
                return Err("* must be the last segment");
            }
            return Ok((format!("{pattern}{{*{position}}}"), Some(pattern)));
        }
        match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some("") => return Err("a parameter needs a name"),
            Some(name) if !name.contains(['{', '}', '*']) => pattern += &format!("{{{position}}}"),
            // A canonical path has no brace, so a literal one could not match anything. And braces have a meaning in
            // matchit.
            _ if segment.contains(['{', '}']) => return Err("{parameter} must be a whole segment"),
            _ if segment.contains('*') => return Err("* must be a whole segment"),
            _ => pattern.push_str(segment),
        }
    }
    Ok((pattern, None))
}

/// The mistakes where two routes have the same pattern and the same method.
fn contested_methods(all: &[Route], draft: &Draft) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (nth, &later) in draft.routes.iter().enumerate() {
        for &earlier in &draft.routes[..nth] {
            let (earlier, later) = (&all[earlier], &all[later]);
            let both_any = earlier.methods.is_empty() && later.methods.is_empty();
            let shared = earlier.methods.iter().find(|method| later.methods.contains(method));
            if both_any || shared.is_some() {
                let what = shared.map_or("any method", String::as_str);
                let Draft { written, .. } = draft;
                mistakes.push(format!(
                    "route \"{}\": path \"{written}\" with {what} is taken by route \"{}\"",
                    later.name, earlier.name
                ));
            }
        }
    }
    mistakes
}

fn insert_mistake(
    error: &InsertError,
    all: &[Route],
    draft: &Draft,
    drafts: &BTreeMap<String, Draft>,
) -> String {
    let owner = |draft: &Draft| all[draft.routes[0]].name.as_str();
    let (name, written) = (owner(draft), &draft.written);
    if let InsertError::Conflict { with } = error
        && let Some(other) = drafts.get(with)
    {
        let (other_name, other) = (owner(other), &other.written);
        return format!(
            "route \"{name}\": path \"{written}\" conflicts with \"{other}\" of route \"{other_name}\": \
             {{parameter}} and * cannot share a segment"
        );
    }
    format!("route \"{name}\": path \"{written}\": {error}")
}

#[cfg(test)]
mod tests;
