//! The upstreams of a file.

use std::collections::{BTreeMap, BTreeSet};

use super::name;
use super::realchat::SERVICES;
use super::report::Report;
use crate::config::address;
use crate::config::layers::Layers;
use crate::config::meaning::Upstream;
use crate::config::mistake::Mistakes;
use crate::config::written::WrittenUpstream;
use crate::limits::UPSTREAMS_MAX;

/// The upstreams of a file, by name.
pub(super) type WrittenUpstreams = BTreeMap<String, WrittenUpstream>;

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
    // The setting replaces the URL of the file before either is judged.
    written.retain(|name, _| !moved.contains_key(name.as_str()));
    let mut valid = valid(&written, &mut layers.mistakes);
    valid.extend(moved.into_values().flatten());
    Upstreams { valid, names }
}

/// The upstreams whose URL is a setting (`UPSTREAM_…_URL`), by name. `None`: the URL is wrong.
fn moved(
    layers: &mut Layers,
    written: &WrittenUpstreams,
    wanted: &BTreeSet<&str>,
) -> BTreeMap<&'static str, Option<Upstream>> {
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
fn valid(written: &WrittenUpstreams, mistakes: &mut Mistakes) -> Vec<Upstream> {
    if written.len() > UPSTREAMS_MAX {
        mistakes.add("upstreams", &format!("there are {}, over {UPSTREAMS_MAX}", written.len()));
    }
    let mut upstreams = Vec::new();
    for (name, WrittenUpstream { url, place }) in written {
        let mut report = Report::new("upstream", name, place, mistakes);
        name::check(name, &mut report);
        match address::upstream(url) {
            Ok(url) => upstreams.push(url.named(name)),
            Err(why) => report.add(&format!("url {why}")),
        }
    }
    upstreams
}
