//! Idle connections of one core to one upstream: newest first, bounded, checked before they are lent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::member::Member;
use super::metrics::UpstreamMetrics;
use crate::clock;
use crate::net::{Liveness, Transport};

/// A connection and the member that it leads to.
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) member: Rc<Member>,
}

/// The idle connections, oldest first.
pub(super) struct Pool {
    idle: RefCell<Vec<Idle>>,
    idle_max: Cell<usize>,
    keep_alive_ms: Cell<u64>,
    upstream: Box<str>,
    /// When a surplus answer was last logged.
    warned_ms: Cell<Option<u64>>,
    metrics: Arc<UpstreamMetrics>,
}

struct Idle {
    connection: Box<Connection>,
    since_ms: u64,
}

impl Idle {
    fn idle_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.since_ms)
    }

    /// Whether the connection is open, and nothing has arrived: bytes on an idle connection answer nothing that was
    /// asked, and the next request would take them for its answer. The look is a system call, some 1.5 % of a small
    /// request. Left out for a moment after the last exchange, it let a surplus answer that came a moment late reach
    /// another client every time. One that comes even later cannot be told from an answer: HTTP/1.1 has no way to.
    fn liveness(&self) -> Liveness {
        let transport = &self.connection.transport;
        match transport.liveness() {
            // What it is cannot be told yet: perhaps the beginning of an answer.
            Liveness::Quiet if transport.has_part() => Liveness::Closed,
            seen => seen,
        }
    }
}

impl Pool {
    pub(super) fn new(
        upstream: &str,
        idle_max: usize,
        keep_alive: Duration,
        metrics: Arc<UpstreamMetrics>,
    ) -> Pool {
        let pool = Pool {
            idle: RefCell::default(),
            idle_max: Cell::new(0),
            keep_alive_ms: Cell::new(0),
            upstream: upstream.into(),
            warned_ms: Cell::new(None),
            metrics,
        };
        pool.adjust(idle_max, keep_alive);
        pool
    }

    /// Other bounds from now on. What is over them goes with the next sweep.
    pub(super) fn adjust(&self, idle_max: usize, keep_alive: Duration) {
        self.idle_max.set(idle_max);
        self.keep_alive_ms.set(keep_alive.as_millis() as u64);
    }

    /// The connection used last that is still open and has said nothing since.
    pub(super) fn take(&self, now_ms: u64) -> Option<Box<Connection>> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            self.metrics.idle.subtract(1);
            match idle.liveness() {
                Liveness::Quiet if idle.idle_ms(now_ms) < self.keep_alive_ms.get() => {
                    return Some(idle.connection);
                }
                Liveness::Bytes => self.distrust(),
                // Some servers say 408 before they close an idle connection.
                Liveness::Quiet | Liveness::Ended | Liveness::Closed => {}
            }
        }
    }

    /// The upstream has sent more than one answer to a request. What it has done once it may do again at any time:
    /// every idle connection is closed, since another surplus answer may be on its way.
    pub(super) fn distrust(&self) {
        self.metrics.surplus_answers.add(1);
        self.clear();
        let now_ms = clock::now_ms();
        if self.warned_ms.get().is_none_or(|warned_ms| now_ms - warned_ms >= WARNING_INTERVAL_MS) {
            self.warned_ms.set(Some(now_ms));
            let upstream = &*self.upstream;
            warn!(
                upstream,
                "the upstream sends more than it was asked for; connection_reuse = false protects clients"
            );
        }
    }

    /// Keeps a connection for the next lease, unless its member was withdrawn. At the bound the oldest one is closed.
    pub(super) fn put(&self, connection: Box<Connection>) {
        if self.idle_max.get() == 0 || connection.member.is_withdrawn() {
            return;
        }
        connection.transport.park();
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.idle_max.get() {
            idle.remove(0);
        } else {
            self.metrics.idle.add(1);
        }
        idle.push(Idle { connection, since_ms: clock::now_ms() });
    }

    /// Closes what is too old, too many, or was closed by the upstream.
    pub(super) fn sweep(&self, now_ms: u64) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        let over = before.saturating_sub(self.idle_max.get());
        idle.drain(..over);
        let mut has_surplus = false;
        idle.retain(|idle| {
            let liveness = idle.liveness();
            has_surplus |= liveness == Liveness::Bytes;
            liveness == Liveness::Quiet && idle.idle_ms(now_ms) < self.keep_alive_ms.get()
        });
        self.metrics.idle.subtract((before - idle.len()) as u64);
        drop(idle);
        if has_surplus {
            self.distrust();
        }
    }

    pub(super) fn clear(&self) {
        let closed = self.idle.borrow_mut().drain(..).count();
        self.metrics.idle.subtract(closed as u64);
    }
}

/// Interval between two log lines about surplus answers, in milliseconds.
const WARNING_INTERVAL_MS: u64 = 60_000;
