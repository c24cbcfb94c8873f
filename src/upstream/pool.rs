//! Idle connections of one core to one upstream: newest first, bounded, checked before they are lent.

use std::cell::RefCell;
use std::time::Duration;

use crate::clock;
use crate::net::Stream;
use crate::net::stream::Liveness;
use crate::telemetry::Counters;
use crate::upstream::{Connection, Endpoint, Upstream};

/// Evidence that there is a connection, good for one exchange. Dropped, it closes the connection; only
/// [`Lease::give_back`] keeps it.
pub struct Lease<'u> {
    upstream: &'u Upstream,
    connection: Connection,
    /// How long connecting took, in µs; `None`: the connection was used before.
    connect_us: Option<u64>,
}

impl<'u> Lease<'u> {
    pub(super) fn reused(upstream: &'u Upstream, connection: Connection) -> Lease<'u> {
        Lease { upstream, connection, connect_us: None }
    }

    pub(super) fn new(
        upstream: &'u Upstream,
        stream: Stream,
        endpoint: Endpoint,
        connect_us: u64,
    ) -> Lease<'u> {
        Lease { upstream, connection: Connection { stream, endpoint }, connect_us: Some(connect_us) }
    }

    /// The connection.
    pub fn stream(&self) -> &Stream {
        &self.connection.stream
    }

    /// Where it leads.
    pub fn endpoint(&self) -> &Endpoint {
        &self.connection.endpoint
    }

    /// The connection has carried an exchange before, so the upstream may be closing it this moment.
    pub fn is_reused(&self) -> bool {
        self.connect_us.is_none()
    }

    /// How long connecting took, in µs.
    pub fn connect_us(&self) -> Option<u64> {
        self.connect_us
    }

    /// The exchange is complete in both directions: the next one may use the connection.
    pub fn give_back(self, counters: &Counters) {
        let known = self.upstream.endpoints.borrow().contains(&self.connection.endpoint);
        if known {
            self.upstream.pool.put(self.connection, counters);
        }
    }
}

/// The idle connections, oldest first.
pub(super) struct Pool {
    idle: RefCell<Vec<Idle>>,
    idle_max: usize,
    keep_alive_ms: u64,
}

struct Idle {
    connection: Connection,
    since_ms: u64,
}

impl Pool {
    pub(super) fn new(idle_max: usize, keep_alive: Duration) -> Pool {
        Pool { idle: RefCell::default(), idle_max, keep_alive_ms: keep_alive.as_millis() as u64 }
    }

    /// The connection used last that is still open and has said nothing since.
    pub(super) fn take(&self, now_ms: u64, counters: &Counters) -> Option<Connection> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            counters.upstream_idle.subtract(1);
            let fresh = now_ms.saturating_sub(idle.since_ms) < self.keep_alive_ms;
            // Bytes on an idle connection answer nothing that was asked: a broken upstream.
            if fresh && idle.connection.stream.liveness() == Liveness::Quiet {
                return Some(idle.connection);
            }
        }
    }

    fn put(&self, connection: Connection, counters: &Counters) {
        if self.idle_max == 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() == self.idle_max {
            idle.remove(0);
        } else {
            counters.upstream_idle.add(1);
        }
        idle.push(Idle { connection, since_ms: clock::now_ms() });
    }

    /// Closes what is too old or was closed by the upstream.
    pub(super) fn sweep(&self, now_ms: u64, counters: &Counters) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain(|idle| {
            now_ms.saturating_sub(idle.since_ms) < self.keep_alive_ms
                && idle.connection.stream.liveness() == Liveness::Quiet
        });
        counters.upstream_idle.subtract((before - idle.len()) as u64);
    }

    pub(super) fn clear(&self, counters: &Counters) {
        let closed = self.idle.borrow_mut().drain(..).count();
        counters.upstream_idle.subtract(closed as u64);
    }
}
