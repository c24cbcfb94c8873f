//! The pipeline of one core: commands on their way to Redis and calls that wait for its replies.
//!
//! Callers fill it and the connection's task empties it. It outlives each connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use super::bell::Bell;
use super::breaker::{Breaker, OutageCause};
use super::call::{Attempt, Call, CallOutcome, Unanswered, Unavailable};
use super::metrics::{OutageMetrics, RedisMetrics};
use super::queue::CallQueue;
use super::script::{CallWriter, Scripts};
use super::slots::Seat;
use crate::clock;
use crate::limits::REDIS_INTEGERS_MAX;

/// Calls on their way to Redis and back.
pub(super) struct Pipeline {
    pub(super) scripts: Scripts,
    pub(super) breaker: Breaker,
    pub(super) metrics: Arc<RedisMetrics>,
    pub(super) queue: RefCell<CallQueue>,
    /// Commands that have not been sent yet.
    pub(super) out: RefCell<Vec<u8>>,
    /// Bytes of commands that have been sent, over all connections.
    sent: Cell<u64>,
    /// Wakes the connection's task.
    task: RefCell<Option<Waker>>,
    is_retired: Cell<bool>,
    /// What Redis has said to the last call that it refused ([`Unavailable::Refused`]).
    pub(super) refusal: RefCell<Option<String>>,
    /// Its place in a cluster. `None`: it is in none.
    pub(super) seat: Option<Rc<Seat>>,
}

impl Pipeline {
    pub(super) fn new(
        scripts: Scripts,
        metrics: Arc<RedisMetrics>,
        outage: Arc<OutageMetrics>,
        (seat, bell): (Option<Rc<Seat>>, Bell),
    ) -> Pipeline {
        Pipeline {
            scripts,
            breaker: Breaker::new(metrics.clone(), outage, seat.clone(), bell),
            metrics,
            queue: RefCell::new(CallQueue::new()),
            out: RefCell::default(),
            sent: Cell::new(0),
            task: RefCell::default(),
            is_retired: Cell::new(false),
            refusal: RefCell::default(),
            seat,
        }
    }

    /// Calls the script at this place, and a second time if Redis does not know it.
    pub(super) async fn call<const N: usize>(
        &self,
        script: usize,
        (asked_us, deadline_us): (u64, u64),
        leave: Leave,
        write: impl Fn(CallWriter<'_>),
    ) -> Result<[i64; N], Unanswered> {
        const { assert!(N <= REDIS_INTEGERS_MAX) };
        for attempt in [Attempt::First, Attempt::Second] {
            let call = Call { script, integers: N, attempt, asked_us, deadline_us };
            match self.enqueue(call, leave, &write).map_err(Unanswered::Unavailable)?.outcome().await {
                CallOutcome::Answered(integers) => return Ok(std::array::from_fn(|nth| integers[nth])),
                CallOutcome::Unavailable(why) => return Err(Unanswered::Unavailable(why)),
                CallOutcome::Elsewhere(elsewhere) => return Err(Unanswered::Elsewhere(elsewhere)),
                // The command that loads the script is already in front of the second attempt.
                CallOutcome::NoScript => {}
            }
        }
        Err(Unanswered::Unavailable(Unavailable::Open))
    }

    /// Queues one attempt at a call.
    fn enqueue(
        &self,
        call: Call,
        leave: Leave,
        write: &impl Fn(CallWriter<'_>),
    ) -> Result<QueuedCall<'_>, Unavailable> {
        if !self.breaker.is_closed() || self.is_retired() {
            return Err(Unavailable::Open);
        }
        let mut queue = self.queue.borrow_mut();
        let earliest_us = queue.earliest_us();
        if leave == Leave::Asking {
            queue.push_asking();
        }
        let Some(slot) = queue.push(call) else {
            queue.pop_asking();
            self.metrics.queue_full.add(1);
            return Err(Unavailable::QueueFull);
        };
        let mut out = self.out.borrow_mut();
        if out.is_empty() || call.deadline_us < earliest_us {
            self.wake_task();
        }
        if leave == Leave::Asking {
            out.extend_from_slice(ASKING);
        }
        write(CallWriter::new(self.scripts.at(call.script), &mut out));
        queue.written(slot, self.sent.get() + out.len() as u64);
        self.metrics.calls.add(1);
        Ok(QueuedCall { pipeline: self, slot })
    }

    /// So many bytes of commands have left: Redis' time for them begins.
    pub(super) fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
        self.queue.borrow_mut().sent(self.sent.get(), clock::now_us());
    }

    /// The connection is gone: opens the breaker and ends every call.
    pub(super) fn disconnected(&self, cause: &OutageCause) {
        self.breaker.open(cause);
        self.end_all_calls();
        self.out.borrow_mut().clear();
    }

    /// Ends every call that waits.
    pub(super) fn end_all_calls(&self) {
        self.queue.borrow_mut().end_all();
    }

    /// Refuses every call from now on, and wakes the task so that it ends.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
        self.wake_task();
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.get()
    }

    /// Remembers the waker of the connection's task.
    pub(super) fn remember_task(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    pub(super) fn wake_task(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

/// What a node of a cluster may answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Its slots.
    Own,
    /// A slot that moves to it, and is not its own yet.
    Asking,
}

/// `ASKING`, which holds for the next command.
const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// A call in the queue. Dropping it frees its slot, at the latest when its reply has come.
struct QueuedCall<'p> {
    pipeline: &'p Pipeline,
    slot: u32,
}

impl QueuedCall<'_> {
    async fn outcome(self) -> CallOutcome {
        poll_fn(|context| self.pipeline.queue.borrow_mut().poll(self.slot, context.waker())).await
    }
}

impl Drop for QueuedCall<'_> {
    fn drop(&mut self) {
        self.pipeline.queue.borrow_mut().leave(self.slot);
    }
}
