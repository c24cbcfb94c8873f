//! The circuit breaker: while it is open, calls fail at once and no request waits for Redis. Each change is logged.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::bell::Bell;
use super::metrics::{OutageMetrics, RedisMetrics};
use super::reply::Malformed;
use super::slots::Seat;
use crate::clock;
use crate::limits::REDIS_FAILURES_MAX;
use crate::net::ConnectError;

/// The state of the circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls are sent to Redis.
    Closed,
    /// Calls fail at once.
    Open,
    /// Calls fail at once, and a new connection is being tried.
    HalfOpen,
}

/// Why the breaker opened.
#[derive(Debug)]
pub(super) enum OutageCause {
    /// No address accepts a connection.
    Connect(ConnectError),
    /// Redis has closed the connection.
    Closed,
    /// A read or write failed.
    Broken(io::Error),
    /// This many calls in a row had no answer in time.
    TimedOut(u32),
    /// A new connection had no answer in time.
    Silent,
    /// On a new connection the answer took this long, in milliseconds: more than the budget of a call.
    Slow(u64),
    /// The bytes that came are not an answer to the command.
    Garbage(Malformed),
    /// Redis answers with an error.
    Refused(String),
}

impl fmt::Display for OutageCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutageCause::Connect(error) => write!(f, "cannot connect: {error}"),
            OutageCause::Closed => f.write_str("Redis closed the connection"),
            OutageCause::Broken(error) => write!(f, "the connection broke: {error}"),
            OutageCause::TimedOut(calls) => write!(f, "{calls} calls in a row had no answer in time"),
            OutageCause::Silent => f.write_str("no answer on a new connection"),
            OutageCause::Slow(ms) => write!(f, "the probe's answer took {ms} ms"),
            OutageCause::Garbage(what) => write!(f, "{what}"),
            OutageCause::Refused(text) => write!(f, "Redis answers: {text}"),
        }
    }
}

/// The circuit breaker of one core.
pub(super) struct Breaker {
    state: Cell<BreakerState>,
    failures_in_row: Cell<u32>,
    is_announced: Cell<bool>,
    opened_ms: Cell<u64>,
    at_opening: Cell<Passed>,
    at_summary: Cell<Passed>,
    metrics: Arc<RedisMetrics>,
    outage: Arc<OutageMetrics>,
    /// The node's place in a cluster. `None`: it is in none.
    seat: Option<Rc<Seat>>,
    bell: Bell,
}

/// How the limiter decided requests without Redis.
#[derive(Debug, Clone, Copy, Default)]
struct Passed {
    unlimited: u64,
    refused_locally: u64,
}

impl Passed {
    fn now(outage: &OutageMetrics) -> Passed {
        let unlimited = outage.unlimited_timeout.get() + outage.unlimited_breaker.get();
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
    /// An open breaker, because there is no connection yet. Nothing is logged until the first attempt has failed.
    /// That is so of every node of a cluster now and then, and counts only then.
    pub(super) fn new(
        metrics: Arc<RedisMetrics>,
        outage: Arc<OutageMetrics>,
        seat: Option<Rc<Seat>>,
        bell: Bell,
    ) -> Breaker {
        if seat.is_none() {
            metrics.breaker_open.set(1);
        }
        Breaker {
            state: Cell::new(BreakerState::Open),
            failures_in_row: Cell::new(0),
            is_announced: Cell::new(false),
            opened_ms: Cell::new(clock::now_ms()),
            at_opening: Cell::default(),
            at_summary: Cell::default(),
            metrics,
            outage,
            seat,
            bell,
        }
    }

    fn count_open(&self, is_open: bool) {
        match &self.seat {
            Some(seat) => seat.set_open(is_open),
            None => self.metrics.breaker_open.set(u64::from(is_open)),
        }
    }

    /// Whether the log has said that it is open.
    pub(super) fn is_announced(&self) -> bool {
        self.is_announced.get()
    }

    pub(super) fn state(&self) -> BreakerState {
        self.state.get()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.get() == BreakerState::Closed
    }

    /// Counts a call that was answered in time.
    pub(super) fn count_success(&self) {
        self.failures_in_row.set(0);
    }

    /// Counts a call that failed. True: there are too many in a row.
    pub(super) fn count_failure(&self) -> bool {
        self.failures_in_row.set(self.failures_in_row.get().saturating_add(1));
        self.failures_in_row.get() >= REDIS_FAILURES_MAX
    }

    /// The number of failures since the last success.
    pub(super) fn failures_in_row(&self) -> u32 {
        self.failures_in_row.get()
    }

    /// A new connection is being tried.
    pub(super) fn half_open(&self) {
        self.state.set(BreakerState::HalfOpen);
    }

    /// Stops calls. It is logged once, however many attempts to connect fail afterwards.
    pub(super) fn open(&self, cause: &OutageCause) {
        self.state.set(BreakerState::Open);
        self.count_open(true);
        self.bell.ring();
        if self.is_announced.replace(true) {
            return;
        }
        self.opened_ms.set(clock::now_ms());
        self.at_opening.set(Passed::now(&self.outage));
        self.at_summary.set(self.at_opening.get());
        let (node, slots) = self.place();
        error!(core = core(), node, slots, %cause, "Redis is out of reach");
    }

    /// Allows calls again.
    pub(super) fn close(&self) {
        self.state.set(BreakerState::Closed);
        self.failures_in_row.set(0);
        self.count_open(false);
        let (node, slots) = self.place();
        if !self.is_announced.replace(false) {
            info!(core = core(), node, slots, "Redis answers");
            return;
        }
        let Passed { unlimited, refused_locally } = Passed::now(&self.outage).since(self.at_opening.get());
        let open_ms = clock::now_ms() - self.opened_ms.get();
        info!(core = core(), node, slots, open_ms, unlimited, refused_locally, "Redis answers again");
    }

    /// Logs what has happened since the last summary.
    pub(super) fn summarize(&self) {
        let now = Passed::now(&self.outage);
        let Passed { unlimited, refused_locally } = now.since(self.at_summary.replace(now));
        let open_ms = clock::now_ms() - self.opened_ms.get();
        let (node, slots) = self.place();
        warn!(core = core(), node, slots, open_ms, unlimited, refused_locally, "Redis is still out of reach");
    }

    /// Which node of a cluster it is, and which slots it has, for the log.
    fn place(&self) -> (Option<String>, Option<String>) {
        let seat = self.seat.as_ref();
        (seat.map(|seat| seat.name().to_string()), seat.map(|seat| seat.slots()))
    }
}

/// The core's name in the log: its thread's name.
fn core() -> String {
    std::thread::current().name().unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_are_too_many() {
        let breaker = Breaker::new(Arc::default(), Arc::default(), None, Bell::default());
        for _ in 0..10 {
            assert!(!breaker.count_failure() && !breaker.count_failure());
            breaker.count_success();
        }
        assert!(!breaker.count_failure() && !breaker.count_failure() && breaker.count_failure());
    }

    #[test]
    fn opens_half_opens_and_closes_and_shows_it_in_the_gauge() {
        let metrics = Arc::<RedisMetrics>::default();
        let breaker = Breaker::new(metrics.clone(), Arc::default(), None, Bell::default());
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.half_open();
        assert!(!breaker.is_closed());
        breaker.close();
        assert!(breaker.is_closed());
        breaker.open(&OutageCause::Closed);
        assert_eq!((breaker.state(), metrics.breaker_open.get()), (BreakerState::Open, 1));
        breaker.close();
        assert_eq!(metrics.breaker_open.get(), 0);
    }
}
