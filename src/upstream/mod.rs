//! The internal services: which addresses they have, and the connections this core keeps to them.

pub mod connect;
pub mod pool;
pub mod resolve;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

pub use connect::{ConnectError, Endpoint};
pub use pool::Lease;

use crate::clock;
use crate::config;
use crate::net::{Stream, Timers};
use crate::telemetry::Counters;
use pool::Pool;

/// One internal service as one core sees it.
pub struct Upstream {
    /// Its name in routes, logs and metrics.
    pub name: Rc<str>,
    /// What it gets as `Host`.
    pub authority: Box<[u8]>,
    endpoints: RefCell<Arc<[Endpoint]>>,
    /// Which endpoint has its turn.
    turn: Cell<usize>,
    pool: Pool,
    connect_timeout_ms: u64,
}

impl Upstream {
    /// An upstream without addresses yet: until [`Upstream::replace_endpoints`] it is unreachable.
    pub fn new(written: &config::Upstream, config: &config::Config) -> Upstream {
        Upstream {
            name: written.name.as_str().into(),
            authority: written.authority.as_bytes().into(),
            endpoints: RefCell::new(Arc::new([])),
            turn: Cell::new(0),
            pool: Pool::new(config.sizes.upstream_idle, config.timeouts.upstream_keep_alive),
            connect_timeout_ms: config.timeouts.upstream_connect.as_millis() as u64,
        }
    }

    /// Takes over newly resolved addresses. Idle connections to addresses that are gone end with their lease.
    pub fn replace_endpoints(&self, endpoints: Arc<[Endpoint]>) {
        *self.endpoints.borrow_mut() = endpoints;
    }

    /// A connection that was used before and is alive, the one used last; else a new one.
    pub async fn lease(&self, timers: &Timers, counters: &Counters) -> Result<Lease<'_>, ConnectError> {
        if let Some(idle) = self.pool.take(clock::now_ms(), counters) {
            counters.upstream_reuses.add(1);
            return Ok(Lease::reused(self, idle));
        }
        self.lease_new(timers, counters).await
    }

    /// A new connection: each address in turn, and the next one if one refuses, within one time limit.
    pub async fn lease_new(&self, timers: &Timers, counters: &Counters) -> Result<Lease<'_>, ConnectError> {
        let endpoints = self.endpoints.borrow().clone();
        let begun_us = clock::now_us();
        let deadline = clock::now_ms() + self.connect_timeout_ms;
        let mut failure = ConnectError::NoAddress;
        for _ in 0..endpoints.len().min(ENDPOINTS_TRIED_MAX) {
            let endpoint = &endpoints[self.turn.get() % endpoints.len()];
            self.turn.set(self.turn.get().wrapping_add(1));
            match connect::connect(endpoint, timers, deadline).await {
                Ok(stream) => {
                    counters.upstream_connects.add(1);
                    return Ok(Lease::new(self, stream, endpoint.clone(), clock::now_us() - begun_us));
                }
                Err(error) => failure = error,
            }
            if matches!(failure, ConnectError::TimedOut) {
                break;
            }
        }
        counters.upstream_connect_failures.add(1);
        Err(failure)
    }

    /// Closes idle connections that are too old or that the upstream has closed.
    pub fn sweep(&self, now_ms: u64, counters: &Counters) {
        self.pool.sweep(now_ms, counters);
    }

    /// Closes every idle connection.
    pub fn close_idle(&self, counters: &Counters) {
        self.pool.clear(counters);
    }
}

/// An idle connection with the endpoint it leads to.
pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) endpoint: Endpoint,
}

/// Addresses that one request tries before it gives up.
const ENDPOINTS_TRIED_MAX: usize = 3;
