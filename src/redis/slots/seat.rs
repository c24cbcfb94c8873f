//! The place of one node in a cluster: what it may say of others, and what the log and the metrics say of it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::topology::Topology;
use crate::redis::metrics::{NodeMetrics, OutageMetrics, RedisMetrics};

/// What all nodes of a cluster have in common, on one core.
pub struct Peers {
    /// The masters as they were found last. `None`: not yet.
    pub(in crate::redis) topology: RefCell<Option<Arc<Topology>>>,
    metrics: Arc<RedisMetrics>,
    /// Nodes whose breaker is open.
    open: Cell<u64>,
    /// The nodes so far.
    count: Cell<u64>,
}

/// The place of one node.
pub struct Seat {
    /// Where it is.
    pub(in crate::redis) address: SocketAddr,
    /// How the cluster calls its host, if that is a name.
    host: Option<Arc<str>>,
    /// A number that no other node has had.
    number: u64,
    peers: Rc<Peers>,
    metrics: Arc<NodeMetrics>,
    /// The decisions that it should have made.
    outage: Arc<OutageMetrics>,
    slots: RefCell<String>,
    is_open: Cell<bool>,
    /// The node is in the cluster no longer.
    has_left: Cell<bool>,
    /// When a call has gone to it last.
    pub(in crate::redis) used_us: Cell<u64>,
}

/// Who has to be asked in place of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// The slot is at this address from now on. `None`: at one that nobody knows.
    Moved(u16, Option<SocketAddr>),
    /// This call alone goes to this address, because the slot is about to move there.
    Ask(Option<SocketAddr>),
    /// Some of the keys have moved already, and others have not.
    Apart,
}

impl Peers {
    pub(in crate::redis) fn new(metrics: Arc<RedisMetrics>) -> Peers {
        Peers { topology: RefCell::default(), metrics, open: Cell::new(0), count: Cell::new(0) }
    }

    /// Whether the breaker of a node is open.
    pub(in crate::redis) fn is_open(&self) -> bool {
        self.open.get() > 0
    }

    fn count_open(&self, change: i64) {
        self.open.set(self.open.get().saturating_add_signed(change));
        self.metrics.breaker_open.set(self.open.get().min(1));
    }
}

impl Seat {
    /// A node at this address. Nothing is known against it.
    pub(in crate::redis) fn new(
        (address, host): (SocketAddr, Option<Arc<str>>),
        peers: Rc<Peers>,
        metrics: Arc<NodeMetrics>,
    ) -> Seat {
        let number = peers.count.get() + 1;
        peers.count.set(number);
        Seat {
            address,
            host,
            number,
            peers,
            metrics,
            outage: Arc::default(),
            slots: RefCell::default(),
            is_open: Cell::new(false),
            has_left: Cell::new(false),
            used_us: Cell::new(0),
        }
    }

    /// The number of the node's first connection: no connection of another node has the same.
    pub fn first_generation(&self) -> u64 {
        self.number << 32
    }

    /// What an error reply says of other nodes. `None`: nothing that has a meaning.
    pub fn elsewhere(&self, text: &str) -> Option<Elsewhere> {
        let mut words = text.split_ascii_whitespace();
        let (word, slot) = (words.next()?, words.next());
        if word == "TRYAGAIN" {
            return Some(Elsewhere::Apart);
        }
        let (slot, place) = (slot?.parse().ok()?, words.next()?);
        let topology = self.peers.topology.borrow();
        let address = topology.as_ref().and_then(|topology| topology.address(place, self.address.ip()));
        match word {
            "MOVED" => Some(Elsewhere::Moved(slot, address)),
            "ASK" => Some(Elsewhere::Ask(address)),
            _ => None,
        }
    }

    /// The breaker of the node has opened or closed.
    pub fn set_open(&self, is_open: bool) {
        if !self.has_left.get() && self.is_open.replace(is_open) != is_open {
            self.metrics.breaker_open.set(u64::from(is_open));
            self.peers.count_open(if is_open { 1 } else { -1 });
        }
    }

    /// The node is no longer asked. Its last calls may still fail, which is of no interest.
    pub(in crate::redis) fn leave(&self) {
        self.set_open(false);
        self.has_left.set(true);
    }

    /// Its slots are these from now on.
    pub(in crate::redis) fn set_slots(&self, text: String) {
        self.slots.replace(text);
    }

    /// Its slots, as the log shows them.
    pub fn slots(&self) -> String {
        self.slots.borrow().clone()
    }

    /// What it has to prove that it is, where it speaks TLS.
    pub fn server_name(&self) -> ServerName<'static> {
        let host = self.host.as_ref().and_then(|host| ServerName::try_from(host.to_string()).ok());
        // What is no host name is no name of a certificate either.
        host.unwrap_or_else(|| ServerName::IpAddress(self.address.ip().into()))
    }

    /// Its address, as the log shows it.
    pub fn name(&self) -> SocketAddr {
        self.address
    }

    /// The decisions that it should have made.
    pub fn outage(&self) -> &Arc<OutageMetrics> {
        &self.outage
    }

    /// A call goes to it at this time.
    pub fn use_at(&self, now_us: u64) {
        self.used_us.set(now_us);
    }

    /// One more decision that it should have made.
    pub(in crate::redis) fn count_undecided(&self) {
        self.metrics.undecided.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(peers: &Rc<Peers>) -> Seat {
        Seat::new((([127, 0, 0, 1], 7000).into(), None), peers.clone(), Arc::default())
    }

    #[test]
    fn reads_what_a_node_says_of_others_and_takes_nothing_else_for_it() {
        let peers = Rc::new(Peers::new(Arc::default()));
        assert_eq!(seat(&peers).elsewhere("MOVED 5 127.0.0.1:1"), Some(Elsewhere::Moved(5, None)));
        peers.topology.replace(Some(Arc::new(Topology::new(Vec::new(), "rl"))));
        let seat = seat(&peers);
        let at = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        for (text, expected) in [
            ("MOVED 3999 127.0.0.1:7001", Some(Elsewhere::Moved(3999, at(7001)))),
            ("MOVED 3999 :7001", Some(Elsewhere::Moved(3999, at(7001)))),
            ("ASK 1 127.0.0.1:7002", Some(Elsewhere::Ask(at(7002)))),
            ("ASK 1 nobody.knows:7002", Some(Elsewhere::Ask(None))),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Some(Elsewhere::Apart)),
            ("MOVED", None),
            ("MOVED x 127.0.0.1:1", None),
            ("MOVED 70000 127.0.0.1:1", None),
            ("ASK 1", None),
            ("CLUSTERDOWN 1 127.0.0.1:1", None),
            ("", None),
        ] {
            assert_eq!(seat.elsewhere(text), expected, "{text}");
        }
    }

    #[test]
    fn a_node_proves_its_name_or_where_it_has_none_its_address() {
        let peers = Rc::new(Peers::new(Arc::default()));
        let name = |host: Option<&str>| {
            let place = (([127, 0, 0, 1], 7000).into(), host.map(Arc::from));
            Seat::new(place, peers.clone(), Arc::default()).server_name().to_str().into_owned()
        };
        assert_eq!(name(Some("redis-1.internal")), "redis-1.internal");
        assert_eq!(name(None), "127.0.0.1");
        assert_eq!(name(Some("no name")), "127.0.0.1", "it is asked over TLS all the same");
    }

    #[test]
    fn a_core_is_degraded_while_one_of_its_nodes_is() {
        let metrics = Arc::<RedisMetrics>::default();
        let peers = Rc::new(Peers::new(metrics.clone()));
        let (one, other) = (seat(&peers), seat(&peers));
        assert_ne!(one.first_generation(), other.first_generation());
        for (seat, is_open, expected) in [
            (&one, true, 1),
            (&one, true, 1),
            (&other, true, 1),
            (&one, false, 1),
            (&one, false, 1),
            (&other, false, 0),
        ] {
            seat.set_open(is_open);
            assert_eq!(metrics.breaker_open.get(), expected);
        }
        one.set_open(true);
        one.leave();
        one.set_open(true);
        assert_eq!(metrics.breaker_open.get(), 0, "what has left counts no more");
    }
}
