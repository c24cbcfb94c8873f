//! One connection at work: writing, reading and watching the deadlines, all in one task.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use monoio::time::Instant;
use redis::Value;

use crate::clock;
use crate::limits::{REDIS_INTEGERS_MAX, REDIS_OUT_KEPT_BYTES};
use crate::net::{Buffer, Transport};
use crate::redis::breaker::Cause;
use crate::redis::queue::{Expected, Outcome};
use crate::redis::reply::{self, Malformed, Reply};
use crate::redis::{Redis, Unavailable};

/// One connection that has been set up.
pub(super) struct Connection<'r> {
    redis: &'r Redis,
    stream: &'r Transport,
    /// The beginning of a reply whose end has not come yet.
    buffer: RefCell<Buffer>,
}

impl<'r> Connection<'r> {
    pub(super) fn new(redis: &'r Redis, stream: &'r Transport) -> Connection<'r> {
        Connection { redis, stream, buffer: RefCell::new(redis.io.buffers.buffer()) }
    }

    /// Serves calls until the connection is of no use any more; why it is not.
    pub(super) async fn serve(&self) -> Cause {
        let mut reading = pin!(self.read());
        let mut writing = pin!(self.write());
        let mut watching = pin!(self.watch());
        poll_fn(|context| {
            self.redis.remember_task(context.waker());
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

    /// Sends what has gathered, again and again.
    async fn write(&self) -> Cause {
        loop {
            // A call wakes this task; see `Redis::ask`.
            poll_fn(|_| if self.redis.out.borrow().is_empty() { Poll::Pending } else { Poll::Ready(()) })
                .await;
            match self.send() {
                Ok(true) => {}
                Ok(false) => {
                    if let Err(error) = self.stream.writable().await {
                        return Cause::Broken(error);
                    }
                }
                Err(error) => return Cause::Broken(error),
            }
        }
    }

    /// True: nothing is left.
    fn send(&self) -> std::io::Result<bool> {
        let mut out = self.redis.out.borrow_mut();
        let Some(sent) = self.stream.try_send(&out)? else { return Ok(false) };
        self.redis.metrics.round_trips.add(1);
        if sent < out.len() {
            // The socket's buffer is full: rare enough to move what is left.
            out.drain(..sent);
            return Ok(false);
        }
        out.clear();
        out.shrink_to(REDIS_OUT_KEPT_BYTES);
        Ok(true)
    }

    async fn read(&self) -> Cause {
        loop {
            if let Err(error) = self.stream.readable().await {
                return Cause::Broken(error);
            }
            if let Err(cause) = self.receive() {
                return cause;
            }
        }
    }

    /// Takes all that has arrived.
    fn receive(&self) -> Result<(), Cause> {
        let mut buffer = self.buffer.borrow_mut();
        loop {
            let room = buffer.room();
            let wanted = room.len();
            let received = match self.stream.try_recv(room).map_err(Cause::Broken)? {
                Some(0) => return Err(Cause::Closed),
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

    fn take_replies(&self, buffer: &mut Buffer) -> Result<(), Cause> {
        let now_us = clock::now_us();
        let mut integers = [0; REDIS_INTEGERS_MAX];
        while !buffer.is_empty() {
            let next = reply::next(buffer.filled(), &mut integers).map_err(Cause::Garbage)?;
            let Some((length, reply)) = next else { break };
            let expected = self.redis.queue.borrow_mut().next();
            match (expected, reply) {
                (None, _) => return Err(Cause::Garbage(Malformed("a reply that nobody asked for"))),
                (Some(Expected::Call(slot)), Reply::Integers(count)) => {
                    self.answer(slot, count, integers, now_us)?;
                }
                (Some(Expected::Call(slot)), Reply::Other(bytes)) => self.refuse(slot, bytes)?,
                (Some(Expected::Load), Reply::Other(bytes)) if bytes.starts_with(b"$") => {}
                (Some(Expected::Load), Reply::Other(bytes)) => return Err(refusal(bytes).into_cause()),
                (Some(Expected::Load), Reply::Integers(_)) => return Err(Cause::Garbage(STRANGE)),
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
    ) -> Result<(), Cause> {
        let mut queue = self.redis.queue.borrow_mut();
        let ask = queue.ask(slot);
        if count != ask.integers {
            queue.settle(slot, Outcome::Unavailable(Unavailable::Open));
            return Err(Cause::Garbage(STRANGE));
        }
        let is_wanted = queue.settle(slot, Outcome::Answered(integers));
        self.redis.metrics.latency.observe(now_us.saturating_sub(ask.asked_us));
        // A late reply is no success: a Redis that is always a little late must not keep every caller waiting.
        if is_wanted {
            self.redis.breaker.succeeded();
        }
        Ok(())
    }

    fn refuse(&self, slot: u32, bytes: &[u8]) -> Result<(), Cause> {
        let refusal = refusal(bytes);
        let mut queue = self.redis.queue.borrow_mut();
        let is_first = !queue.ask(slot).is_second;
        if matches!(refusal, Refusal::NoScript(_)) && is_first {
            if queue.push_load() {
                // Behind what is queued already; this turn's write takes it along.
                self.redis.script.pack_load(&mut self.redis.out.borrow_mut());
            }
            queue.settle(slot, Outcome::NoScript);
            return Ok(());
        }
        queue.settle(slot, Outcome::Unavailable(Unavailable::Open));
        let is_the_calls_own = matches!(refusal, Refusal::Call(_) | Refusal::NoScript(_));
        if is_the_calls_own && !self.redis.breaker.failed() {
            return Ok(());
        }
        Err(refusal.into_cause())
    }

    /// Tells callers whose time is over. The one precise sleep stands at the earliest deadline; while it
    /// runs, later deadlines cost nothing.
    async fn watch(&self) -> Cause {
        let mut sleep = pin!(monoio::time::sleep(Duration::ZERO));
        let mut armed_us = u64::MAX;
        poll_fn(|context| {
            loop {
                let earliest_us = self.redis.queue.borrow().earliest_us();
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
                if let Err(cause) = self.receive().and_then(|()| self.expire()) {
                    return Poll::Ready(cause);
                }
            }
        })
        .await
    }

    /// What has arrived has been read: whoever still waits, waits for Redis, not for this core.
    fn expire(&self) -> Result<(), Cause> {
        let expired = self.redis.queue.borrow_mut().expire(clock::now_us());
        self.redis.metrics.timeouts.add(u64::from(expired));
        let too_many = (0..expired).fold(false, |_, _| self.redis.breaker.failed());
        if too_many { Err(Cause::TimedOut(self.redis.breaker.failures_in_row())) } else { Ok(()) }
    }
}

/// What an error reply is about.
pub(super) enum Refusal {
    /// The script is not loaded.
    NoScript(String),
    /// This one call: a key of another type, a mistake in the script.
    Call(String),
    /// The whole server: READONLY, OOM, LOADING, NOAUTH, NOPERM, MISCONF, MOVED and so on.
    Server(String),
    /// It is no error, and no answer either.
    None,
}

impl Refusal {
    pub(super) fn into_cause(self) -> Cause {
        match self {
            Refusal::NoScript(text) | Refusal::Call(text) | Refusal::Server(text) => Cause::Refused(text),
            Refusal::None => Cause::Garbage(STRANGE),
        }
    }
}

/// Reads one whole reply as a refusal.
pub(super) fn refusal(bytes: &[u8]) -> Refusal {
    let Ok(Value::ServerError(error)) = redis::parse_redis_value(bytes) else { return Refusal::None };
    let text: String = format!("{} {}", error.code(), error.details().unwrap_or_default());
    let text: String = text.trim_end().escape_debug().take(ERROR_CHARS_MAX).collect();
    match error.code() {
        "NOSCRIPT" => Refusal::NoScript(text),
        "ERR" | "WRONGTYPE" => Refusal::Call(text),
        _ => Refusal::Server(text),
    }
}

pub(super) const STRANGE: Malformed = Malformed("an answer of another form than the script gives");
/// Characters of an error of Redis that go into the log.
const ERROR_CHARS_MAX: usize = 200;
