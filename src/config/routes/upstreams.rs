//! The upstreams of a file.

use std::collections::{BTreeMap, BTreeSet};

use super::balancing;
use super::health;
use super::members;
use super::name;
use super::realchat::SERVICES;
use super::report::Report;
use super::upstream_tls;
use crate::config::layers::Layers;
use crate::config::meaning::Upstream;
use crate::config::mistake::Mistakes;
use crate::config::value::choice;
use crate::config::written::WrittenUpstream;
use crate::limits::UPSTREAMS_MAX;

/// The upstreams of a file, by name.
pub(super) type WrittenUpstreams = BTreeMap<String, WrittenUpstream>;

/// The upstreams whose URL is a setting, by name. `None`: the URL is wrong.
type Moved = BTreeMap<&'static str, Option<Upstream>>;

/// The upstreams that routes may name.
pub(super) struct Upstreams {
    /// The upstreams with a valid URL. A route holds an index into them.
    pub(super) valid: Vec<Upstream>,
    /// The names of all upstreams.
    pub(super) names: BTreeSet<String>,
}

/// The upstreams of a file, in the order of their names. `wanted` holds the names in routes.
pub(super) fn of_file(
    layers: &mut Layers,
    mut written: WrittenUpstreams,
    wanted: &BTreeSet<&str>,
) -> Upstreams {
    let moved = moved(layers, &written, wanted);
    for name in written.keys().filter(|name| !wanted.contains(name.as_str())) {
        layers.warnings.push(format!("upstreams.{name}: no route uses it"));
    }
    let mut names: BTreeSet<String> = written.keys().cloned().collect();
    names.extend(moved.keys().map(ToString::to_string));
    let mut valid = valid(&written, &moved, &mut layers.mistakes);
    // The setting replaces the URL of the file, which is not judged then; the other keys stay.
    written.retain(|name, _| moved.contains_key(name.as_str()));
    for mut upstream in moved.into_values().flatten() {
        if let Some(written) = written.get(&upstream.name) {
            let place = (written.place.as_str(), &written.wrong);
            let mut report = Report::new("upstream", &upstream.name, place, &mut layers.mistakes);
            upstream.connection_reuse = connection_reuse(written, &mut report);
            upstream.rewrite_location = rewrite_location(written, &mut report);
            upstream.balancing = balancing::balancing(written, &mut report);
            upstream.bounds = balancing::bounds(written, &mut report);
            upstream.health = health::health(written.health.as_ref(), &mut report);
            members::name_it(&mut upstream, written, &mut report);
            if written.tls.is_some() && upstream.tls.is_none() {
                layers
                    .warnings
                    .push(format!("upstreams.{}: tls has no effect, its URL is not https", upstream.name));
            } else {
                upstream_tls::complete(&mut upstream, written.tls.as_ref(), &mut report);
            }
        }
        valid.push(upstream);
    }
    Upstreams { valid, names }
}

/// The upstreams whose URL is a setting (`UPSTREAM_…_URL`), by name. `None`: the URL is wrong.
fn moved(layers: &mut Layers, written: &WrittenUpstreams, wanted: &BTreeSet<&str>) -> Moved {
    let mut moved = BTreeMap::new();
    for (key, name) in SERVICES {
        if !layers.has(key) {
            continue;
        }
        if wanted.contains(name) || written.contains_key(name) {
            moved.insert(name, layers.option(key).map(|url| url.named(name)));
        } else {
            let why = format!("has no effect, no route of the file uses an upstream {name}");
            layers.warnings.push(format!("{}: {why}", key.env));
        }
    }
    moved
}

/// The upstreams with a valid URL.
fn valid(written: &WrittenUpstreams, moved: &Moved, mistakes: &mut Mistakes) -> Vec<Upstream> {
    if written.len() > UPSTREAMS_MAX {
        mistakes.add("upstreams", &format!("there are {}, over {UPSTREAMS_MAX}", written.len()));
    }
    let mut upstreams = Vec::new();
    for (name, written) in written.iter().filter(|(name, _)| !moved.contains_key(name.as_str())) {
        let mut report = Report::new("upstream", name, (&written.place, &written.wrong), mistakes);
        name::check(name, &mut report);
        let connection_reuse = connection_reuse(written, &mut report);
        let rewrite_location = rewrite_location(written, &mut report);
        let balancing = balancing::balancing(written, &mut report);
        let bounds = balancing::bounds(written, &mut report);
        let health = health::health(written.health.as_ref(), &mut report);
        if let Some(found) = members::upstream(name, written, &mut report) {
            let mut upstream =
                Upstream { connection_reuse, rewrite_location, balancing, bounds, health, ..found };
            upstream_tls::complete(&mut upstream, written.tls.as_ref(), &mut report);
            upstreams.push(upstream);
        }
    }
    upstreams
}

fn rewrite_location(written: &WrittenUpstream, report: &mut Report<'_>) -> bool {
    written.rewrite_location.as_deref().map_or(Ok(true), choice).unwrap_or_else(|why| {
        report.add(&format!("rewrite_location {why}"));
        true
    })
}

fn connection_reuse(written: &WrittenUpstream, report: &mut Report<'_>) -> bool {
    let choice = written.connection_reuse.as_deref().map_or(Ok(true), choice);
    choice.unwrap_or_else(|why| {
        report.add(&format!("connection_reuse {why}"));
        true
    })
}
