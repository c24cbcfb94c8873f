//! The life of a client's HTTP/2 connection: it reads frames, gives out requests, and sends what their streams have
//! put.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::protocol::{Bench, Protocol};
use super::request::H2Request;
use crate::clock;
use crate::downstream::clients::Presence;
use crate::downstream::h1::Connection;
use crate::downstream::settings::Settings;
use crate::http::HeadPool;
use crate::http2::ErrorCode;
use crate::http2::frame::{self, PREFACE};
use crate::limits::{LINGER_BYTES_MAX, LINGER_MS, REQUESTS_PER_TURN};
use crate::message::h2::{H2Metrics, Link, Pulse};
use crate::net::{Buffer, Io, NEVER, Pace};

/// A client's connection.
pub struct H2Connection {
    pub(super) protocol: Protocol,
    /// What has arrived and was not taken: a part of a frame.
    pub(super) buffer: Buffer,
    pub(super) presence: Presence,
    has_preface: bool,
    pub(super) is_used: bool,
    /// When it became idle.
    pub(super) since_ms: u64,
    /// When the frame began, or the head, of which a part is here.
    pub(super) part_since_ms: Option<u64>,
    /// Requests since every other task had its turn.
    requests: u8,
    /// The client takes nothing for now.
    pub(super) is_blocked: bool,
    /// The patience with a client that takes nothing.
    pub(super) pace: Pace,
    leave: Leave,
}

/// What the wait has ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// There is something to read.
    Read,
    /// Something has changed that the connection depends on.
    Changed,
    /// Something has changed that the wait depends on, and nothing else: it goes on.
    Turned,
    /// Nothing has come in time.
    TimedOut,
    /// The client is gone, or takes nothing.
    Gone,
}

/// How far the connection is on its way to its end (RFC 9113 §6.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// It goes on.
    No,
    /// The client knows that it ends, and may have begun streams before it learned of it: they are served until then.
    Announced(u64),
    /// What has begun is finished.
    Final,
}

impl H2Connection {
    /// Goes on with a connection on which the client speaks HTTP/2: nothing was taken of what has arrived.
    pub fn new(
        connection: Connection,
        io: &Io,
        settings: &Settings,
        (bench, metrics): (Rc<RefCell<Bench>>, Arc<H2Metrics>),
    ) -> H2Connection {
        let Connection { transport, peer, buffer, presence, .. } = connection;
        let now_ms = clock::now_ms();
        let link = Link::new(transport, peer, &io.buffers, settings.head_limits.head_bytes, now_ms, metrics);
        H2Connection {
            protocol: Protocol::new(Rc::new(link), presence.client(), bench, io.buffers.buffer()),
            buffer,
            presence,
            has_preface: false,
            is_used: false,
            since_ms: now_ms,
            part_since_ms: None,
            requests: 0,
            is_blocked: false,
            pace: settings.pace(),
            leave: Leave::No,
        }
    }

    /// The next request. `None`: the connection is over.
    pub async fn next(&mut self, io: &Io, settings: &Settings, heads: &Rc<HeadPool>) -> Option<H2Request> {
        loop {
            if self.requests >= REQUESTS_PER_TURN {
                io.turns.pass().await;
                self.requests = 0;
            }
            match self.take(settings, heads) {
                Ok(Some(request)) => return Some(request),
                Ok(None) => {}
                Err(code) => {
                    self.protocol.link.go_away(code);
                    self.close(io, code).await;
                    return None;
                }
            }
            if self.protocol.has_data {
                // Streams take what has come for them. What they leave is kept in memory of its size.
                io.turns.pass().await;
                self.requests = 0;
                self.protocol.has_data = false;
                self.protocol.link.park();
            }
            if self.leaves(io) {
                self.close(io, ErrorCode::NoError).await;
                return None;
            }
            let excess = io.buffers.excess();
            if excess > 0 {
                self.presence.relieve(excess, clock::now_ms());
            }
            let ready = self.ready(io, settings).await;
            self.requests = 0;
            match ready {
                Ready::Read if self.read() => {}
                Ready::Changed | Ready::Turned => {}
                Ready::Read | Ready::Gone => {
                    self.protocol.link.end();
                    return None;
                }
                Ready::TimedOut if clock::now_ms() >= self.closes_at_ms() => {}
                Ready::TimedOut => {
                    self.protocol.link.go_away(ErrorCode::NoError);
                    self.close(io, ErrorCode::NoError).await;
                    return None;
                }
            }
        }
    }

    /// Takes frames until one of them is a request.
    fn take(&mut self, settings: &Settings, heads: &Rc<HeadPool>) -> Result<Option<H2Request>, ErrorCode> {
        if !self.has_preface && !self.take_preface()? {
            return Ok(None);
        }
        let now_ms = clock::now_ms();
        while self.protocol.link.may_read() {
            let Some((frame, length)) = frame::next(self.buffer.filled())? else { break };
            let taken = self.protocol.take(frame, settings, heads, now_ms);
            self.buffer.consume(length);
            if self.protocol.unfinished.is_none() {
                self.part_since_ms = None;
            }
            if let Some(request) = taken? {
                self.presence.serves();
                (self.is_used, self.requests, self.since_ms) = (true, self.requests + 1, now_ms);
                return Ok(Some(request));
            }
        }
        let has_part = !self.buffer.is_empty() || self.protocol.unfinished.is_some();
        self.part_since_ms = has_part.then(|| self.part_since_ms.unwrap_or(now_ms));
        Ok(None)
    }

    fn take_preface(&mut self) -> Result<bool, ErrorCode> {
        let bytes = self.buffer.filled();
        if !bytes.iter().zip(PREFACE).all(|(got, want)| got == want) {
            return Err(ErrorCode::ProtocolError);
        }
        self.has_preface = bytes.len() >= PREFACE.len();
        if self.has_preface {
            self.buffer.consume(PREFACE.len());
        }
        Ok(self.has_preface)
    }

    /// Reads what has arrived. False: the client is gone.
    fn read(&mut self) -> bool {
        match self.protocol.link.transport.try_recv(self.buffer.room()) {
            Ok(Some(0)) | Err(_) => false,
            Ok(Some(bytes)) => {
                self.buffer.fill(bytes);
                true
            }
            Ok(None) => true,
        }
    }

    /// A head has begun to come and is not whole.
    pub(super) fn has_part_of_head(&self) -> bool {
        self.protocol.unfinished.is_some() || matches!(self.buffer.filled().get(3), None | Some(1 | 9))
    }

    /// Goes on with a drain, if there is one. True: nothing is left to serve. "A server that is attempting to
    /// gracefully shut down a connection SHOULD send an initial GOAWAY frame with the last stream identifier set to
    /// 2^31-1".
    fn leaves(&mut self, io: &Io) -> bool {
        let (now_ms, link) = (clock::now_ms(), &self.protocol.link);
        match self.leave {
            Leave::No if io.is_draining() => {
                link.control(&frame::go_away(STREAM_LAST, ErrorCode::NoError));
                self.leave = Leave::Announced(now_ms + io.idle_grace_ms());
            }
            Leave::Announced(at_ms) if now_ms >= at_ms => {
                link.go_away(ErrorCode::NoError);
                self.protocol.is_closing = true;
                self.leave = Leave::Final;
            }
            Leave::No | Leave::Announced(_) | Leave::Final => {}
        }
        self.leave == Leave::Final && link.streams() == 0
    }

    /// When the second GOAWAY is due.
    pub(super) fn closes_at_ms(&self) -> u64 {
        match self.leave {
            Leave::Announced(at_ms) => at_ms,
            Leave::No | Leave::Final => NEVER,
        }
    }

    /// Ends the connection: sends what is left, and reads on for a bounded time, so that a reset does not destroy it.
    async fn close(&mut self, io: &Io, code: ErrorCode) {
        let link = self.protocol.link.clone();
        link.count_close(code);
        link.end();
        let deadline = clock::now_ms() + LINGER_MS;
        loop {
            match poll_fn(|context| Poll::Ready(link.send(context))).await {
                Ok(Pulse::Quiet) => break,
                Ok(Pulse::Blocked) => {
                    let writable = io.timers.until(deadline, pin!(link.transport.writable())).await;
                    if !matches!(writable, Ok(Ok(()))) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
        link.transport.shutdown_write();
        let mut left = LINGER_BYTES_MAX;
        loop {
            self.buffer.clear();
            let received = link.transport.recv(&mut self.buffer, &io.timers, deadline).await;
            let Ok(bytes) = received else { return };
            left = left.saturating_sub(bytes as u64);
            if bytes == 0 || left == 0 {
                return;
            }
        }
    }
}

/// The last stream that there can be.
const STREAM_LAST: u32 = (1 << 31) - 1;
