//! The internal services: which addresses they have, and the connections this core keeps to them.

mod place;
pub mod pool;
pub mod resolve;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use crate::net::{ConnectError, Endpoint};
pub use pool::Lease;

use crate::clock;
use crate::config;
use crate::net::{self, Stream, Timers};
use crate::telemetry::Counters;
use place::{Place, Places};
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
    places: Places,
    connect_timeout_ms: Cell<u64>,
}

/// Why there is no lease.
#[derive(Debug)]
pub enum LeaseError {
    /// As many requests as there may be are in flight already.
    Overloaded,
    /// There is no connection.
    Connect(ConnectError),
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
            places: Places::new(config.sizes.upstream_in_flight),
            connect_timeout_ms: Cell::new(config.timeouts.upstream_connect.as_millis() as u64),
        }
    }

    /// Takes over the bounds and waits of a new configuration, in which the upstream itself is the same.
    pub fn adjust(&self, config: &config::Config) {
        self.pool.adjust(config.sizes.upstream_idle, config.timeouts.upstream_keep_alive);
        self.places.set_max(config.sizes.upstream_in_flight);
        self.connect_timeout_ms.set(config.timeouts.upstream_connect.as_millis() as u64);
    }

    /// The upstream is in no configuration any more: what is in flight goes on, and no connection is kept.
    pub fn retire(&self, counters: &Counters) {
        self.pool.adjust(0, Duration::ZERO);
        self.pool.clear(counters);
    }

    /// Its addresses now.
    pub fn endpoints(&self) -> Arc<[Endpoint]> {
        self.endpoints.borrow().clone()
    }

    /// Takes over newly resolved addresses. Idle connections to addresses that are gone end with their lease.
    pub fn replace_endpoints(&self, endpoints: Arc<[Endpoint]>) {
        *self.endpoints.borrow_mut() = endpoints;
    }

    /// A connection that was used before and is alive, the one used last; else a new one.
    pub async fn lease(&self, timers: &Timers, counters: &Counters) -> Result<Lease<'_>, LeaseError> {
        let place = self.place(counters)?;
        if let Some(idle) = self.pool.take(clock::now_ms(), counters) {
            counters.upstream_reuses.add(1);
            return Ok(Lease::reused(self, place, idle));
        }
        self.connect(place, timers, counters).await.map_err(LeaseError::Connect)
    }

    /// A new connection: each address in turn, and the next one if one refuses, within one time limit.
    pub async fn lease_new(&self, timers: &Timers, counters: &Counters) -> Result<Lease<'_>, LeaseError> {
        let place = self.place(counters)?;
        self.connect(place, timers, counters).await.map_err(LeaseError::Connect)
    }

    fn place(&self, counters: &Counters) -> Result<Place<'_>, LeaseError> {
        let place = self.places.take();
        if place.is_none() {
            counters.upstream_overloads.add(1);
        }
        place.ok_or(LeaseError::Overloaded)
    }

    async fn connect<'u>(
        &'u self,
        place: Place<'u>,
        timers: &Timers,
        counters: &Counters,
    ) -> Result<Lease<'u>, ConnectError> {
        let endpoints = self.endpoints();
        let begun_us = clock::now_us();
        let deadline = clock::now_ms() + self.connect_timeout_ms.get();
        let mut failure = ConnectError::NoAddress;
        for _ in 0..endpoints.len().min(ENDPOINTS_TRIED_MAX) {
            let endpoint = &endpoints[self.turn.get() % endpoints.len()];
            self.turn.set(self.turn.get().wrapping_add(1));
            match net::connect(endpoint, timers, deadline).await {
                Ok(stream) => {
                    counters.upstream_connects.add(1);
                    let connection = Box::new(Connection { stream, endpoint: endpoint.clone() });
                    return Ok(Lease::new(self, place, connection, clock::now_us() - begun_us));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;
    use crate::net::runtime::ThreadRuntime;
    use std::net::TcpListener;

    /// Where each of four new connections leads, by index of the listener; `None`: there is no connection.
    fn leads(endpoints: Vec<Endpoint>) -> Vec<Option<usize>> {
        let config = config("");
        let upstream = Upstream::new(&config.upstreams[0], &config);
        upstream.replace_endpoints(endpoints.clone().into());
        let (mut runtime, _) = ThreadRuntime::build(true).expect("a runtime");
        runtime.block_on(async {
            let (timers, counters) = (Timers::new(), Counters::default());
            let mut leads = Vec::new();
            for _ in 0..4 {
                let lease = upstream.lease_new(&timers, &counters).await.ok();
                leads.push(
                    lease.and_then(|lease| endpoints.iter().position(|known| known == lease.endpoint())),
                );
            }
            leads
        })
    }

    fn listen() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = Endpoint::tcp(listener.local_addr().expect("its address"));
        (listener, endpoint)
    }

    #[test]
    fn several_addresses_are_used_in_turn() {
        let ((_first, one), (_second, two)) = (listen(), listen());
        assert_eq!(leads(vec![one, two]), [Some(0), Some(1), Some(0), Some(1)]);
    }

    #[test]
    fn an_address_that_refuses_is_passed_over() {
        let ((closed, one), (_second, two)) = (listen(), listen());
        drop(closed);
        assert_eq!(leads(vec![one, two]), [Some(1); 4]);
    }

    #[test]
    fn without_an_address_there_is_no_connection() {
        assert_eq!(leads(vec![]), [None; 4]);
    }
}
