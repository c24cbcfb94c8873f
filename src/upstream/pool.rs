//! Idle connections of one core to one upstream: newest first, bounded, checked before they are lent.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::clock;
use crate::net::Stream;
use crate::net::stream::Liveness;
use crate::telemetry::Counters;
use crate::upstream::slot::InFlightSlot;
use crate::upstream::{Connection, Endpoint, Upstream};

/// Evidence that there is a connection, good for one exchange, and a slot among the requests in flight. Dropped,
/// it closes the connection; only [`Lease::give_back`] keeps it.
pub struct Lease<'u> {
    upstream: &'u Upstream,
    _slot: InFlightSlot<'u>,
    /// Boxed: a lease moves through every step of a request.
    connection: Box<Connection>,
    /// How long connecting took, in µs; `None`: the connection was used before.
    connect_us: Option<u64>,
}

impl<'u> Lease<'u> {
    pub(super) fn reused(
        upstream: &'u Upstream,
        slot: InFlightSlot<'u>,
        connection: Box<Connection>,
    ) -> Lease<'u> {
        Lease { upstream, _slot: slot, connection, connect_us: None }
    }

    pub(super) fn new(
        upstream: &'u Upstream,
        slot: InFlightSlot<'u>,
        connection: Box<Connection>,
        connect_us: u64,
    ) -> Lease<'u> {
        Lease { upstream, _slot: slot, connection, connect_us: Some(connect_us) }
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
    idle_max: Cell<usize>,
    keep_alive_ms: Cell<u64>,
}

struct Idle {
    connection: Box<Connection>,
    since_ms: u64,
}

impl Idle {
    fn idle_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.since_ms)
    }

    /// Open, and nothing has arrived: bytes on an idle connection answer nothing that was asked, and whoever asks next
    /// would take them for its answer. The look is a system call, some 1.5 % of a small request. Left out for a moment
    /// after the last exchange, it let a surplus answer that came a moment late reach another client every time.
    fn is_quiet(&self) -> bool {
        self.connection.stream.liveness() == Liveness::Quiet
    }
}

impl Pool {
    pub(super) fn new(idle_max: usize, keep_alive: Duration) -> Pool {
        let pool = Pool { idle: RefCell::default(), idle_max: Cell::new(0), keep_alive_ms: Cell::new(0) };
        pool.adjust(idle_max, keep_alive);
        pool
    }

    /// Other bounds from now on. What is over them goes with the next sweep.
    pub(super) fn adjust(&self, idle_max: usize, keep_alive: Duration) {
        self.idle_max.set(idle_max);
        self.keep_alive_ms.set(keep_alive.as_millis() as u64);
    }

    /// The connection used last that is still open and has said nothing since.
    pub(super) fn take(&self, now_ms: u64, counters: &Counters) -> Option<Box<Connection>> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            counters.upstream_idle.subtract(1);
            if idle.idle_ms(now_ms) < self.keep_alive_ms.get() && idle.is_quiet() {
                return Some(idle.connection);
            }
        }
    }

    fn put(&self, connection: Box<Connection>, counters: &Counters) {
        if self.idle_max.get() == 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.idle_max.get() {
            idle.remove(0);
        } else {
            counters.upstream_idle.add(1);
        }
        idle.push(Idle { connection, since_ms: clock::now_ms() });
    }

    /// Closes what is too old, too many, or was closed by the upstream.
    pub(super) fn sweep(&self, now_ms: u64, counters: &Counters) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        let over = before.saturating_sub(self.idle_max.get());
        idle.drain(..over);
        idle.retain(|idle| idle.idle_ms(now_ms) < self.keep_alive_ms.get() && idle.is_quiet());
        counters.upstream_idle.subtract((before - idle.len()) as u64);
    }

    pub(super) fn clear(&self, counters: &Counters) {
        let closed = self.idle.borrow_mut().drain(..).count();
        counters.upstream_idle.subtract(closed as u64);
    }
}
