//! What is in force on one core, and how a reload replaces it: as a whole, between two requests.
//!
//! A [`Core`] is what one configuration means to one core; it never changes. A reload makes the next one out of
//! it, with everything in it that is not the configuration's: sockets, buffers, counters, the pools of upstreams
//! that are still the same. An exchange keeps the one that it began with.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::auth::Keys;
use crate::config::{self, Config, UpstreamAddress};
use crate::gateway::Core;
use crate::gateway::core::{Waits, head_limits};
use crate::gateway::cors::CorsPolicy;
use crate::redis::Redis;
use crate::route::RouteTable;
use crate::upstream::{Endpoint, Upstream};

/// The core in force.
pub struct ActiveCore(RefCell<Rc<Core>>);

/// A configuration as the control thread prepares it for every core.
pub struct Replacement {
    /// What is to be in force.
    pub config: Arc<Config>,
    /// Its routes, compiled.
    pub routes: Arc<RouteTable>,
    /// Its keys, prepared.
    pub keys: Arc<Keys>,
    /// The addresses of its upstreams, in its order, as far as they are known; `None`: as before, if it is an
    /// upstream of before.
    pub endpoints: Vec<Option<Arc<[Endpoint]>>>,
    /// The addresses of Redis; `None`: as before.
    pub redis_endpoints: Option<Arc<[Endpoint]>>,
}

impl ActiveCore {
    /// What the start made.
    pub fn new(core: Core) -> ActiveCore {
        ActiveCore(RefCell::new(Rc::new(core)))
    }

    /// What is in force now.
    pub fn core(&self) -> Rc<Core> {
        self.0.borrow().clone()
    }

    /// From now on a new request meets this configuration, and this connection to Redis.
    pub fn replace(&self, replacement: &Replacement, redis: Option<Rc<Redis>>) {
        let old = self.core();
        let new = old.with(replacement, redis);
        old.upstreams.iter().filter(|upstream| !is_in(&new.upstreams, upstream)).for_each(|upstream| {
            upstream.retire(&new.counters);
        });
        new.counters.reloads.add(1);
        self.0.replace(Rc::new(new));
    }
}

impl Core {
    /// The same core under another configuration.
    fn with(&self, replacement: &Replacement, redis: Option<Rc<Redis>>) -> Core {
        let config = replacement.config.clone();
        if config.jwt != self.config.jwt {
            self.authenticator.replace_keys(replacement.keys.clone());
        }
        let addressed = config.upstreams.iter().zip(&replacement.endpoints);
        Core {
            routes: replacement.routes.clone(),
            authenticator: self.authenticator.clone(),
            limiter: self.store.limiter(&config.rate_limit, redis.clone(), &self.counters),
            store: self.store.clone(),
            redis,
            cors: CorsPolicy::new(&config.cors),
            upstreams: addressed.map(|(wanted, found)| self.upstream(wanted, found, &config)).collect(),
            head_limits: head_limits(&config.sizes),
            waits: Waits::new(&config.timeouts),
            connections_room: self.connections_room,
            timers: self.timers.clone(),
            buffers: self.buffers.clone(),
            means: self.means.clone(),
            tunnels: self.tunnels.clone(),
            heads: self.heads.clone(),
            ids: self.ids.clone(),
            counters: self.counters.clone(),
            access_log: self.access_log.clone(),
            health: self.health.clone(),
            idle_grace_ms: self.idle_grace_ms.clone(),
            draining: self.draining.clone(),
            config,
        }
    }

    /// The name of an upstream has these addresses now, whichever upstreams have it.
    pub fn replace_endpoints(&self, address: &UpstreamAddress, endpoints: &Arc<[Endpoint]>) {
        for (known, upstream) in self.config.upstreams.iter().zip(&self.upstreams) {
            if known.address == *address {
                upstream.replace_endpoints(endpoints.clone());
            }
        }
    }

    /// The same upstream with its connections, if it is one of before; else a new one.
    fn upstream(
        &self,
        wanted: &config::Upstream,
        found: &Option<Arc<[Endpoint]>>,
        config: &Config,
    ) -> Rc<Upstream> {
        let before = self.config.upstreams.iter().position(|known| known == wanted);
        let upstream = match before {
            Some(index) => self.upstreams[index].clone(),
            None => Rc::new(Upstream::new(wanted, config)),
        };
        upstream.adjust(config);
        if let Some(endpoints) = found {
            upstream.replace_endpoints(endpoints.clone());
        }
        upstream
    }
}

impl fmt::Debug for Replacement {
    /// Nothing of what is in it: an order may be shown, a secret may not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replacement(…)")
    }
}

fn is_in(upstreams: &[Rc<Upstream>], one: &Rc<Upstream>) -> bool {
    upstreams.iter().any(|upstream| Rc::ptr_eq(upstream, one))
}
