//! The Redis connection of one core: every caller's script call on one pipelined connection, and never a
//! caller that waits for a Redis which does not answer.
//!
//! ```text
//! callers ─ call ─→ out: bytes ──one write per turn──→ Redis
//!    ↑               queue: who waits, in order          │
//!    └── woken ←── replies, matched in order ←─one read──┘
//! ```
//!
//! A call appends its command and wakes the connection's task, which runs after the tasks that are ready
//! already: what all of them have asked leaves in one write. A call costs no timer: one precise sleep per
//! connection stands at the earliest deadline.

pub mod breaker;
mod connection;
mod handshake;
mod metrics;
mod queue;
pub mod reply;
pub mod script;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

pub use breaker::State;
pub use metrics::{OutageMetrics, RedisMetrics};

use crate::clock;
use crate::limits::{FIRST_RESOLUTION_MS, REDIS_INTEGERS_MAX, TICK_MS};
use crate::net::{Endpoint, Io, RoundRobin, Timers, Transport};
use breaker::Breaker;
use connection::Connection;
use queue::{Ask, Outcome, Queue};
use script::Script;

/// How to speak with Redis.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Who we are; `None`: Redis's default user.
    pub username: Option<String>,
    /// The password, if one is needed.
    pub password: Option<Vec<u8>>,
    /// The number of the database.
    pub database: u32,
    /// The budget of one call, in milliseconds.
    pub timeout_ms: u64,
    /// The key of the call that a new connection is tried with: a bucket of nobody's.
    pub probe_keys: Vec<Vec<u8>>,
    /// The arguments of that call.
    pub probe_args: Vec<u64>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// There is no connection that works, it broke under the call, or Redis answered with an error.
    Open,
    /// No answer within the budget.
    TimedOut,
    /// Too many calls wait already.
    QueueFull,
}

/// One core's connection. It is used by that core alone.
pub struct Redis {
    settings: Settings,
    script: Script,
    io: Rc<Io>,
    metrics: Arc<RedisMetrics>,
    outage: Arc<OutageMetrics>,
    endpoints: RefCell<Arc<[Endpoint]>>,
    turns: RoundRobin,
    breaker: Breaker,
    generation: Cell<u64>,
    queue: RefCell<Queue>,
    /// Commands that have not left yet.
    out: RefCell<Vec<u8>>,
    /// The task that runs the connection.
    task: RefCell<Option<Waker>>,
    /// Whether the first attempt to connect is over, and who waits for that.
    is_tried: Cell<bool>,
    first: RefCell<Option<Waker>>,
    /// Another connection has taken its place.
    is_retired: Cell<bool>,
}

impl Redis {
    /// A connection that has not been opened: [`Redis::run`] does that. `script` answers with an array of
    /// integers, at most [`REDIS_INTEGERS_MAX`] of them.
    pub fn new(
        settings: Settings,
        script: &'static str,
        io: Rc<Io>,
        metrics: Arc<RedisMetrics>,
        outage: Arc<OutageMetrics>,
    ) -> Rc<Redis> {
        Rc::new(Redis {
            settings,
            script: Script::new(script),
            io,
            breaker: Breaker::new(metrics.clone(), outage.clone()),
            metrics,
            outage,
            endpoints: RefCell::new(Arc::new([])),
            turns: RoundRobin::default(),
            generation: Cell::new(0),
            queue: RefCell::new(Queue::new()),
            out: RefCell::default(),
            task: RefCell::default(),
            is_tried: Cell::new(false),
            first: RefCell::default(),
            is_retired: Cell::new(false),
        })
    }

    /// Takes over newly resolved addresses. A connection that works stays, wherever it leads.
    pub fn replace_endpoints(&self, endpoints: Arc<[Endpoint]>) {
        *self.endpoints.borrow_mut() = endpoints;
        self.wake_task();
    }

    /// What became of requests that Redis could not decide: for the limiter to count.
    pub fn outage(&self) -> &OutageMetrics {
        &self.outage
    }

    /// Changes with every new connection: behind it may be a Redis that has forgotten everything.
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Whether calls go out.
    pub fn state(&self) -> State {
        self.breaker.state()
    }

    /// Calls the script. The answer comes within the budget, or the reason why there is none.
    pub async fn call<const N: usize>(&self, keys: &[&[u8]], args: &[u64]) -> Result<[i64; N], Unavailable> {
        self.call_with(clock::now_us(), |put| put(keys, args)).await
    }

    /// The same with keys and arguments that are made when they are packed: so that nobody has to keep them
    /// while the answer is awaited. The budget begins at `asked_us`, which is now.
    pub async fn call_with<const N: usize>(
        &self,
        asked_us: u64,
        give: impl Give,
    ) -> Result<[i64; N], Unavailable> {
        const { assert!(N <= REDIS_INTEGERS_MAX) };
        let deadline_us = asked_us + self.settings.timeout_ms * 1_000;
        for is_second in [false, true] {
            let ask = Ask { integers: N, is_second, asked_us, deadline_us };
            match self.ask(ask, &give)?.outcome().await {
                Outcome::Answered(integers) => return Ok(std::array::from_fn(|nth| integers[nth])),
                Outcome::Unavailable(why) => return Err(why),
                // The script is being loaded: once more, behind that.
                Outcome::NoScript => {}
            }
        }
        Err(Unavailable::Open)
    }

    /// Its addresses now.
    pub fn endpoints(&self) -> Arc<[Endpoint]> {
        self.endpoints.borrow().clone()
    }

    /// Another connection has taken its place, and every call of before has had its time: it ends.
    pub fn retire(&self) {
        self.is_retired.set(true);
        self.wake_task();
    }

    /// Connects, serves calls, and connects again, for as long as the runtime runs, or until it is retired.
    pub async fn run(self: Rc<Self>) {
        let mut connected = pin!(self.stay_connected());
        poll_fn(|context| {
            if self.is_retired.get() {
                return Poll::Ready(());
            }
            self.remember_task(context.waker());
            connected.as_mut().poll(context)
        })
        .await;
        self.queue.borrow_mut().release_all();
    }

    async fn stay_connected(&self) {
        let redis = self;
        redis.addressed().await;
        let mut backoff = Backoff::default();
        loop {
            let stream = redis.connect(&mut backoff).await;
            redis.breaker.close();
            redis.generation.set(redis.generation.get() + 1);
            redis.first_attempt_is_over();
            let since_ms = clock::now_ms();
            let cause = Connection::new(redis, &stream).serve().await;
            redis.breaker.open(&cause);
            redis.queue.borrow_mut().release_all();
            redis.out.borrow_mut().clear();
            drop(stream);
            if clock::now_ms() - since_ms >= STEADY_MS {
                // It has worked, so it is tried again at once: a server may close what was idle for long.
                backoff = Backoff::default();
            } else {
                backoff.wait(&redis.io.timers).await;
            }
        }
    }

    /// Waits until Redis has been tried once, for good or bad, or the coarse clock shows `deadline_ms`: for a
    /// core that is about to take its first connection.
    pub async fn first_attempt(&self, deadline_ms: u64) {
        let tried = poll_fn(|context| {
            if self.is_tried.get() {
                return Poll::Ready(());
            }
            *self.first.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        });
        let _ = self.io.timers.until(deadline_ms, tried).await;
    }

    /// Queues one attempt at a call.
    fn ask(&self, ask: Ask, give: &impl Give) -> Result<Asked<'_>, Unavailable> {
        if !self.breaker.is_closed() || self.is_retired.get() {
            return Err(Unavailable::Open);
        }
        let mut queue = self.queue.borrow_mut();
        let earliest_us = queue.earliest_us();
        let Some(slot) = queue.push(ask) else {
            self.metrics.queue_full.add(1);
            return Err(Unavailable::QueueFull);
        };
        let mut out = self.out.borrow_mut();
        if out.is_empty() || ask.deadline_us < earliest_us {
            self.wake_task();
        }
        give(&mut |keys, args| self.script.pack_call(keys, args, &mut out));
        self.metrics.calls.add(1);
        Ok(Asked { redis: self, slot })
    }

    /// Waits for the first addresses, for as long as a start waits for names.
    async fn addressed(&self) {
        let known = poll_fn(|context| {
            self.remember_task(context.waker());
            if self.endpoints.borrow().is_empty() { Poll::Pending } else { Poll::Ready(()) }
        });
        let _ = self.io.timers.until(clock::now_ms() + FIRST_RESOLUTION_MS, known).await;
    }

    /// Tries until a connection works. Meanwhile it says now and then that there is none.
    async fn connect(&self, backoff: &mut Backoff) -> Transport {
        let mut connecting = pin!(async {
            loop {
                self.breaker.half_open();
                self.metrics.reconnects.add(1);
                match handshake::connect(self).await {
                    Ok(stream) => return stream,
                    Err(cause) => self.breaker.open(&cause),
                }
                self.first_attempt_is_over();
                backoff.wait(&self.io.timers).await;
            }
        });
        loop {
            match self.io.timers.until(clock::now_ms() + SUMMARY_MS, connecting.as_mut()).await {
                Ok(stream) => return stream,
                Err(_) => self.breaker.summarize(),
            }
        }
    }

    fn first_attempt_is_over(&self) {
        self.is_tried.set(true);
        if let Some(waker) = self.first.borrow_mut().take() {
            waker.wake();
        }
    }

    fn remember_task(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    fn wake_task(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

/// Takes the keys and arguments of one call, to pack them.
pub type Put<'p> = dyn FnMut(&[&[u8]], &[u64]) + 'p;

/// Gives the keys and arguments of a call to whoever packs them, exactly once each time it is asked.
pub trait Give: Fn(&mut Put<'_>) {}

impl<G: Fn(&mut Put<'_>)> Give for G {}

/// A call that is queued. Dropped, it gives its slot back, at the latest when its reply has come.
struct Asked<'r> {
    redis: &'r Redis,
    slot: u32,
}

impl Asked<'_> {
    async fn outcome(self) -> Outcome {
        poll_fn(|context| self.redis.queue.borrow_mut().poll(self.slot, context.waker())).await
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.redis.queue.borrow_mut().leave(self.slot);
    }
}

/// The pause before the next attempt to connect: it doubles, and no two cores keep step.
#[derive(Default)]
struct Backoff {
    attempts: u32,
}

impl Backoff {
    async fn wait(&mut self, timers: &Timers) {
        let longest_ms = (BACKOFF_MIN_MS << self.attempts.min(16)).min(BACKOFF_MAX_MS);
        self.attempts += 1;
        let mut random = [0; 8];
        // Without randomness cores keep step, and that is all.
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        let jitter_ms = u64::from_ne_bytes(random) % (longest_ms / 2 + 1);
        timers.sleep_until(clock::now_ms() + longest_ms - jitter_ms).await;
    }
}

/// The first pause before connecting again, in milliseconds.
const BACKOFF_MIN_MS: u64 = 50;
/// The longest pause before connecting again, in milliseconds.
const BACKOFF_MAX_MS: u64 = 2_000;
/// A connection that has worked for so long is opened again without a pause, in milliseconds.
const STEADY_MS: u64 = 10_000;
/// How often it is said that there is no connection, in milliseconds.
const SUMMARY_MS: u64 = 10_000;

const _: () = assert!(BACKOFF_MIN_MS >= TICK_MS && BACKOFF_MIN_MS < BACKOFF_MAX_MS);
