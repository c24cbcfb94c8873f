//! A core as a request meets it: one snapshot over the core's resources.

use std::net::IpAddr;
use std::rc::Rc;

use super::resources::Resources;
use super::snapshot::{Replacement, Snapshot};
use crate::config::{ProxyProtocol, Route};
use crate::gateway::websocket::online;
use crate::http::Scheme;
use crate::limit;
use crate::message::Recipient;
use crate::net::{Pace, Transport};
use crate::redis::{self, Redis};
use crate::tls;
use crate::upstream::{ExchangeContext, Terms};

/// What serves a request. An exchange keeps the core that it began with.
pub struct Core {
    /// What outlives every configuration.
    pub resources: Rc<Resources>,
    /// What the current configuration means.
    pub snapshot: Snapshot,
}

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// With the client's own bytes.
    Direct,
    /// With a load balancer's header of the PROXY protocol.
    Proxied,
    /// It is not served: it should begin with such a header, and the peer is not a trusted proxy.
    Unserved,
}

impl Core {
    /// The core of a start. `redis`: how to speak with Redis; `None`: not at all.
    pub fn new(resources: Resources, first: &Replacement, redis: Option<redis::Settings>) -> Core {
        let resources = Rc::new(resources);
        let redis = redis.map(|settings| connect_redis(&resources, settings, first));
        let snapshot = Snapshot::new(first, &resources, redis, None);
        Core { resources, snapshot }
    }

    /// The same core under another configuration, and on this connection to Redis.
    pub(super) fn next(&self, replacement: &Replacement, redis: Option<Rc<Redis>>) -> Core {
        let snapshot = Snapshot::new(replacement, &self.resources, redis, Some(&self.snapshot));
        self.snapshot.retire_upstreams(&snapshot);
        snapshot.forget_others(&self.resources.metrics);
        Core { resources: self.resources.clone(), snapshot }
    }

    /// Frees what nobody needed since the last call. After a storm, and once more at the next call, the tokens that are
    /// not used any more go, too: a piece of memory in use keeps its whole page.
    pub fn tidy(&self) {
        self.resources.tidy();
        if self.resources.storm.borrow_mut().check(self.resources.metrics.load(), 1) {
            self.snapshot.authenticator.forget_unused();
        }
    }

    /// A connection to Redis with other settings, not opened yet.
    pub fn another_redis(&self, settings: redis::Settings, replacement: &Replacement) -> Rc<Redis> {
        connect_redis(&self.resources, settings, replacement)
    }

    /// What an exchange with an upstream is bound to, on this route and for a client that `client` leads to. `None`:
    /// somebody else looks after the client.
    pub fn exchange_context<'t>(
        &'t self,
        client: Option<&'t Transport>,
        terms: &Terms,
        route: &Route,
    ) -> ExchangeContext<'t> {
        let pace = Pace::new(route.timeouts.idle_ms(terms.idle_timeout_ms()), 0);
        let half_close = self.snapshot.config.client_half_close;
        let recipient = client.map(|client| Recipient::new(client, half_close));
        ExchangeContext { io: &self.resources.io, head_limits: &self.snapshot.response_head, pace, recipient }
    }

    /// Client connections that may be open at one time.
    pub fn connections_max(&self) -> usize {
        self.snapshot.config.connections_max.unwrap_or(self.resources.room.connections)
    }

    /// Client connections of one address that may be open at one time.
    pub fn connections_per_address_max(&self) -> usize {
        let half = || (self.connections_max() / 2).max(1);
        match self.snapshot.config.connections_per_address_max {
            Some(0) => usize::MAX,
            configured => configured.unwrap_or_else(half),
        }
    }

    /// Whether a peer is a trusted proxy.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let trusted = &self.snapshot.config.trusted_proxies;
        !trusted.is_empty() && trusted.iter().any(|net| net.contains(&peer.to_canonical()))
    }

    /// How a connection of this peer begins, on the listener of this scheme.
    pub fn beginning(&self, peer: IpAddr, scheme: Scheme) -> Beginning {
        let config = &self.snapshot.config;
        let wanted = match scheme {
            Scheme::Http => config.proxy_protocol,
            Scheme::Https => config.tls.proxy_protocol,
        };
        match wanted {
            ProxyProtocol::Off => Beginning::Direct,
            _ if self.trusts(peer) => Beginning::Proxied,
            ProxyProtocol::On => Beginning::Unserved,
            ProxyProtocol::Trusted => Beginning::Direct,
        }
    }

    /// Begins to drain. The drain of the process began at `begun_ms` and ends after `timeout_ms`, also if the core
    /// comes to it late. A client that sends a request in the moment in which its idle connection is closed sees it
    /// fail; where there is time, it has `idle_grace_ms` for one more.
    pub fn drain(&self, begun_ms: u64, timeout_ms: u64, idle_grace_ms: u64) {
        let Resources { io, metrics, drain_schedule, roll_call, .. } = &*self.resources;
        roll_call.begin(begun_ms);
        drain_schedule.begin(begun_ms, metrics.connections.tunnels.get(), timeout_ms);
        self.snapshot.upstreams.iter().for_each(|upstream| upstream.close_idle());
        io.drain(idle_grace_ms);
    }
}

fn connect_redis(resources: &Resources, settings: redis::Settings, wanted: &Replacement) -> Rc<Redis> {
    let tls = wanted.originations.get(tls::REDIS).map(|origination| redis::HomeTls {
        client: origination.for_core(),
        name: origination.name.clone(),
        names_of_nodes: wanted.config.redis.names_of_nodes(),
    });
    let Resources { io, metrics, redis_bell, .. } = resources;
    let home = redis::Home {
        io: io.clone(),
        metrics: metrics.redis.clone(),
        nodes: metrics.redis_nodes.clone(),
        outage: metrics.outage.clone(),
        bell: redis_bell.clone(),
        tls,
    };
    let [attendance, events] = online::SCRIPTS;
    Redis::new(settings, &[limit::SCRIPT, attendance, events], home)
}
