//! The one wait of a connection: for its client, for its streams, and for the end of somebody's patience.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use super::connection::{H2Connection, Ready};
use crate::clock;
use crate::downstream::clients::Waits;
use crate::downstream::settings::Settings;
use crate::message::h2::Pulse;
use crate::net::{Io, NEVER};

impl H2Connection {
    /// Waits, and sends what the streams have put meanwhile: once for all of them.
    pub(super) async fn ready(&mut self, io: &Io, settings: &Settings) -> Ready {
        self.buffer.park();
        self.protocol.block.park();
        let link = self.protocol.link.clone();
        // One poll for all that happens until it is over: to give one up costs a call of its own.
        let mut readable = pin!(link.transport.readable());
        loop {
            let ready = self.turn(io, settings, readable.as_mut()).await;
            if ready != Ready::Turned {
                return ready;
            }
        }
    }

    /// One turn of the wait.
    async fn turn<F>(&mut self, io: &Io, settings: &Settings, mut readable: Pin<&mut F>) -> Ready
    where
        F: Future<Output = io::Result<()>>,
    {
        let (link, now_ms) = (&self.protocol.link, clock::now_ms());
        let (is_idle, reads, is_blocked) = (link.streams() == 0, link.may_read(), self.is_blocked);
        let taken_by_ms = if is_blocked { self.pace.deadline(now_ms) } else { NEVER };
        let deadline = self.deadline(settings, is_idle).min(taken_by_ms);
        let acknowledged = if is_blocked { link.acknowledged() } else { 0 };
        let held = self.buffer.len() + self.protocol.block.len();
        self.presence.holds(held, now_ms);
        let ready = {
            let mut writable = pin!(link.transport.writable());
            let ready = pin!(poll_fn(|context| {
                match link.send(context) {
                    Err(_) => return Poll::Ready(Ready::Gone),
                    Ok(pulse) if (pulse == Pulse::Blocked) != is_blocked => {
                        return Poll::Ready(Ready::Turned);
                    }
                    Ok(_) => {}
                }
                if link.is_over() {
                    return Poll::Ready(Ready::Gone);
                }
                if link.may_read() != reads {
                    return Poll::Ready(Ready::Changed);
                }
                if (link.streams() == 0) != is_idle {
                    return Poll::Ready(Ready::Turned);
                }
                if reads && readable.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ready::Read);
                }
                if is_blocked && writable.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Ready::Turned);
                }
                Poll::Pending
            }));
            let waits = match (is_idle, self.part_since_ms) {
                (false, _) => Waits::No,
                (true, Some(_)) => Waits::Head,
                (true, None) => Waits::Request,
            };
            let ready = pin!(self.presence.unless_told_to_leave(waits, ready));
            match io.until_drain(deadline, ready).await {
                Ok(Some(Some(ready))) => ready,
                Ok(None) => Ready::Changed,
                Ok(Some(None)) => Ready::TimedOut,
                Err(_) => Ready::TimedOut,
            }
        };
        let pulse = poll_fn(|context| Poll::Ready(link.send(context))).await;
        let Ok(pulse) = pulse else { return Ready::Gone };
        self.is_blocked = pulse == Pulse::Blocked;
        if is_blocked {
            let moved = link.acknowledged().saturating_sub(acknowledged);
            self.pace.waited_since(now_ms);
            self.pace.moved(moved as usize);
            if ready == Ready::TimedOut && self.is_blocked && clock::now_ms() >= taken_by_ms {
                return if moved > 0 { Ready::Turned } else { Ready::Gone };
            }
        }
        if !self.is_blocked {
            self.pace = settings.pace();
        }
        if is_idle != (self.protocol.link.streams() == 0) {
            self.since_ms = clock::now_ms();
        }
        ready
    }

    /// When the wait is over, whatever happens.
    fn deadline(&self, settings: &Settings, is_idle: bool) -> u64 {
        let idle = match (is_idle, self.is_used) {
            (false, _) => NEVER,
            (true, true) => self.since_ms + settings.keep_alive_ms,
            (true, false) => self.since_ms + settings.request_head_ms,
        };
        let part = match (self.part_since_ms, self.has_part_of_head()) {
            (None, _) => NEVER,
            (Some(since_ms), true) => since_ms + settings.request_head_ms,
            (Some(since_ms), false) => since_ms + settings.body_ms,
        };
        idle.min(part).min(self.closes_at_ms())
    }
}
