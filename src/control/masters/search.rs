//! The search for the masters: whom to ask, and which answer counts.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tracing::{info, warn};

use super::dialogue::{Dialogue, Introduction};
use super::sentinels;
use super::slots::{self, Said};
use crate::clock;
use crate::control::jitter::jitter;
use crate::limits::{REDIS_ASKED_MAX, REDIS_LOOK_IDLE_MS, REDIS_MASTERS_MAX};
use crate::redis::slots::Topology;

/// What is known of a cluster, or of the master behind sentinels.
pub(super) struct Search {
    introduction: Introduction,
    /// The master's name, and who the gateway is to those who know him. `None`: it is a cluster.
    sentinels: Option<(String, Introduction)>,
    prefix: String,
    /// The nodes that have been seen, those that have answered last before the others.
    nodes: Vec<SocketAddr>,
    open: HashMap<SocketAddr, Dialogue>,
    names: HashMap<String, (Option<IpAddr>, u64)>,
    known: Option<Arc<Topology>>,
    /// Nobody answers: said once.
    is_lost: bool,
}

impl Search {
    pub(super) fn new(
        introduction: Introduction,
        sentinels: Option<(String, Introduction)>,
        prefix: &str,
    ) -> Search {
        Search {
            introduction,
            sentinels,
            prefix: prefix.to_owned(),
            nodes: Vec::new(),
            open: HashMap::new(),
            names: HashMap::new(),
            known: None,
            is_lost: false,
        }
    }

    /// Asks some nodes, or all sentinels. Returns the masters if they are others than before. `seeds`: the configured
    /// ones.
    pub(super) fn look(&mut self, seeds: &[SocketAddr]) -> Option<Arc<Topology>> {
        match &self.sentinels {
            Some((name, of_sentinels)) => {
                let who = (of_sentinels, &self.introduction);
                let names = &mut self.names;
                let found = sentinels::ask(seeds, name, who, &mut |host| resolve(names, host));
                match found {
                    Ok(master) => {
                        self.is_lost = false;
                        self.take(Topology::new(vec![master], &self.prefix))
                    }
                    Err(why) => self.lose(&why),
                }
            }
            None => self.look_at_cluster(seeds),
        }
    }

    fn look_at_cluster(&mut self, seeds: &[SocketAddr]) -> Option<Arc<Topology>> {
        let mut candidates = self.nodes.clone();
        candidates.extend(seeds.iter().filter(|seed| !self.nodes.contains(seed)));
        let (mut best, mut failed, mut why): (Option<Said>, Vec<SocketAddr>, _) = (None, Vec::new(), None);
        let mut answers = 0;
        for address in candidates {
            match self.ask(address) {
                Ok(said) => {
                    answers += 1;
                    if best.as_ref().is_none_or(|best| said.epoch > best.epoch) {
                        best = Some(said);
                    }
                }
                Err(error) => {
                    self.open.remove(&address);
                    failed.push(address);
                    why = Some(format!("{address}: {error}"));
                }
            }
            if answers == REDIS_ASKED_MAX {
                break;
            }
        }
        let Some(said) = best else {
            return self.lose(&why.unwrap_or_else(|| "no address is known".to_owned()));
        };
        self.is_lost = false;
        self.turn(said.nodes, &failed);
        self.take(Topology::new(said.masters, &self.prefix))
    }

    /// Nobody says who the masters are. Those before stay.
    fn lose(&mut self, cause: &str) -> Option<Arc<Topology>> {
        if !std::mem::replace(&mut self.is_lost, true) {
            match &self.sentinels {
                Some((name, _)) => warn!(name, cause, "Redis: the sentinels name no master"),
                None => warn!(cause, "Redis cluster: no node says which master has which slots"),
            }
        }
        None
    }

    /// Whether a node has ever said who the masters are.
    pub(super) fn has_found(&self) -> bool {
        self.known.is_some()
    }

    fn ask(&mut self, address: SocketAddr) -> Result<Said, String> {
        let Search { introduction, open, names, known, .. } = self;
        let node = match open.entry(address) {
            std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => {
                let host = known.as_ref().and_then(|known| known.host(address));
                free.insert(Dialogue::open(address, host.as_deref(), introduction)?)
            }
        };
        slots::ask(node, &mut |host| resolve(names, host))
    }

    /// The next look begins with the nodes that have answered, and ends with those that have not.
    fn turn(&mut self, nodes: Vec<SocketAddr>, failed: &[SocketAddr]) {
        self.nodes = nodes;
        self.nodes.truncate(NODES_MAX);
        let Search { nodes, open, .. } = self;
        if !nodes.is_empty() {
            // Instances that start together ask different nodes.
            let chance = (jitter().abs() * 1e9) as usize % nodes.len();
            nodes.rotate_left(chance);
        }
        nodes.sort_by_key(|node| (failed.contains(node), !open.contains_key(node)));
        open.retain(|address, _| nodes.contains(address));
    }

    fn take(&mut self, found: Topology) -> Option<Arc<Topology>> {
        if self.known.as_deref() == Some(&found) {
            return None;
        }
        let slots: usize =
            found.masters().iter().flat_map(|one| &one.slots).map(ExactSizeIterator::len).sum();
        let masters = found.masters().len();
        match (&self.sentinels, found.masters().first()) {
            (Some((name, _)), Some(one)) => {
                info!(name, address = %one.address, "Redis: the sentinels name another master")
            }
            _ => info!(masters, slots, "Redis cluster: the masters and their slots are other ones"),
        }
        let found = Arc::new(found);
        self.known = Some(found.clone());
        Some(found)
    }
}

/// The address of a name. It is asked for again after a while, whether or not there was an answer.
fn resolve(names: &mut HashMap<String, (Option<IpAddr>, u64)>, host: &str) -> Option<IpAddr> {
    let now_ms = clock::now_ms();
    names.retain(|_, (_, asked_ms)| now_ms < *asked_ms + REDIS_LOOK_IDLE_MS);
    if let Some((known, _)) = names.get(host) {
        return *known;
    }
    let found =
        (host, 0).to_socket_addrs().ok().and_then(|mut found| found.next()).map(|address| address.ip());
    names.insert(host.to_owned(), (found, now_ms));
    found
}

/// Nodes of one cluster that are known. The others are not asked.
const NODES_MAX: usize = 2 * REDIS_MASTERS_MAX;
