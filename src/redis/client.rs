//! The Redis of one core, whether it is one server or a cluster of them.

use std::rc::Rc;
use std::sync::Arc;

use super::breaker::BreakerState;
use super::call::Unavailable;
use super::cluster::Cluster;
use super::metrics::OutageMetrics;
use super::node::{Home, Node};
use super::script::CallWriter;
use super::settings::{Arrangement, Settings};
use super::slots::Topology;
use crate::net::Endpoint;

/// One core's Redis. Only that core uses it.
pub enum Redis {
    /// One server.
    Single(Rc<Node>),
    /// A cluster.
    Cluster(Rc<Cluster>),
    /// A master whose place another server may take: a cluster of one that has all slots.
    Replicated(Rc<Cluster>),
}

impl Redis {
    /// A Redis without a connection; [`Redis::run`] connects. Each script answers with an array of integers, at most
    /// [`REDIS_INTEGERS_MAX`](crate::limits::REDIS_INTEGERS_MAX) of them; the first tries out new connections.
    pub fn new(settings: Settings, scripts: &[&'static str], home: Home) -> Rc<Redis> {
        Rc::new(match settings.arrangement {
            Arrangement::Single => Redis::Single(Node::new(settings, scripts, &home, None)),
            Arrangement::Replicated => Redis::Replicated(Rc::new(Cluster::new(settings, scripts, home))),
            Arrangement::Cluster => Redis::Cluster(Rc::new(Cluster::new(settings, scripts, home))),
        })
    }

    /// Calls the first script. `write` writes the keys and arguments of the call; they are not kept during the wait.
    /// In a cluster all keys have to be in one slot. The budget begins at `asked_us`, which is the present.
    ///
    /// # Errors
    /// Why there is no answer within the budget.
    pub async fn call<const N: usize>(
        &self,
        asked_us: u64,
        write: impl Fn(CallWriter<'_>),
    ) -> Result<[i64; N], Unavailable> {
        self.call_script(0, asked_us, write).await
    }

    /// Calls the script at this place among those of the client, likewise.
    ///
    /// # Errors
    /// Why there is no answer within the budget.
    ///
    /// # Panics
    /// If there is no such script.
    pub async fn call_script<const N: usize>(
        &self,
        script: usize,
        asked_us: u64,
        write: impl Fn(CallWriter<'_>),
    ) -> Result<[i64; N], Unavailable> {
        match self {
            Redis::Single(node) => node.call_script(script, asked_us, write).await,
            // Boxed, so that who has no cluster does not carry the way through one along.
            Redis::Cluster(cluster) | Redis::Replicated(cluster) => {
                Box::pin(cluster.call(script, asked_us, write)).await
            }
        }
    }

    /// What Redis has said to the last call that it refused ([`Unavailable::Refused`]), once.
    pub fn take_refusal(&self) -> Option<String> {
        match self {
            Redis::Single(node) => node.take_refusal(),
            Redis::Cluster(cluster) | Redis::Replicated(cluster) => cluster.take_refusal(),
        }
    }

    /// Whether keys are in several places, so that one call cannot be about any of them.
    pub fn is_cluster(&self) -> bool {
        matches!(self, Redis::Cluster(_))
    }

    /// The number of the connection that decides about a key now, another one for every connection: a new one may lead
    /// to a Redis without data. `None`: nobody decides, because a circuit breaker is open.
    pub fn connection_of(&self, key: &[u8]) -> Option<u64> {
        match self {
            Redis::Single(node) => node.connection(),
            Redis::Cluster(cluster) | Redis::Replicated(cluster) => cluster.connection_of(key),
        }
    }

    /// Metrics of requests that Redis did not decide. The limiter counts them.
    pub fn outage(&self) -> &OutageMetrics {
        match self {
            Redis::Single(node) => node.outage(),
            Redis::Cluster(cluster) | Redis::Replicated(cluster) => cluster.outage(),
        }
    }

    /// Counts a decision about this key that a node of a cluster should have made, for what is said of that node.
    pub fn count_undecided(&self, key: &[u8], count: impl Fn(&OutageMetrics)) {
        if let Redis::Cluster(cluster) | Redis::Replicated(cluster) = self {
            cluster.count_undecided(key, count);
        }
    }

    /// Whether the circuit breaker is open, or that of a node.
    pub fn is_open(&self) -> bool {
        match self {
            Redis::Single(node) => node.state() != BreakerState::Closed,
            Redis::Cluster(cluster) | Redis::Replicated(cluster) => cluster.is_open(),
        }
    }

    /// Uses newly resolved addresses from the next attempt to connect on. A connection that works stays. A cluster is
    /// found at its addresses by the control side.
    pub fn replace_endpoints(&self, endpoints: Arc<[Endpoint]>) {
        if let Redis::Single(node) = self {
            node.replace_endpoints(endpoints);
        }
    }

    /// The masters of a cluster have these slots from now on.
    pub fn take_topology(&self, topology: &Arc<Topology>) {
        if let Redis::Cluster(cluster) | Redis::Replicated(cluster) = self {
            cluster.take_topology(topology);
        }
    }

    /// Connects and serves calls until it is retired.
    pub async fn run(self: Rc<Self>) {
        match &*self {
            Redis::Single(node) => node.clone().run().await,
            Redis::Cluster(cluster) | Redis::Replicated(cluster) => cluster.clone().run().await,
        }
    }

    /// Ends it: another Redis has replaced it, and its last calls have had their time.
    pub fn retire(&self) {
        match self {
            Redis::Single(node) => node.retire(),
            Redis::Cluster(cluster) | Redis::Replicated(cluster) => cluster.retire(),
        }
    }

    /// Waits until the first attempt to connect has succeeded or failed, or the masters of a cluster are known, or the
    /// coarse clock shows `deadline_ms`. A core calls it before it accepts its first client.
    pub async fn first_attempt(&self, deadline_ms: u64) {
        match self {
            Redis::Single(node) => node.first_attempt(deadline_ms).await,
            Redis::Cluster(cluster) | Redis::Replicated(cluster) => cluster.first_attempt(deadline_ms).await,
        }
    }
}
