//! An HTTP/1 connection of a client: the wait for a request, its head, and the end of the connection.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use super::clients::{Presence, Waits};
use super::settings::Settings;
use crate::clock;
use crate::http::{HeadPool, LentHeads, ProtocolError};
use crate::http1::{HeadScan, RequestHead, refused};
use crate::limits::{
    DRAIN_FIRST_REQUEST_MS, LINGER_BYTES_MAX, LINGER_MS, REQUESTS_PER_TURN, TICK_MS, TURN_US_MAX,
};
use crate::net::{Buffer, Io, RecvError, Transport};

/// A client's connection.
pub struct Connection {
    pub(super) transport: Transport,
    pub(super) peer: SocketAddr,
    /// What has arrived and was not used: the rest of a body, the next request.
    pub(super) buffer: Buffer,
    /// The connection among the others of its client.
    pub(super) presence: Presence,
    phase: Phase,
    /// Requests since the last turn for every other task that were here before they were waited for.
    pipelined: u8,
    /// When the first of them came, on the precise clock; the low bits of it.
    pipelined_since_us: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request has come yet.
    Fresh,
    /// A request was read before.
    Used,
}

/// What came on a connection.
pub enum Received {
    /// A valid head; body bytes may be in the buffer.
    Request(LentHeads, RequestHead),
    /// Not a valid head.
    Refused(LentHeads, HeadFailure),
    /// The client is gone.
    Nothing,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFailure {
    /// It breaks the protocol.
    Protocol(ProtocolError),
    /// It was not complete in time.
    TimedOut,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(io: &Io, transport: Transport, peer: SocketAddr, presence: Presence) -> Connection {
        let buffer = io.buffers.buffer();
        Connection {
            transport,
            peer,
            buffer,
            presence,
            phase: Phase::Fresh,
            pipelined: 0,
            pipelined_since_us: 0,
        }
    }

    /// Waits for the first bytes of the next head, without a buffer until they are there. False: they will not come.
    pub async fn first_bytes(&mut self, io: &Io, settings: &Settings) -> bool {
        // The handshake has waits of its own.
        if self.is_handshaking() {
            return true;
        }
        let patience_ms = match self.phase {
            Phase::Fresh => settings.request_head_ms,
            Phase::Used => settings.keep_alive_ms,
        };
        let mut deadline = clock::now_ms() + patience_ms;
        if !self.buffer.is_empty() {
            if self.may_go_on(io) {
                return true;
            }
            // Boxed, because it would be part of every idle connection, and is rare.
            return Box::pin(self.leave_a_turn(io, settings)).await;
        }
        loop {
            if io.is_draining() {
                deadline = deadline.min(clock::now_ms() + self.drain_grace_ms(io));
            }
            self.presence.holds_now(0);
            let readable = pin!(self.transport.readable());
            let readable = pin!(self.presence.unless_told_to_leave(Waits::Request, readable));
            let waited = io.until_drain(deadline, readable).await;
            // Looked at in any case: what has arrived before the end of the wait is served.
            match self.transport.try_recv(self.buffer.room()) {
                Ok(Some(0)) | Err(_) => return false,
                Ok(Some(n)) => {
                    self.buffer.fill(n);
                    self.pipelined = 0;
                    return true;
                }
                Ok(None) if matches!(waited, Err(_) | Ok(Some(None | Some(Err(_))))) => return false,
                Ok(None) => self.buffer.release_if_empty(),
            }
        }
    }

    /// Lets every other task have a turn, although the next request is here. It waits until the client has room for
    /// another answer: one that does not read makes the core hold no more, and like an idle connection it may be told
    /// to close. False: it has, or the client has read nothing for too long.
    async fn leave_a_turn(&mut self, io: &Io, settings: &Settings) -> bool {
        self.buffer.park();
        let now_ms = clock::now_ms();
        self.presence.holds(self.buffer.len(), now_ms);
        let mut deadline = now_ms + settings.body_ms;
        loop {
            if io.is_draining() {
                deadline = deadline.min(clock::now_ms() + self.drain_grace_ms(io));
            }
            let writable = pin!(self.transport.writable());
            let writable = pin!(self.presence.unless_told_to_leave(Waits::Request, writable));
            match io.until_drain(deadline, writable).await {
                Ok(Some(waited)) => return matches!(waited, Some(Ok(()))),
                // A drain has begun: from now on there is less time.
                Ok(None) => {}
                Err(_) => return false,
            }
        }
    }

    /// Whether one more request that is here already may be served before every other task has a turn: a few in a row,
    /// for a bounded time, and none while the core is late.
    fn may_go_on(&mut self, io: &Io) -> bool {
        if self.pipelined == 0 {
            self.pipelined_since_us = clock::now_us() as u32;
        }
        self.pipelined += 1;
        let may = self.pipelined < REQUESTS_PER_TURN
            && io.timers.late_by_ms(clock::now_ms()) < TICK_MS
            && (clock::now_us() as u32).wrapping_sub(self.pipelined_since_us) < TURN_US_MAX;
        if !may {
            self.pipelined = 0;
        }
        may
    }

    /// How long an idle connection may take for a request while the core drains. A client that has just connected may
    /// have its first request on the way.
    fn drain_grace_ms(&self, io: &Io) -> u64 {
        match self.phase {
            Phase::Fresh => io.idle_grace_ms().max(DRAIN_FIRST_REQUEST_MS),
            Phase::Used => io.idle_grace_ms(),
        }
    }

    /// Whether what has come may be the beginning of HTTP/2 in the clear.
    pub fn may_be_h2(&self, settings: &Settings) -> bool {
        settings.is_h2c
            && self.phase == Phase::Fresh
            && self.transport.raw().is_some()
            && self.buffer.filled().iter().zip(H2_BEGINS).all(|(got, want)| got == want)
    }

    /// Whether it is, when enough of it has come to tell; nothing of it is taken.
    pub async fn is_h2(&mut self, io: &Io, settings: &Settings) -> bool {
        let now_ms = clock::now_ms();
        let deadline = now_ms + settings.request_head_ms;
        self.presence.holds(self.buffer.len(), now_ms);
        while self.may_be_h2(settings) {
            if self.buffer.len() >= H2_BEGINS.len() {
                return true;
            }
            let more = pin!(self.transport.recv(&mut self.buffer, &io.timers, deadline));
            if !matches!(self.presence.unless_told_to_leave(Waits::Head, more).await, Some(Ok(1..))) {
                return false;
            }
        }
        false
    }

    /// Waits for the rest of a head, the beginning of which is in the buffer.
    pub async fn head(&mut self, io: &Io, settings: &Settings, heads: &Rc<HeadPool>) -> Received {
        self.phase = Phase::Used;
        let now_ms = clock::now_ms();
        let deadline = now_ms + settings.request_head_ms;
        self.presence.holds(self.buffer.len(), now_ms);
        let mut scan = HeadScan::default();
        let failure = loop {
            match scan.advance(self.buffer.filled(), &settings.head_limits) {
                Ok(Some(length)) => {
                    self.presence.serves();
                    return self.parse(settings, heads, length);
                }
                Ok(None) => self.presence.holds_now(self.buffer.len()),
                Err(error) => break HeadFailure::Protocol(error),
            }
            let excess = io.buffers.excess();
            if excess > 0 {
                self.presence.relieve(excess, clock::now_ms());
            }
            let more = pin!(self.transport.recv(&mut self.buffer, &io.timers, deadline));
            match self.presence.unless_told_to_leave(Waits::Head, more).await {
                Some(Ok(1..)) => {}
                Some(Ok(0) | Err(RecvError::Closed(_))) | None => return Received::Nothing,
                Some(Err(RecvError::TimedOut)) => break HeadFailure::TimedOut,
            }
        };
        // Over a bound: its `Origin` may be behind it, and be here already.
        if let HeadFailure::Protocol(error) = failure
            && matches!(error.status(), 414 | 431)
            && let Ok(Some(n)) = self.transport.try_recv(self.buffer.room())
        {
            self.buffer.fill(n);
        }
        self.refused(heads.take(), failure)
    }

    fn parse(&mut self, settings: &Settings, heads: &Rc<HeadPool>, length: usize) -> Received {
        let mut heads = heads.take();
        let bytes = &self.buffer.filled()[..length];
        let received = match RequestHead::parse(bytes, &settings.head_limits, &mut heads.request) {
            Ok(head) => Received::Request(heads, head),
            Err(error) => self.refused(heads, HeadFailure::Protocol(error)),
        };
        self.buffer.consume(length);
        self.buffer.release_if_empty();
        received
    }

    fn refused(&self, mut heads: LentHeads, failure: HeadFailure) -> Received {
        refused::remember(self.buffer.filled(), &mut heads.request);
        Received::Refused(heads, failure)
    }

    /// Half-closes and reads on for a bounded time, so that a reset does not destroy the last answer.
    pub async fn linger(&mut self, io: &Io) {
        self.transport.shutdown_write();
        let deadline = clock::now_ms() + LINGER_MS;
        let mut left = LINGER_BYTES_MAX;
        loop {
            self.buffer.clear();
            let Ok(n) = self.transport.recv(&mut self.buffer, &io.timers, deadline).await else { return };
            left = left.saturating_sub(n as u64);
            if n == 0 || left == 0 {
                return;
            }
        }
    }
}

/// What no request of HTTP/1 begins with that would be served: `*` is for OPTIONS.
const H2_BEGINS: &[u8] = b"PRI *";
