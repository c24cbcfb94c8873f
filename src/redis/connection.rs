//! One connection while it serves calls: writing, reading and deadlines, all in one task.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use monoio::time::Instant;

use super::breaker::OutageCause;
use super::call::{Attempt, Call, CallOutcome, Unavailable};
use super::error_reply::ErrorReply;
use super::pipeline::Pipeline;
use super::queue::Expected;
use super::reply::{self, Reply, UNASKED, UNEXPECTED_FORM};
use crate::clock;
use crate::limits::{REDIS_INTEGERS_MAX, REDIS_OUT_KEPT_BYTES};
use crate::net::{Buffer, Flush, Io, Transport};

/// A connection that is ready for calls.
pub(super) struct Connection<'p> {
    pipeline: &'p Pipeline,
    transport: &'p Transport,
    /// The beginning of a reply whose end has not arrived yet.
    buffer: RefCell<Buffer>,
    /// Since when the socket takes nothing, although there is something to send: Redis does not read.
    blocked_us: Cell<Option<u64>>,
}

impl<'p> Connection<'p> {
    pub(super) fn new(pipeline: &'p Pipeline, transport: &'p Transport, io: &Io) -> Connection<'p> {
        Connection {
            pipeline,
            transport,
            buffer: RefCell::new(io.buffers.buffer()),
            blocked_us: Cell::new(None),
        }
    }

    /// Serves calls until the connection fails, and returns the cause.
    pub(super) async fn serve(&self) -> OutageCause {
        let mut reading = pin!(self.read());
        let mut writing = pin!(self.write());
        let mut watching = pin!(self.watch());
        poll_fn(|context| {
            self.pipeline.remember_task(context.waker());
            if let Poll::Ready(cause) = reading.as_mut().poll(context) {
                return Poll::Ready(cause);
            }
            if let Poll::Ready(cause) = writing.as_mut().poll(context) {
                return Poll::Ready(cause);
            }
            watching.as_mut().poll(context)
        })
        .await
    }

    /// Sends commands as they come.
    async fn write(&self) -> OutageCause {
        loop {
            // A call wakes this task (`Pipeline::enqueue`).
            poll_fn(|_| if self.has_unsent() { Poll::Ready(()) } else { Poll::Pending }).await;
            match self.send() {
                Ok(true) => {}
                Ok(false) => {
                    if let Err(error) = self.transport.writable().await {
                        return OutageCause::Broken(error);
                    }
                }
                Err(cause) => return cause,
            }
        }
    }

    fn has_unsent(&self) -> bool {
        !self.pipeline.out.borrow().is_empty() || self.transport.has_unsent()
    }

    /// Whether what TLS has sealed has left. Until then it counts as sent: it is a moment.
    fn flush(&self) -> Result<bool, OutageCause> {
        if !self.transport.has_unsent() {
            return Ok(true);
        }
        let flushed = self.transport.try_flush().map_err(OutageCause::Broken)?;
        Ok(flushed != Flush::Waiting)
    }

    /// Sends what the socket takes. True: nothing is left to send.
    fn send(&self) -> Result<bool, OutageCause> {
        let mut out = self.pipeline.out.borrow_mut();
        if out.is_empty() {
            return self.flush();
        }
        let sent = self.transport.try_send(&out).map_err(OutageCause::Broken)?;
        let Some(sent) = sent else {
            if self.blocked_us.get().is_none() {
                self.blocked_us.set(Some(clock::now_us()));
            }
            return Ok(false);
        };
        self.blocked_us.set(None);
        self.pipeline.metrics.round_trips.add(1);
        self.pipeline.sent(sent);
        if sent < out.len() {
            // The socket's buffer is full. That is rare, so the rest may be moved to the front.
            out.drain(..sent);
            self.blocked_us.set(Some(clock::now_us()));
            return Ok(false);
        }
        out.clear();
        out.shrink_to(REDIS_OUT_KEPT_BYTES);
        self.flush()
    }

    async fn read(&self) -> OutageCause {
        loop {
            if let Err(error) = self.transport.readable().await {
                return OutageCause::Broken(error);
            }
            if let Err(cause) = self.receive() {
                return cause;
            }
        }
    }

    /// Reads and matches all replies that have arrived.
    fn receive(&self) -> Result<(), OutageCause> {
        let mut buffer = self.buffer.borrow_mut();
        loop {
            let room = buffer.room();
            let wanted = room.len();
            let received = match self.transport.try_recv(room).map_err(OutageCause::Broken)? {
                Some(0) => return Err(OutageCause::Closed),
                Some(received) => received,
                None => break,
            };
            buffer.fill(received);
            self.take_replies(&mut buffer)?;
            if received < wanted {
                break;
            }
        }
        buffer.release_if_empty();
        Ok(())
    }

    fn take_replies(&self, buffer: &mut Buffer) -> Result<(), OutageCause> {
        let now_us = clock::now_us();
        let mut integers = [0; REDIS_INTEGERS_MAX];
        while !buffer.is_empty() {
            let next = reply::next(buffer.filled(), &mut integers).map_err(OutageCause::Garbage)?;
            let Some((length, reply)) = next else { break };
            let expected = self.pipeline.queue.borrow_mut().next();
            match (expected, reply) {
                (None, _) => return Err(OutageCause::Garbage(UNASKED)),
                (Some(Expected::Call(slot)), Reply::Integers(count)) => {
                    self.answer(slot, count, integers, now_us)?;
                }
                (Some(Expected::Call(slot)), Reply::Other(bytes)) => self.refuse(slot, bytes)?,
                (Some(Expected::Load(_)), Reply::Other(bytes)) if bytes.starts_with(b"$") => {}
                (Some(Expected::Load(_)), Reply::Other(bytes)) => {
                    return Err(ErrorReply::parse(bytes).into_cause());
                }
                (Some(Expected::Asking), Reply::Other(b"+OK\r\n")) => {}
                (Some(Expected::Asking), Reply::Other(bytes)) => {
                    return Err(ErrorReply::parse(bytes).into_cause());
                }
                (Some(Expected::Load(_) | Expected::Asking), Reply::Integers(_)) => {
                    return Err(OutageCause::Garbage(UNEXPECTED_FORM));
                }
            }
            buffer.consume(length);
        }
        Ok(())
    }

    fn answer(
        &self,
        slot: u32,
        count: usize,
        integers: [i64; REDIS_INTEGERS_MAX],
        now_us: u64,
    ) -> Result<(), OutageCause> {
        let mut queue = self.pipeline.queue.borrow_mut();
        let call = queue.call(slot);
        if count != call.integers {
            queue.end(slot, CallOutcome::Unavailable(Unavailable::Open));
            return Err(OutageCause::Garbage(UNEXPECTED_FORM));
        }
        let (sent_us, in_time) = (queue.sent_us(slot), queue.replied(slot, now_us));
        queue.end(slot, CallOutcome::Answered(integers));
        self.pipeline.metrics.latency.observe(now_us.saturating_sub(sent_us));
        // A late reply does not count as a success: a Redis that is always a little late must not delay every caller.
        if in_time {
            self.pipeline.breaker.count_success();
        }
        Ok(())
    }

    fn refuse(&self, slot: u32, bytes: &[u8]) -> Result<(), OutageCause> {
        let error = ErrorReply::parse(bytes);
        let mut queue = self.pipeline.queue.borrow_mut();
        let Call { script, attempt, .. } = queue.call(slot);
        let is_first = attempt == Attempt::First;
        if matches!(error, ErrorReply::NoScript(_)) && is_first {
            if queue.push_load(script) {
                // It follows the commands that are queued already, and leaves in the same write.
                self.pipeline.scripts.at(script).pack_load(&mut self.pipeline.out.borrow_mut());
                // The task that writes may have looked already.
                self.pipeline.wake_task();
            }
            queue.end(slot, CallOutcome::NoScript);
            return Ok(());
        }
        if let (ErrorReply::Elsewhere(text), Some(seat)) = (&error, &self.pipeline.seat)
            && let Some(elsewhere) = seat.elsewhere(text)
        {
            queue.end(slot, CallOutcome::Elsewhere(elsewhere));
            // It answers: it is well.
            self.pipeline.breaker.count_success();
            return Ok(());
        }
        if script > 0
            && let Some(text) = error.about_the_call()
        {
            // The calls of the first script, which every request may need, do not suffer for it.
            *self.pipeline.refusal.borrow_mut() = Some(text.to_owned());
            queue.end(slot, CallOutcome::Unavailable(Unavailable::Refused));
            return Ok(());
        }
        queue.end(slot, CallOutcome::Unavailable(Unavailable::Open));
        let is_about_the_call = matches!(error, ErrorReply::Call(_) | ErrorReply::NoScript(_));
        if is_about_the_call && !self.pipeline.breaker.count_failure() {
            return Ok(());
        }
        Err(error.into_cause())
    }

    /// Ends calls that are due. There is one precise sleep, until the earliest deadline; later deadlines cost nothing
    /// while it runs.
    async fn watch(&self) -> OutageCause {
        let mut sleep = pin!(monoio::time::sleep(Duration::ZERO));
        let mut armed_us = u64::MAX;
        poll_fn(|context| {
            loop {
                let earliest_us = self.pipeline.queue.borrow().earliest_us();
                if earliest_us < armed_us {
                    armed_us = earliest_us;
                    let wait = Duration::from_micros(earliest_us.saturating_sub(clock::now_us()));
                    sleep.as_mut().reset(Instant::now() + wait);
                }
                if armed_us == u64::MAX {
                    return Poll::Pending;
                }
                ready!(sleep.as_mut().poll(context));
                armed_us = u64::MAX;
                if let Err(cause) = self.judge() {
                    return Poll::Ready(cause);
                }
            }
        })
        .await
    }

    /// Ends the calls that are due, after everything has left that the socket takes, and every reply has been read
    /// that is there. So what is counted against Redis is a command that it had for the whole budget, or did not
    /// take for so long, and never the time that this core was busy.
    fn judge(&self) -> Result<(), OutageCause> {
        self.send()?;
        // Before the look, so that a reply which comes while this thread does not run is not too late.
        let now_us = clock::now_us();
        self.receive()?;
        let due = self.pipeline.queue.borrow_mut().expire(now_us, self.blocked_us.get());
        self.pipeline.metrics.timeouts.add(u64::from(due.overdue));
        self.pipeline.metrics.unsent.add(u64::from(due.unsent));
        self.pipeline.metrics.queue_full.add(u64::from(due.crowded));
        let too_many = (0..due.overdue).fold(false, |_, _| self.pipeline.breaker.count_failure());
        if too_many { Err(OutageCause::TimedOut(self.pipeline.breaker.failures_in_row())) } else { Ok(()) }
    }
}
