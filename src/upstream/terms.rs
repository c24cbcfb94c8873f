//! What holds for every exchange with one upstream on one core: its bounds and timeouts, and its pool.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::balance::{Random, hash_of};
use super::home::Home;
use super::metrics::UpstreamMetrics;
use super::pool::{Pool, PoolBounds};
use super::slot::{UpstreamSlot, UpstreamSlots};
use crate::config::{self, Config};
use crate::limits::STREAMS_PER_IN_FLIGHT;

/// The terms of one upstream.
pub struct Terms {
    /// Its name in routes, logs and metrics.
    pub name: Rc<str>,
    /// What it gets as `Host`.
    pub authority: Box<[u8]>,
    /// Whether a connection carries more than one request.
    is_reusing: bool,
    /// Whether there is more than one member to choose from.
    has_choice: Cell<bool>,
    pool: Rc<Pool>,
    in_flight: UpstreamSlots,
    pending_connects: UpstreamSlots,
    streams: UpstreamSlots,
    connect_timeout_ms: Cell<u64>,
    head_timeout_ms: Cell<u64>,
    idle_timeout_ms: Cell<u64>,
    home: Rc<Home>,
    metrics: Arc<UpstreamMetrics>,
}

impl Terms {
    pub(super) fn new(written: &config::Upstream, config: &Config, home: Rc<Home>) -> Terms {
        let name = &written.name;
        let seed = !hash_of(name.as_bytes()) ^ home.seed ^ home.core.index as u64;
        let metrics = home.metrics.of(name);
        let pool = Rc::new(Pool::new(name, Random::new(seed), metrics.clone()));
        home.quota.register(pool.clone());
        let terms = Terms {
            name: name.as_str().into(),
            authority: written.authority.as_bytes().into(),
            is_reusing: written.connection_reuse,
            has_choice: Cell::new(false),
            pool,
            in_flight: UpstreamSlots::new(0),
            pending_connects: UpstreamSlots::new(0),
            streams: UpstreamSlots::new(0),
            connect_timeout_ms: Cell::new(0),
            head_timeout_ms: Cell::new(0),
            idle_timeout_ms: Cell::new(0),
            home,
            metrics,
        };
        terms.adjust(written, config);
        terms
    }

    /// Takes over those of a new configuration.
    pub(super) fn adjust(&self, written: &config::Upstream, config: &Config) {
        let (bounds, timeouts, sizes) = (&written.bounds, &config.timeouts, &config.sizes);
        let ms = |own: Option<Duration>, all: Duration| own.unwrap_or(all).as_millis() as u64;
        self.pool.adjust(PoolBounds {
            idle: if self.is_reusing { sizes.upstream_idle } else { 0 },
            keep_alive_ms: ms(None, timeouts.upstream_keep_alive),
            age_ms: ms(None, timeouts.upstream_connection_age),
            exchanges: sizes.upstream_connection_requests,
        });
        let in_flight = bounds.in_flight.unwrap_or(sizes.upstream_in_flight);
        self.in_flight.set_max(in_flight);
        self.pending_connects.set_max(bounds.pending_connects.unwrap_or(in_flight));
        self.streams.set_max(bounds.streams.unwrap_or(in_flight.saturating_mul(STREAMS_PER_IN_FLIGHT)));
        self.connect_timeout_ms.set(ms(bounds.connect_timeout, timeouts.upstream_connect));
        self.head_timeout_ms.set(ms(bounds.head_timeout, timeouts.upstream_head));
        self.idle_timeout_ms.set(ms(bounds.idle_timeout, timeouts.upstream_idle));
    }

    /// A place among the requests in flight.
    pub(super) fn request_slot(&self) -> Option<UpstreamSlot> {
        self.counted(self.in_flight.take())
    }

    /// A place among the requests that wait for a connection.
    pub(super) fn connect_slot(&self) -> Option<UpstreamSlot> {
        self.counted(self.pending_connects.take())
    }

    /// A place among the long responses.
    pub(super) fn stream_slot(&self) -> Option<UpstreamSlot> {
        self.streams.take()
    }

    /// There is no place for a request: it is refused.
    pub(super) fn count_overload(&self) {
        self.metrics.overloads.add(1);
    }

    fn counted(&self, slot: Option<UpstreamSlot>) -> Option<UpstreamSlot> {
        if slot.is_none() {
            self.count_overload();
        }
        slot
    }

    /// How long connecting may take, in milliseconds.
    pub(super) fn connect_timeout_ms(&self) -> u64 {
        self.connect_timeout_ms.get()
    }

    /// For a response head, from the end of the request, in milliseconds.
    pub fn head_timeout_ms(&self) -> u64 {
        self.head_timeout_ms.get()
    }

    /// Between bytes of a response, in milliseconds.
    pub fn idle_timeout_ms(&self) -> u64 {
        self.idle_timeout_ms.get()
    }

    /// Whether there is more than one member to choose from.
    pub(super) fn has_choice(&self) -> bool {
        self.has_choice.get()
    }

    pub(super) fn set_choice(&self, has_choice: bool) {
        self.has_choice.set(has_choice);
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn metrics(&self) -> &Arc<UpstreamMetrics> {
        &self.metrics
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }
}
