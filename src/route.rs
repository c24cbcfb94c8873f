//! Routing: finds the route of a request from its method and canonical path.
//!
//! Only the most specific pattern that matches the path decides: static text before a `{parameter}`, and both before
//! `/*`. If that pattern does not have the method, the answer is *method not allowed*, even if a wider pattern has it:
//! `GET /api/v1/auth/login` must not fall through to `/api/v1/auth/*` because only `POST` has a route of its own.

use std::collections::{BTreeMap, HashMap};

use matchit::{InsertError, Router};

use crate::config::{Access, Route, RouteKind};

/// The table of all routes. It is immutable; a reload makes a new one.
#[derive(Debug, Clone)]
pub struct RouteTable {
    entries: Vec<RouteEntry>,
    /// Paths without a parameter. They take precedence over patterns.
    exact: HashMap<String, Pattern>,
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
        /// Public only if every route with this path is. Otherwise the answer would show the API to strangers.
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

    /// The route, if it carries WebSockets.
    pub fn websocket(&self) -> Option<&'t Route> {
        match self {
            Match::Route(entry) if entry.route.kind == RouteKind::WebSocket => Some(&entry.route),
            Match::Route(_) | Match::MethodNotAllowed { .. } | Match::Unknown => None,
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
        let drafts = drafts(routes, &mut mistakes);
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
        Ok(Self { entries, exact, patterns })
    }

    /// Finds the route of a request. `method` is as sent. `path` is canonical and without its query: the bytes that are
    /// forwarded. Both are compared byte by byte, so case matters.
    ///
    /// It does not allocate for exact paths, nor for patterns with at most three parameters, unless a parameter
    /// competes with static text (`/a/{x}/b` and `/a/c/{y}`): then matchit uses lists on the heap. It would also do so
    /// for `/a/b` and `/a/*`, so exact paths are looked up first.
    pub fn find<'t>(&'t self, method: &[u8], path: &[u8]) -> Match<'t> {
        let Ok(path) = std::str::from_utf8(path) else { return Match::Unknown };
        let pattern = match self.exact.get(path) {
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
        let public = routes.iter().all(|&at| all[at].access == Access::Public);
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
        let access = if public { Access::Public } else { Access::Protected };
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
        routes.iter().enumerate().flat_map(|(at, route)| route.paths.iter().map(move |path| (at, path)));
    for (at, written) in written {
        let (pattern, root) = match translate(written) {
            Ok(translated) => translated,
            Err(mistake) => {
                mistakes.push(format!("route \"{}\": path \"{written}\": {mistake}", routes[at].name));
                continue;
            }
        };
        add(&mut drafts, pattern, written, at);
        if let Some(root) = root {
            add(&mut roots, root, written, at);
        }
    }
    // `/below/*` matches `/below/` too, unless that has a pattern of its own.
    for (root, draft) in roots {
        drafts.entry(root).or_insert(draft);
    }
    drafts
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
mod tests {
    use super::*;
    use crate::config::TokenSources;

    fn route(name: &str, methods: &[&str], paths: &[&str], access: Access) -> Route {
        Route {
            name: name.into(),
            methods: methods.iter().map(|m| (*m).into()).collect(),
            paths: paths.iter().map(|p| (*p).into()).collect(),
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

    fn table() -> RouteTable {
        use Access::{Protected, Public};
        RouteTable::new(&[
            route("login", &["POST"], &["/api/v1/auth/login"], Public),
            route("auth", &[], &["/api/v1/auth/*"], Protected),
            route("users", &["GET", "PUT"], &["/api/v1/users/{id}"], Protected),
            route("talk", &[], &["/api/v1/conversations", "/api/v1/conversations/*"], Protected),
            route("read", &["GET"], &["/shared"], Public),
            route("write", &["POST"], &["/shared"], Protected),
            route("open-a", &["GET"], &["/open"], Public),
            route("open-b", &["PUT"], &["/open"], Public),
        ])
        .unwrap()
    }

    fn found(table: &RouteTable, method: &str, path: &str) -> String {
        match table.find(method.as_bytes(), path.as_bytes()) {
            Match::Route(entry) => entry.route.name.clone(),
            Match::MethodNotAllowed { allow, access } => format!("405 {allow} {access:?}"),
            Match::Unknown => "?".into(),
        }
    }

    #[test]
    fn finds_the_most_specific_route() {
        let table = table();
        for (method, path, expected) in [
            ("POST", "/api/v1/auth/login", "login"),
            ("GET", "/api/v1/auth/login", "405 POST Public"),
            ("POST", "/api/v1/auth/login/", "auth"),
            ("POST", "/api/v1/auth/logi", "auth"),
            ("POST", "/api/v1/auth/logins", "auth"),
            ("DELETE", "/api/v1/auth/a/b/c", "auth"),
            ("GET", "/api/v1/auth/", "auth"),
            ("GET", "/api/v1/auth", "?"),
            ("GET", "/api/v1/conversations", "talk"),
            ("GET", "/api/v1/conversations/", "talk"),
            ("GET", "/api/v1/conversations/7/x", "talk"),
            ("GET", "/api/v1/conversationsX", "?"),
            ("GET", "/api/v1/users/%C3%A9", "users"),
            ("GET", "/api/v1/users/", "?"),
            ("GET", "/api/v1/users/7/", "?"),
            ("GET", "/API/v1/users/7", "?"),
            ("GET", "/", "?"),
            ("OPTIONS", "*", "?"),
            ("GET", "", "?"),
        ] {
            assert_eq!(found(&table, method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_known_path_with_another_method_names_the_methods() {
        let table = table();
        for (method, path, expected) in [
            ("HEAD", "/api/v1/users/7", "users"),
            ("DELETE", "/api/v1/users/7", "405 GET, HEAD, PUT Protected"),
            ("OPTIONS", "/api/v1/users/7", "405 GET, HEAD, PUT Protected"),
            ("get", "/api/v1/users/7", "405 GET, HEAD, PUT Protected"),
            ("GET", "/shared", "read"),
            ("HEAD", "/shared", "read"),
            ("POST", "/shared", "write"),
            ("PUT", "/shared", "405 GET, HEAD, POST Protected"),
            ("POST", "/open", "405 GET, HEAD, PUT Public"),
        ] {
            assert_eq!(found(&table, method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_method_of_its_own_wins_over_any_method() {
        let routes = [
            route("any", &[], &["/x", "/y/*"], Access::Protected),
            route("post", &["POST"], &["/x"], Access::Public),
            route("root", &["GET"], &["/y/"], Access::Public),
        ];
        let table = RouteTable::new(&routes).unwrap();
        assert_eq!(found(&table, "POST", "/x"), "post");
        assert_eq!(found(&table, "GET", "/x"), "any");
        assert_eq!(found(&table, "GET", "/y/"), "root");
        assert_eq!(found(&table, "POST", "/y/"), "405 GET, HEAD Public");
        assert_eq!(found(&table, "POST", "/y/z"), "any");
    }

    #[test]
    fn a_route_for_everything_takes_the_root_too() {
        let table = RouteTable::new(&[route("all", &[], &["/*"], Access::Public)]).unwrap();
        for path in ["/", "/a", "/a/b", "/a//"] {
            assert_eq!(found(&table, "GET", path), "all", "{path}");
        }
    }

    #[test]
    fn parameters_of_one_segment_may_have_different_names() {
        let routes = [
            route("a", &[], &["/u/{id}/a"], Access::Public),
            route("b", &[], &["/u/{name}/b"], Access::Public),
            route("c", &["GET"], &["/u/{x}"], Access::Public),
            route("d", &["POST"], &["/u/{y}"], Access::Public),
        ];
        let table = RouteTable::new(&routes).unwrap();
        assert_eq!(found(&table, "GET", "/u/1/a"), "a");
        assert_eq!(found(&table, "GET", "/u/1/b"), "b");
        assert_eq!(found(&table, "POST", "/u/1"), "d");
    }

    #[test]
    fn bytes_that_are_not_text_match_nothing() {
        assert_eq!(table().find(b"GET", b"/api/v1/auth/\xff"), Match::Unknown);
        let entry = table();
        assert!(matches!(entry.find(b"POST", b"/shared"), Match::Route(e) if e.index == 5));
    }

    #[test]
    fn reports_every_mistake_with_its_route() {
        let any = |name: &str, path: &str| route(name, &[], &[path], Access::Public);
        let get = |name: &str, path: &str| route(name, &["GET"], &[path], Access::Public);
        for (routes, expected) in [
            (vec![any("a", "x")], "must begin with /"),
            (vec![any("a", "/x/*/y")], "* must be the last segment"),
            (vec![any("a", "/x*")], "* must be a whole segment"),
            (vec![any("a", "/{}")], "a parameter needs a name"),
            (vec![any("a", "/x{id}")], "{parameter} must be a whole segment"),
            (vec![any("a", "/{{x}}")], "{parameter} must be a whole segment"),
            (vec![any("a", "/{*all}")], "{parameter} must be a whole segment"),
            (vec![any("a", "/x"), any("b", "/x")], "with any method is taken by route \"a\""),
            (vec![get("a", "/{x}"), get("b", "/{y}")], "with GET is taken by route \"a\""),
            (vec![get("a", "/x/{id}"), get("b", "/x/*")], "conflicts with \"/x/"),
        ] {
            let mistakes = RouteTable::new(&routes).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(mistakes[0].contains(expected) && mistakes[0].starts_with("route \""), "{mistakes:?}");
        }
        assert_eq!(RouteTable::new(&[any("a", "x"), any("b", "/{}")]).unwrap_err().len(), 2);
    }
}
