//! What one core owns: everything that a request touches, shared with nobody. `active` replaces it as a whole when
//! the configuration is another.

pub mod active;
pub mod heads;
pub mod readiness;
pub mod request_id;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::auth::{Authenticator, Keys};
use crate::clock;
use crate::config::{Config, Sizes, Timeouts};
use crate::gateway::core::heads::HeadPool;
use crate::gateway::core::readiness::Health;
use crate::gateway::core::request_id::RequestIds;
use crate::gateway::cors::CorsPolicy;
use crate::gateway::websocket::tunnel::{DrainSchedule, Means, Tunnels};
use crate::http1::HeadLimits;
use crate::limit::{self, Limiter, Store};
use crate::net::{BufferPool, Elapsed, Pace, Timers};
use crate::redis::{self, Redis};
use crate::route::RouteTable;
use crate::telemetry::{AccessLog, Counters};
use crate::upstream::Upstream;

pub use active::{ActiveCore, Replacement};

/// One core's state. Everything of it lives on the core's thread; only the counters and the health are
/// seen from elsewhere.
pub struct Core {
    /// What is in force.
    pub config: Arc<Config>,
    /// Where requests go.
    pub routes: Arc<RouteTable>,
    /// Who is asking.
    pub authenticator: Rc<Authenticator>,
    /// May they.
    pub limiter: Limiter,
    /// Who keeps the limiter's buckets.
    pub store: Store,
    /// The connection to Redis, if the limiter keeps its buckets there.
    pub redis: Option<Rc<Redis>>,
    /// Which browser origins may call.
    pub cors: CorsPolicy,
    /// The internal services, in the configuration's order.
    pub upstreams: Vec<Rc<Upstream>>,
    /// Bounds of a request head.
    pub head_limits: HeadLimits,
    /// The configured waits, in milliseconds.
    pub waits: Waits,
    /// Connections that the limit of open files leaves room for.
    pub connections_room: usize,
    /// The waits with a deadline.
    pub timers: Rc<Timers>,
    /// Free I/O buffers.
    pub buffers: Rc<BufferPool>,
    /// What tunnels stand on.
    pub means: Rc<Means>,
    /// Where tunnels can go.
    pub tunnels: Rc<Tunnels>,
    /// Free parsed heads.
    pub heads: Rc<HeadPool>,
    /// Request ids.
    pub ids: Rc<RequestIds>,
    /// This core's numbers.
    pub counters: Arc<Counters>,
    /// This core's access-log buffer; `None`: no log.
    pub access_log: Option<Rc<RefCell<AccessLog>>>,
    /// The process's readiness.
    pub health: Arc<Health>,
    /// How long an idle connection may take for one more request when the core drains, in milliseconds.
    pub idle_grace_ms: Rc<Cell<u64>>,
    /// No new request is waited for, and each response is the last on its connection.
    pub draining: Rc<Cell<bool>>,
}

/// The configured waits, in milliseconds.
pub struct Waits {
    /// For a whole request head.
    pub request_head_ms: u64,
    /// For the next request on a connection.
    pub keep_alive_ms: u64,
    /// For a client to move its body, or to take ours.
    pub body_ms: u64,
    /// For a response head, from the end of the request.
    pub upstream_head_ms: u64,
    /// For an upstream to send the next bytes, or to take ours.
    pub upstream_idle_ms: u64,
}

/// What a core is made of that was prepared elsewhere.
pub struct Parts {
    /// What is in force.
    pub config: Arc<Config>,
    /// The routes, compiled.
    pub routes: Arc<RouteTable>,
    /// The keys, prepared.
    pub keys: Arc<Keys>,
    /// Who keeps the buckets.
    pub store: Store,
    /// Connections that the limit of open files leaves room for.
    pub connections_room: usize,
    /// How to speak with Redis; `None`: not at all.
    pub redis: Option<redis::Settings>,
    /// Where tunnels can go.
    pub tunnels: Tunnels,
    /// The core's numbers.
    pub counters: Arc<Counters>,
    /// The core's access log.
    pub access_log: Option<AccessLog>,
    /// The process's readiness.
    pub health: Arc<Health>,
}

impl Waits {
    /// As configured.
    pub fn new(timeouts: &Timeouts) -> Waits {
        let ms = |wait: Duration| wait.as_millis() as u64;
        Waits {
            request_head_ms: ms(timeouts.request_head),
            keep_alive_ms: ms(timeouts.keep_alive),
            body_ms: ms(timeouts.body),
            upstream_head_ms: ms(timeouts.upstream_head),
            upstream_idle_ms: ms(timeouts.upstream_idle),
        }
    }
}

/// The bounds of a head, as configured.
pub(crate) fn head_limits(sizes: &Sizes) -> HeadLimits {
    HeadLimits {
        head_bytes: sizes.head_bytes,
        request_line_bytes: sizes.request_line_bytes,
        fields: sizes.fields,
    }
}

impl Core {
    /// Puts a core together.
    pub fn new(parts: Parts) -> Core {
        let config = parts.config;
        let (timers, buffers) = (Rc::new(Timers::new()), BufferPool::new());
        let redis = parts.redis.map(|settings| {
            Redis::new(settings, limit::SCRIPT, timers.clone(), buffers.clone(), parts.counters.clone())
        });
        let (counters, access_log) = (parts.counters, parts.access_log.map(|log| Rc::new(RefCell::new(log))));
        let (ids, draining) = (Rc::<RequestIds>::default(), Rc::<Cell<bool>>::default());
        let means = Means {
            timers: timers.clone(),
            buffers: buffers.clone(),
            pipes: Rc::default(),
            ids: ids.clone(),
            counters: counters.clone(),
            access_log: access_log.clone(),
            draining: draining.clone(),
            drain_schedule: DrainSchedule::default(),
        };
        Core {
            limiter: parts.store.limiter(&config.rate_limit, redis.clone(), &counters),
            redis,
            store: parts.store,
            authenticator: Rc::new(Authenticator::new(parts.keys)),
            cors: CorsPolicy::new(&config.cors),
            upstreams: config.upstreams.iter().map(|known| Rc::new(Upstream::new(known, &config))).collect(),
            head_limits: head_limits(&config.sizes),
            waits: Waits::new(&config.timeouts),
            connections_room: parts.connections_room,
            timers,
            buffers,
            means: Rc::new(means),
            tunnels: Rc::new(parts.tunnels),
            heads: Rc::default(),
            ids,
            counters,
            access_log,
            health: parts.health,
            idle_grace_ms: Rc::default(),
            draining,
            routes: parts.routes,
            config,
        }
    }

    /// A connection to Redis that is spoken with in another way, not opened yet.
    pub fn another_redis(&self, settings: redis::Settings) -> Rc<Redis> {
        let (timers, buffers) = (self.timers.clone(), self.buffers.clone());
        Redis::new(settings, limit::SCRIPT, timers, buffers, self.counters.clone())
    }

    /// Connections that may be open at one time.
    pub fn connections_max(&self) -> usize {
        self.config.connections_max.unwrap_or(self.connections_room)
    }

    /// The precise clock, for the durations in the access log. Without a log nobody reads them, and it stands still.
    pub fn stopwatch_us(&self) -> u64 {
        if self.access_log.is_some() { clock::now_us() } else { 0 }
    }

    /// The patience with a client that sends a body or takes one.
    pub fn client_pace(&self) -> Pace {
        Pace::new(self.waits.body_ms, self.config.sizes.body_rate_min)
    }

    /// The patience with an upstream.
    pub fn upstream_pace(&self) -> Pace {
        Pace::new(self.waits.upstream_idle_ms, 0)
    }

    /// Waits for `future` until the deadline; `None`: the core has begun to drain meanwhile. A wait that begins
    /// while the core drains already is not cut short by it.
    pub fn until_drain<F: Future + Unpin>(
        &self,
        at_ms: u64,
        mut future: F,
    ) -> impl Future<Output = Result<Option<F::Output>, Elapsed>> {
        let was_draining = self.draining.get();
        let or_drain = poll_fn(move |context| match Pin::new(&mut future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.draining.get() != was_draining => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        self.timers.until(at_ms, or_drain)
    }

    /// Begins to drain: every wait looks at its circumstances again. A client that sends a request in the moment
    /// in which its idle connection is closed sees it fail; where there is time, it has one more.
    pub fn drain(&self, idle_grace_ms: u64) {
        let timeout_ms = self.config.timeouts.shutdown.as_millis() as u64;
        self.means.drain_schedule.begin(clock::now_ms(), self.counters.tunnels_open.get(), timeout_ms);
        self.idle_grace_ms.set(idle_grace_ms);
        self.draining.set(true);
        for upstream in &self.upstreams {
            upstream.close_idle(&self.counters);
        }
        self.timers.wake_all();
    }
}
