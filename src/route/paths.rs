//! The patterns of the routes of one host, or of those for every host.

use std::collections::{BTreeMap, HashMap};

use matchit::{InsertError, Router};

use super::any_case::AnyCase;
use super::pattern::{Pattern, contested};
use super::translate::translate;
use crate::config::{HostPattern, PathCase, Route, TrailingSlash};

/// What some routes say of a path.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// Paths without a parameter. They take precedence over patterns.
    exact: HashMap<String, Pattern>,
    /// Those that are matched in any case.
    any_case: AnyCase<Pattern>,
    patterns: Router<Pattern>,
}

impl Paths {
    /// The patterns of the routes at these indexes, which are those of `host`, or those for every host.
    pub(super) fn new(
        routes: &[Route],
        at: &[usize],
        host: Option<&HostPattern>,
        mistakes: &mut Vec<String>,
    ) -> Self {
        let mut drafts = drafts(routes, at, mistakes);
        let any_case = any_case(routes, at, &mut drafts);
        let (mut exact, mut patterns) = (HashMap::new(), Router::new());
        for (pattern, draft) in &drafts {
            mistakes.extend(contested_methods(routes, draft, host));
            let value = Pattern::new(routes, &draft.routes);
            if !pattern.contains('{') {
                exact.insert(pattern.clone(), value);
            } else if let Err(error) = patterns.insert(pattern.clone(), value) {
                mistakes.push(insert_mistake(&error, routes, draft, &drafts));
            }
        }
        Self { exact, any_case, patterns }
    }

    /// The most specific pattern that a path matches.
    ///
    /// It does not allocate for exact paths, nor for patterns with at most three parameters, unless a parameter
    /// competes with static text (`/a/{x}/b` and `/a/c/{y}`): then matchit uses lists on the heap. It would also do so
    /// for `/a/b` and `/a/*`, so exact paths are looked up first.
    pub(super) fn find(&self, path: &str) -> Option<&Pattern> {
        let exact = self.exact.get(path).or_else(|| self.any_case.get(path));
        exact.or_else(|| self.patterns.at(path).ok().map(|found| found.value))
    }
}

/// A pattern while the table is built: as written, with the routes that have it.
struct Draft {
    written: String,
    routes: Vec<usize>,
}

/// All patterns in the syntax of matchit, each with the routes that have it.
fn drafts(routes: &[Route], at: &[usize], mistakes: &mut Vec<String>) -> BTreeMap<String, Draft> {
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    let mut roots: BTreeMap<String, Draft> = BTreeMap::new();
    let written = at.iter().flat_map(|&at| spellings(&routes[at]).map(move |path| (at, path)));
    for (at, written) in written {
        let (pattern, root) = match translate(&written) {
            Ok(translated) => translated,
            Err(mistake) => {
                mistakes.push(format!("{}: path \"{written}\": {mistake}", routes[at].subject()));
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
fn any_case(routes: &[Route], at: &[usize], drafts: &mut BTreeMap<String, Draft>) -> AnyCase<Pattern> {
    let mut folded: HashMap<String, Vec<usize>> = HashMap::new();
    for at in at.iter().copied().filter(|&at| routes[at].path_case == PathCase::Any) {
        for path in spellings(&routes[at]) {
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

/// The mistakes where two routes have the same pattern and the same method.
fn contested_methods(all: &[Route], draft: &Draft, host: Option<&HostPattern>) -> Vec<String> {
    let mut mistakes = Vec::new();
    let host = host.map_or_else(String::new, |host| format!(" on {host}"));
    for (nth, &later) in draft.routes.iter().enumerate() {
        for &earlier in &draft.routes[..nth] {
            let (earlier, later) = (&all[earlier], &all[later]);
            if let Some(what) = contested(earlier, later) {
                let (written, by) = (&draft.written, earlier.subject());
                mistakes.push(format!(
                    "{}: path \"{written}\" with {what}{host} is taken by {by}{}",
                    later.subject(),
                    if later.conditions.is_empty() { "" } else { ", and their headers do not decide" }
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
    let owner = |draft: &Draft| all[draft.routes[0]].subject();
    let (subject, written) = (owner(draft), &draft.written);
    if let InsertError::Conflict { with } = error
        && let Some(other) = drafts.get(with)
    {
        let (other_subject, other) = (owner(other), &other.written);
        return format!(
            "{subject}: path \"{written}\" conflicts with \"{other}\" of {other_subject}: \
             {{parameter}} and * cannot share a segment"
        );
    }
    format!("{subject}: path \"{written}\": {error}")
}
