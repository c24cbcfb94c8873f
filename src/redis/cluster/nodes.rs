//! The nodes of a cluster that one core has a way to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tracing::info;

use crate::clock;
use crate::limits::{REDIS_NODE_IDLE_MS, REDIS_NODES_MAX, TICK_MS};
use crate::net::Endpoint;
use crate::redis::node::{Home, Node};
use crate::redis::settings::Settings;
use crate::redis::slots::{Peers, Seat, Topology, probe_key};

/// The ways that are open.
pub(super) struct Nodes {
    settings: Settings,
    scripts: Vec<&'static str>,
    home: Home,
    peers: Rc<Peers>,
    open: RefCell<HashMap<SocketAddr, Rc<Node>>>,
    /// Those of the masters, by their index in the topology.
    masters: RefCell<Vec<Option<Rc<Node>>>>,
}

impl Nodes {
    pub(super) fn new(settings: Settings, scripts: &[&'static str], home: Home, peers: Rc<Peers>) -> Nodes {
        let (open, masters) = (RefCell::default(), RefCell::default());
        Nodes { settings, scripts: scripts.to_vec(), home, peers, open, masters }
    }

    /// The way to the master with this index, opened if it is not.
    pub(super) fn master(&self, topology: &Topology, index: usize) -> Option<Rc<Node>> {
        if let Some(Some(node)) = self.masters.borrow().get(index) {
            return Some(node.clone());
        }
        let node = self.at(topology.masters().get(index)?.address)?;
        if let Some(known) = self.masters.borrow_mut().get_mut(index) {
            *known = Some(node.clone());
        }
        Some(node)
    }

    /// The way to a node, opened if it is not.
    pub(super) fn at(&self, address: SocketAddr) -> Option<Rc<Node>> {
        if let Some(node) = self.known(address) {
            return Some(node);
        }
        if self.open.borrow().len() >= REDIS_NODES_MAX {
            self.close_least_used();
        }
        let node = self.open(address);
        self.open.borrow_mut().insert(address, node.clone());
        self.home.metrics.nodes.add(1);
        Some(node)
    }

    /// The way to a node, if it is open.
    pub(super) fn known(&self, address: SocketAddr) -> Option<Rc<Node>> {
        self.open.borrow().get(&address).cloned()
    }

    /// The masters are these from now on. The ways to all others are closed.
    pub(super) fn take_topology(&self, topology: &Topology) {
        let masters = topology.masters();
        let is_master = |address: &SocketAddr| masters.iter().any(|master| master.address == *address);
        self.close(|address, _| !is_master(address));
        let node = |address| self.known(address);
        self.masters.replace(masters.iter().map(|master| node(master.address)).collect());
        for master in masters {
            if let Some(seat) = self.known(master.address).as_ref().and_then(|node| node.seat()) {
                seat.set_slots(master.slots_text());
            }
        }
        let names: Vec<String> = masters.iter().map(|master| master.address.to_string()).collect();
        self.home.nodes.keep(names.iter().map(String::as_str));
    }

    /// Closes the ways that nobody has needed for a while.
    pub(super) fn sweep(&self, now_us: u64) {
        let idle_us = REDIS_NODE_IDLE_MS * 1_000;
        self.close(|_, seat| seat.used_us.get() + idle_us <= now_us);
    }

    pub(super) fn take_refusal(&self) -> Option<String> {
        self.open.borrow().values().find_map(|node| node.take_refusal())
    }

    pub(super) fn retire_all(&self) {
        self.masters.borrow_mut().clear();
        for (_, node) in self.open.borrow_mut().drain() {
            self.home.metrics.nodes.subtract(1);
            node.retire();
        }
    }

    fn open(&self, address: SocketAddr) -> Rc<Node> {
        let topology = self.peers.topology.borrow();
        let masters = topology.iter().flat_map(|topology| topology.masters());
        let master = masters.clone().find(|master| master.address == address);
        let metrics = self.home.nodes.of(&address.to_string());
        let seat = Rc::new(Seat::new(
            (address, master.and_then(|master| master.host.clone())),
            self.peers.clone(),
            metrics,
        ));
        seat.set_slots(master.map_or_else(|| "none yet".to_owned(), |master| master.slots_text()));
        let probe = master.and_then(|master| master.probe);
        let settings = Settings { probe_keys: self.probe_keys(probe), ..self.settings.clone() };
        let node = Node::new(settings, &self.scripts, &self.home, Some(seat));
        node.replace_endpoints(Arc::new([Endpoint::tcp(address)]));
        monoio::spawn(node.clone().run());
        node
    }

    /// Both forms of a key, in a slot of the node.
    fn probe_keys(&self, number: Option<u32>) -> Vec<Vec<u8>> {
        let Some(number) = number else { return Vec::new() };
        let key = probe_key(&self.settings.prefix, number);
        let own = format!("{{{key}}}:probe");
        vec![key.into_bytes(), own.into_bytes()]
    }

    fn close_least_used(&self) {
        let open = self.open.borrow();
        let used_us = |node: &Rc<Node>| node.seat().map_or(0, |seat| seat.used_us.get());
        let least = open.iter().min_by_key(|(_, node)| used_us(node)).map(|(address, _)| *address);
        drop(open);
        self.close(|address, _| Some(*address) == least);
    }

    /// Closes ways. Calls that are under way have their time before.
    fn close(&self, goes: impl Fn(&SocketAddr, &Seat) -> bool) {
        let mut gone = Vec::new();
        self.open.borrow_mut().retain(|address, node| {
            let goes = node.seat().is_none_or(|seat| goes(address, seat));
            if goes {
                gone.push(node.clone());
            }
            !goes
        });
        if gone.is_empty() {
            return;
        }
        self.masters
            .borrow_mut()
            .iter_mut()
            .filter(|known| {
                known.as_ref().is_some_and(|known| gone.iter().any(|gone| Rc::ptr_eq(gone, known)))
            })
            .for_each(|known| *known = None);
        self.home.metrics.nodes.subtract(gone.len() as u64);
        // A call may be repeated once.
        let longest_ms = 2 * self.settings.timeout_ms + TICK_MS;
        let timers = self.home.io.timers.clone();
        for node in &gone {
            if let Some(seat) = node.seat() {
                if node.is_announced() {
                    info!(node = %seat.name(), "this node of the Redis cluster is no longer asked");
                }
                seat.leave();
            }
        }
        monoio::spawn(async move {
            timers.sleep_until(clock::now_ms() + longest_ms).await;
            gone.iter().for_each(|node| node.retire());
        });
    }
}
