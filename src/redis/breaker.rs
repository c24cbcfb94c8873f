//! When not to ask Redis, and the line in the log for each time that this changes.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::Arc;

use tracing::{error, info, warn};

use crate::clock;
use crate::limits::REDIS_FAILURES_MAX;
use crate::net::ConnectError;
use crate::redis::metrics::{OutageMetrics, RedisMetrics};
use crate::redis::reply::Malformed;

/// Whether calls go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// They do.
    Closed,
    /// They do not.
    Open,
    /// They do not, and a connection is being tried.
    HalfOpen,
}

/// Why calls stopped.
#[derive(Debug)]
pub(super) enum Cause {
    /// There is no connection.
    Connect(ConnectError),
    /// Redis has closed the connection.
    Closed,
    /// The connection is broken.
    Broken(io::Error),
    /// So many calls in a row had no answer in time.
    TimedOut(u32),
    /// A new connection had no answer in time.
    Silent,
    /// A new connection had an answer, but not within the budget of a call; in milliseconds.
    Slow(u64),
    /// What came is no answer to what was asked.
    Garbage(Malformed),
    /// Redis answers with an error.
    Refused(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Connect(error) => write!(f, "cannot connect: {error}"),
            Cause::Closed => f.write_str("Redis closed the connection"),
            Cause::Broken(error) => write!(f, "the connection broke: {error}"),
            Cause::TimedOut(calls) => write!(f, "{calls} calls in a row had no answer in time"),
            Cause::Silent => f.write_str("no answer on a new connection"),
            Cause::Slow(ms) => write!(f, "the probe's answer took {ms} ms"),
            Cause::Garbage(what) => write!(f, "{what}"),
            Cause::Refused(text) => write!(f, "Redis answers: {text}"),
        }
    }
}

/// The state and what is said about it.
pub(super) struct Breaker {
    state: Cell<State>,
    failures_in_row: Cell<u32>,
    is_announced: Cell<bool>,
    opened_ms: Cell<u64>,
    at_opening: Cell<Passed>,
    at_summary: Cell<Passed>,
    metrics: Arc<RedisMetrics>,
    outage: Arc<OutageMetrics>,
}

/// What the limiter did without Redis.
#[derive(Debug, Clone, Copy, Default)]
struct Passed {
    unlimited: u64,
    refused_locally: u64,
}

impl Passed {
    fn now(outage: &OutageMetrics) -> Passed {
        let unlimited =
            outage.unlimited_timeout.get() + outage.unlimited_breaker.get() + outage.unlimited_queue.get();
        Passed { unlimited, refused_locally: outage.refused_by_memory.get() }
    }

    fn since(self, before: Passed) -> Passed {
        Passed {
            unlimited: self.unlimited.wrapping_sub(before.unlimited),
            refused_locally: self.refused_locally.wrapping_sub(before.refused_locally),
        }
    }
}

impl Breaker {
    /// Open: there is no connection yet. Nothing is said about that until the first attempt has failed.
    pub(super) fn new(metrics: Arc<RedisMetrics>, outage: Arc<OutageMetrics>) -> Breaker {
        metrics.breaker_open.set(1);
        Breaker {
            state: Cell::new(State::Open),
            failures_in_row: Cell::new(0),
            is_announced: Cell::new(false),
            opened_ms: Cell::new(clock::now_ms()),
            at_opening: Cell::default(),
            at_summary: Cell::default(),
            metrics,
            outage,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.get() == State::Closed
    }

    /// A caller has its answer.
    pub(super) fn succeeded(&self) {
        self.failures_in_row.set(0);
    }

    /// A call failed by itself. True: too many of them in a row.
    pub(super) fn failed(&self) -> bool {
        self.failures_in_row.set(self.failures_in_row.get().saturating_add(1));
        self.failures_in_row.get() >= REDIS_FAILURES_MAX
    }

    /// Failures since a caller had its answer.
    pub(super) fn failures_in_row(&self) -> u32 {
        self.failures_in_row.get()
    }

    /// A connection is being tried.
    pub(super) fn half_open(&self) {
        self.state.set(State::HalfOpen);
    }

    /// No calls from now on. Said once, however many attempts to connect fail after it.
    pub(super) fn open(&self, cause: &Cause) {
        self.state.set(State::Open);
        self.metrics.breaker_open.set(1);
        if self.is_announced.replace(true) {
            return;
        }
        self.opened_ms.set(clock::now_ms());
        self.at_opening.set(Passed::now(&self.outage));
        self.at_summary.set(self.at_opening.get());
        error!(core = core(), %cause, "Redis is out of reach");
    }

    /// Calls again.
    pub(super) fn close(&self) {
        self.state.set(State::Closed);
        self.failures_in_row.set(0);
        self.metrics.breaker_open.set(0);
        if !self.is_announced.replace(false) {
            info!(core = core(), "Redis answers");
            return;
        }
        let Passed { unlimited, refused_locally } = Passed::now(&self.outage).since(self.at_opening.get());
        let open_ms = clock::now_ms() - self.opened_ms.get();
        info!(core = core(), open_ms, unlimited, refused_locally, "Redis answers again");
    }

    /// What has happened since the last summary.
    pub(super) fn summarize(&self) {
        let now = Passed::now(&self.outage);
        let Passed { unlimited, refused_locally } = now.since(self.at_summary.replace(now));
        let open_ms = clock::now_ms() - self.opened_ms.get();
        warn!(core = core(), open_ms, unlimited, refused_locally, "Redis is still out of reach");
    }
}

/// Which core speaks: its thread's name.
fn core() -> String {
    std::thread::current().name().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_are_too_many() {
        let breaker = Breaker::new(Arc::default(), Arc::default());
        for _ in 0..10 {
            assert!(!breaker.failed() && !breaker.failed());
            breaker.succeeded();
        }
        assert!(!breaker.failed() && !breaker.failed() && breaker.failed());
    }

    #[test]
    fn opens_half_opens_and_closes_and_shows_it_in_the_gauge() {
        let metrics = Arc::<RedisMetrics>::default();
        let breaker = Breaker::new(metrics.clone(), Arc::default());
        assert_eq!(breaker.state(), State::Open);
        breaker.half_open();
        assert!(!breaker.is_closed());
        breaker.close();
        assert!(breaker.is_closed());
        breaker.open(&Cause::Closed);
        assert_eq!((breaker.state(), metrics.breaker_open.get()), (State::Open, 1));
        breaker.close();
        assert_eq!(metrics.breaker_open.get(), 0);
    }
}
