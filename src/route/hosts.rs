//! The routes of named hosts.

use std::collections::{BTreeMap, HashMap};

use super::paths::Paths;
use super::pattern::Pattern;
use crate::config::{HostPattern, Route};
use crate::http::host_name;
use crate::limits::HOST_BYTES_MAX;

/// What the routes of each host say of a path.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    exact: HashMap<String, Paths>,
    /// By the name behind `*.`.
    below: HashMap<String, Paths>,
}

impl Hosts {
    /// The tables of all hosts that a route names. `None`: none does.
    pub(super) fn new(routes: &[Route], mistakes: &mut Vec<String>) -> Option<Box<Hosts>> {
        let mut named: BTreeMap<&HostPattern, Vec<usize>> = BTreeMap::new();
        for (at, route) in routes.iter().enumerate() {
            route.hosts.iter().for_each(|host| named.entry(host).or_default().push(at));
        }
        let mut hosts = Hosts { exact: HashMap::new(), below: HashMap::new() };
        for (host, at) in &named {
            let paths = Paths::new(routes, at, Some(host), mistakes);
            match host {
                HostPattern::Exact(name) => hosts.exact.insert(name.clone(), paths),
                HostPattern::Below(name) => hosts.below.insert(name.clone(), paths),
            };
        }
        (!named.is_empty()).then(|| Box::new(hosts))
    }

    /// The pattern of the narrowest host that has one for this path: first those of its name, then those of all names
    /// beside it.
    pub(super) fn find(&self, authority: &[u8], path: &str) -> Option<&Pattern> {
        let mut buffer = [0; HOST_BYTES_MAX];
        let name = host_name(authority, &mut buffer)?;
        let exact = self.exact.get(name).and_then(|paths| paths.find(path));
        exact.or_else(|| {
            let (label, above) = name.split_once('.')?;
            self.below.get(above).filter(|_| !label.is_empty())?.find(path)
        })
    }
}
