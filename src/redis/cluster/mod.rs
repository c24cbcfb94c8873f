//! A Redis cluster as one core knows it: a way to each master that the core needs, opened by the first call to it and
//! closed when nobody has needed it for a while. Each has a connection, a queue and a circuit breaker of its own, so a
//! master that is down takes the limits of its own slots along and no others.
//!
//! ```text
//! call ─ slot of its keys ─ master of the slot ─▶ Node ── MOVED, ASK ──▶ another Node, within the same budget
//!                                 ▲
//! control side ──── Topology ─────┘
//! ```

mod nodes;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use nodes::Nodes;

use super::bell::Bell;
use super::call::{Unanswered, Unavailable};
use super::metrics::{OutageMetrics, RedisMetrics};
use super::node::{Home, Node};
use super::pipeline::Leave;
use super::script::CallWriter;
use super::settings::Settings;
use super::slots::{Elsewhere, Peers, SLOTS, Topology, slot};
use crate::clock;
use crate::limits::REDIS_HOPS_MAX;
use crate::net::Timers;

/// One core's way to a cluster.
pub struct Cluster {
    timeout_us: u64,
    nodes: Nodes,
    peers: Rc<Peers>,
    /// Slots that are not where the topology says, because a node has said so since.
    moved: RefCell<HashMap<u16, SocketAddr>>,
    metrics: Arc<RedisMetrics>,
    outage: Arc<OutageMetrics>,
    bell: Bell,
    timers: Rc<Timers>,
    is_retired: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub fn new(settings: Settings, scripts: &[&'static str], home: Home) -> Cluster {
        let peers = Rc::new(Peers::new(home.metrics.clone()));
        Cluster {
            timeout_us: settings.timeout_ms * 1_000,
            metrics: home.metrics.clone(),
            outage: home.outage.clone(),
            bell: home.bell.clone(),
            timers: home.io.timers.clone(),
            nodes: Nodes::new(settings, scripts, home, peers.clone()),
            peers,
            moved: RefCell::default(),
            is_retired: Cell::new(false),
            waiting: RefCell::default(),
        }
    }

    /// Calls the script at this place on the node that has the keys, and on the one that this one names instead, within
    /// one budget.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn call<const N: usize>(
        &self,
        script: usize,
        asked_us: u64,
        write: impl Fn(CallWriter<'_>),
    ) -> Result<[i64; N], Unavailable> {
        let deadline_us = asked_us + self.timeout_us;
        let slot = CallWriter::slot(&write);
        let (mut node, mut leave) = (self.node(slot), Leave::Own);
        // A second call about the same request has what the first has left of the budget.
        let mut sent_us = clock::now_us();
        for _ in 0..REDIS_HOPS_MAX {
            let Some(target) = node else { return self.nowhere() };
            if sent_us >= deadline_us {
                return Err(Unavailable::TimedOut);
            }
            // A new connection is worth waiting for, but what is left must be enough for an answer.
            if !target.is_tried() {
                let is_tried = target.tried(deadline_us - self.timeout_us / 4).await;
                sent_us = clock::now_us();
                if !is_tried || sent_us >= deadline_us {
                    return Err(Unavailable::TimedOut);
                }
            }
            let elsewhere = match target.attempt(script, (sent_us, deadline_us), leave, &write).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Unavailable(why)) => {
                    if why == Unavailable::Open {
                        // Whoever has sent the slot there may have been wrong.
                        self.moved.borrow_mut().remove(&slot);
                    }
                    return Err(why);
                }
                Err(Unanswered::Elsewhere(elsewhere)) => elsewhere,
            };
            self.metrics.redirects.add(1);
            (node, leave) = match elsewhere {
                Elsewhere::Moved(slot, to) => (self.slot_moved(slot, to), Leave::Own),
                Elsewhere::Ask(to) => (to.and_then(|to| self.nodes.at(to)), Leave::Asking),
                Elsewhere::Apart => return Err(Unavailable::Apart),
            };
            sent_us = clock::now_us();
        }
        Err(Unavailable::Open)
    }

    /// What a node has said to a call that it refused, once.
    pub fn take_refusal(&self) -> Option<String> {
        self.nodes.take_refusal()
    }

    /// The number of the connection that decides about a key now. `None`: nobody decides about it.
    pub fn connection_of(&self, key: &[u8]) -> Option<u64> {
        let slot = slot(key);
        let address = self.address(slot)?;
        self.nodes.known(address).and_then(|node| node.connection())
    }

    /// Metrics of requests that no node did decide.
    pub fn outage(&self) -> &OutageMetrics {
        &self.outage
    }

    /// Counts a decision about this key that its node should have made.
    pub fn count_undecided(&self, key: &[u8], count: impl Fn(&OutageMetrics)) {
        let node = self.address(slot(key)).and_then(|address| self.nodes.known(address));
        if let Some(seat) = node.as_ref().and_then(|node| node.seat()) {
            count(seat.outage());
            seat.count_undecided();
        }
    }

    /// Whether the circuit breaker of a node is open.
    pub fn is_open(&self) -> bool {
        self.peers.is_open()
    }

    /// The masters have these slots from now on.
    pub fn take_topology(&self, topology: &Arc<Topology>) {
        if self.peers.topology.borrow().as_ref().is_some_and(|known| Arc::ptr_eq(known, topology)) {
            return;
        }
        self.peers.topology.replace(Some(topology.clone()));
        self.moved.borrow_mut().clear();
        self.nodes.take_topology(topology);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until the masters are known, or the coarse clock shows `deadline_ms`.
    pub async fn first_attempt(&self, deadline_ms: u64) {
        let known = poll_fn(|context| {
            if self.peers.topology.borrow().is_some() {
                return Poll::Ready(());
            }
            self.waiting.replace(Some(context.waker().clone()));
            Poll::Pending
        });
        let _ = self.timers.until(deadline_ms, known).await;
    }

    /// Closes what nobody needs, until the cluster is retired.
    pub async fn run(self: Rc<Self>) {
        while !self.is_retired.get() {
            self.timers.sleep_until(clock::now_ms() + SWEEP_MS).await;
            self.nodes.sweep(clock::now_us());
        }
    }

    /// Ends every connection: another Redis has replaced it, and its last calls have had their time.
    pub fn retire(&self) {
        self.is_retired.set(true);
        self.nodes.retire_all();
    }

    /// The way to the node of a slot.
    fn node(&self, slot: u16) -> Option<Rc<Node>> {
        if self.moved.borrow().is_empty() {
            let topology = self.peers.topology.borrow();
            let topology = topology.as_ref()?;
            return self.nodes.master(topology, topology.owner(slot)?);
        }
        self.nodes.at(self.address(slot)?)
    }

    fn address(&self, slot: u16) -> Option<SocketAddr> {
        if let Some(moved) = self.moved.borrow().get(&slot) {
            return Some(*moved);
        }
        let topology = self.peers.topology.borrow();
        let topology = topology.as_ref()?;
        topology.masters().get(topology.owner(slot)?).map(|master| master.address)
    }

    /// A slot is somewhere else from now on; the other slots may be too.
    fn slot_moved(&self, slot: u16, to: Option<SocketAddr>) -> Option<Rc<Node>> {
        self.bell.ring();
        let to = to?;
        if slot < SLOTS {
            self.moved.borrow_mut().insert(slot, to);
        }
        self.nodes.at(to)
    }

    /// No node is known to have the slot.
    fn nowhere<const N: usize>(&self) -> Result<[i64; N], Unavailable> {
        self.bell.ring();
        Err(Unavailable::Open)
    }
}

/// How often connections that nobody needs are looked for, in milliseconds.
const SWEEP_MS: u64 = 5_000;
