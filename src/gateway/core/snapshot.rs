//! What one configuration means to one core. Immutable: a reload makes the next snapshot out of the current one.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::limit_labels::LimitLabels;
use super::metrics::{Metrics, NO_ROUTE, RouteMetrics};
use super::resources::Resources;
use crate::auth::{Authenticator, Keys};
use crate::config::{self, Config, Http2, Members};
use crate::downstream;
use crate::gateway::cors::CorsPolicy;
use crate::http1::HeadLimits;
use crate::limit::Limiter;
use crate::limits::block_bytes;
use crate::redis::Redis;
use crate::route::RouteTable;
use crate::tls;
use crate::upstream::{Roster, Upstream};

/// The half of a core that a reload replaces as a whole.
pub struct Snapshot {
    /// The configuration.
    pub config: Arc<Config>,
    /// The routes, compiled.
    pub routes: Arc<RouteTable>,
    /// Authentication: the keys, and the tokens that they have verified.
    pub authenticator: Rc<Authenticator>,
    /// Rate limiting.
    pub limiter: Limiter,
    /// What its limits are called, and what is counted of each.
    pub limits: LimitLabels,
    /// The connection to Redis, if the limiter keeps its buckets there.
    pub redis: Option<Rc<Redis>>,
    /// Which browser origins may call.
    pub cors: CorsPolicy,
    /// The internal services, in the configuration's order.
    pub upstreams: Vec<Rc<Upstream>>,
    /// Bounds and timeouts of clients' connections.
    pub downstream: downstream::Settings,
    /// Bounds of a response's head.
    pub response_head: HeadLimits,
    /// TLS towards clients; `None`: there is no listener for it.
    pub tls: Option<Arc<tls::Termination>>,
    /// The challenges of a certificate authority.
    pub challenges: Arc<tls::Challenges>,
    /// TLS towards upstreams.
    originations: Arc<tls::Originations>,
    /// What is counted of each route, in their order.
    route_metrics: Vec<Arc<RouteMetrics>>,
    /// What is counted of requests without a route.
    unrouted: Arc<RouteMetrics>,
}

/// A configuration as the control thread prepares it for every core.
#[derive(Clone)]
pub struct Replacement {
    /// The configuration.
    pub config: Arc<Config>,
    /// Its routes, compiled.
    pub routes: Arc<RouteTable>,
    /// Its keys, prepared.
    pub keys: Arc<Keys>,
    /// The challenges of a certificate authority that are to be answered.
    pub challenges: Arc<tls::Challenges>,
    /// Its TLS towards clients, with the certificates; `None`: it has no listener for it.
    pub tls: Option<Arc<tls::Termination>>,
    /// Its TLS towards upstreams.
    pub originations: Arc<tls::Originations>,
}

impl Snapshot {
    /// What a configuration means. `before`: the current snapshot, from which verified tokens and upstreams that stay
    /// the same are carried over. Another upstream has no address yet.
    pub(super) fn new(
        replacement: &Replacement,
        resources: &Resources,
        redis: Option<Rc<Redis>>,
        before: Option<&Snapshot>,
    ) -> Snapshot {
        let config = replacement.config.clone();
        let metrics = &resources.metrics;
        resources.io.buffers.grow_blocks(block_bytes(config.sizes.head_bytes));
        resources.online.configure(&config.online);
        let upstreams = config.upstreams.iter().map(|wanted| {
            let tls = replacement.originations.get(&wanted.name).map(|tls| &**tls);
            let known = before.and_then(|before| before.upstream(wanted, tls));
            let new = || Rc::new(Upstream::new(wanted, tls, &config, resources.upstreams.clone()));
            match known {
                Some(known) => {
                    known.adjust(wanted, &config);
                    known
                }
                None => new(),
            }
        });
        Snapshot {
            upstreams: upstreams.collect(),
            routes: replacement.routes.clone(),
            authenticator: authenticator(replacement, resources, before),
            limiter: resources.store.limiter(&config.rate_limit, redis.clone(), &metrics.limit),
            limits: LimitLabels::new(&config, &metrics.limits),
            redis,
            cors: CorsPolicy::new(&config.cors),
            downstream: downstream_settings(&config),
            response_head: HeadLimits {
                fields: config.sizes.upstream_fields.unwrap_or(config.sizes.fields),
                ..head_limits(&config)
            },
            tls: replacement.tls.clone(),
            challenges: replacement.challenges.clone(),
            originations: replacement.originations.clone(),
            route_metrics: config.routes.iter().map(|route| metrics.routes.of(&route.name)).collect(),
            unrouted: metrics.routes.of(NO_ROUTE),
            config,
        }
    }

    /// What is counted of the route with this index, or of requests without a route.
    pub fn route_metrics(&self, index: Option<usize>) -> &RouteMetrics {
        index.map_or(&self.unrouted, |index| &self.route_metrics[index])
    }

    /// Forgets what was counted of routes and upstreams that this configuration does not have.
    pub(super) fn forget_others(&self, metrics: &Metrics) {
        metrics.routes.keep(self.config.routes.iter().map(|route| route.name.as_str()).chain([NO_ROUTE]));
        metrics.limits.keep(self.limits.names());
        metrics.upstreams.keep(self.config.upstreams.iter().map(|upstream| upstream.name.as_str()));
    }

    /// Whether another configuration has the same TLS to Redis, made of the same files.
    pub fn has_redis_tls_of(&self, other: &Replacement) -> bool {
        self.originations.get(tls::REDIS).map(|tls| &**tls)
            == other.originations.get(tls::REDIS).map(|tls| &**tls)
    }

    /// The upstream that is this service, and whose TLS is made of the same files. Its bounds and the choice among its
    /// members may have changed.
    fn upstream(&self, wanted: &config::Upstream, tls: Option<&tls::Origination>) -> Option<Rc<Upstream>> {
        let index = self.config.upstreams.iter().position(|known| known.is_same_service(wanted))?;
        let is_same = self.originations.get(&wanted.name).map(|tls| &**tls) == tls;
        is_same.then(|| self.upstreams[index].clone())
    }

    /// Retires the upstreams that the next snapshot does not have.
    pub(super) fn retire_upstreams(&self, next: &Snapshot) {
        let is_kept = |one: &Rc<Upstream>| next.upstreams.iter().any(|kept| Rc::ptr_eq(kept, one));
        self.upstreams.iter().filter(|one| !is_kept(one)).for_each(|upstream| upstream.retire());
    }

    /// The upstream of this name has this roster now, if its members come from there.
    pub fn replace_roster(&self, name: &str, members: &Members, roster: &Roster) {
        for (known, upstream) in self.config.upstreams.iter().zip(&self.upstreams) {
            if known.name == name && known.members == *members {
                upstream.replace_roster(roster);
            }
        }
    }

    /// The bound of a request's body on a route; `None`: before the route is known.
    pub fn body_bytes_max(&self, route: Option<&config::Route>) -> u64 {
        body_bytes_max(&self.config, route)
    }
}

/// The bounds of a head, as configured.
pub fn head_limits(config: &Config) -> HeadLimits {
    let sizes = &config.sizes;
    HeadLimits {
        head_bytes: sizes.head_bytes,
        request_line_bytes: sizes.request_line_bytes,
        fields: sizes.fields,
        oddities: config.any_oddities(),
    }
}

/// The bound of a request's body: the route's own, or that of the configuration. A bound of 0 is none.
pub fn body_bytes_max(config: &Config, route: Option<&config::Route>) -> u64 {
    let own = route.and_then(|route| route.body_bytes_max);
    match own.unwrap_or(config.sizes.body_bytes) {
        0 => u64::MAX,
        bytes_max => bytes_max,
    }
}

fn downstream_settings(config: &Config) -> downstream::Settings {
    let ms = |timeout: Duration| timeout.as_millis() as u64;
    downstream::Settings {
        head_limits: head_limits(config),
        request_head_ms: ms(config.timeouts.request_head),
        keep_alive_ms: ms(config.timeouts.keep_alive),
        body_ms: ms(config.timeouts.body),
        body_rate_min: config.sizes.body_rate_min,
        is_h2c: config.h2c == Http2::On,
    }
}

/// The authenticator of before where the rules for tokens are the same, with the keys of now: it forgets the tokens of
/// keys that are gone. Other rules forget every verified token.
fn authenticator(
    replacement: &Replacement,
    resources: &Resources,
    before: Option<&Snapshot>,
) -> Rc<Authenticator> {
    match before.filter(|before| before.config.jwt == replacement.config.jwt) {
        Some(before) => {
            before.authenticator.take_keys(&replacement.keys);
            before.authenticator.clone()
        }
        None => {
            let (keys, requests) = (replacement.keys.clone(), resources.key_requests.clone());
            let metrics = (resources.metrics.auth.clone(), resources.metrics.keys.clone());
            Rc::new(Authenticator::new(keys, requests, metrics))
        }
    }
}

impl fmt::Debug for Replacement {
    /// Nothing of its contents: an order may be shown, a secret may not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replacement(…)")
    }
}
