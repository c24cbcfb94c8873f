//! The client's side of a connection: the next head, the rest of an unwanted body, the end.

use std::net::SocketAddr;
use std::pin::pin;

use crate::clock;
use crate::gateway::answer::failure::Failure;
use crate::gateway::core::Core;
use crate::gateway::core::heads::LentHeads;
use crate::http1::HeadScan;
use crate::limits::{DRAIN_FIRST_REQUEST_MS, LINGER_BYTES_MAX, LINGER_MS, REQUESTS_PER_TURN};
use crate::net::RecvError;
use crate::net::{Buffer, Transport};

/// A client's connection.
pub struct Downstream {
    /// The socket.
    pub stream: Transport,
    /// The other end of it.
    pub peer: SocketAddr,
    /// What has arrived and has not been used: the rest of a body, the next request.
    pub buffer: Buffer,
    /// A request was served on it before.
    served: bool,
    /// Requests since the last turn for everyone else that were here before they were waited for.
    pipelined: u32,
}

/// What came instead of silence.
pub enum Received {
    /// A valid head; body bytes may be in the buffer.
    Head(LentHeads),
    /// Something that is not a valid head.
    Refused(LentHeads, Failure),
    /// Nobody is there any more, or nothing came in time, or the core drains.
    Nothing,
}

impl Downstream {
    /// A connection just accepted.
    pub fn new(core: &Core, stream: Transport, peer: SocketAddr) -> Downstream {
        Downstream { stream, peer, buffer: core.resources.io.buffers.buffer(), served: false, pipelined: 0 }
    }

    /// Waits for the rest of a head, of which something is in the buffer.
    pub async fn head(&mut self, core: &Core) -> Received {
        self.served = true;
        let deadline = clock::now_ms() + core.snapshot.timeouts.request_head;
        let mut scan = HeadScan::default();
        let failure = loop {
            match scan.advance(self.buffer.filled(), &core.snapshot.head_limits) {
                Ok(Some(length)) => return self.parse(core, length),
                Ok(None) => {}
                Err(error) => break Failure::Request(error),
            }
            match self.stream.recv(&mut self.buffer, &core.resources.io.timers, deadline).await {
                Ok(0) | Err(RecvError::Closed(_)) => return Received::Nothing,
                Ok(_) => {}
                Err(RecvError::TimedOut) => break Failure::HeadTimeout,
            }
        };
        let mut heads = core.resources.heads.take();
        heads.request.clear_but_method(self.buffer.filled());
        Received::Refused(heads, failure)
    }

    fn parse(&mut self, core: &Core, length: usize) -> Received {
        let mut heads = core.resources.heads.take();
        let parsed = heads.request.parse(&self.buffer.filled()[..length], &core.snapshot.head_limits);
        let received = match parsed {
            Ok(()) => Received::Head(heads),
            Err(error) => {
                heads.request.clear_but_method(self.buffer.filled());
                Received::Refused(heads, Failure::Request(error))
            }
        };
        self.buffer.consume(length);
        self.buffer.release_if_empty();
        received
    }

    /// Waits for the first bytes of the next head, without a buffer until they are there. False: they will not come.
    pub async fn first_bytes(&mut self, core: &Core) -> bool {
        let patience_ms =
            if self.served { core.snapshot.timeouts.keep_alive } else { core.snapshot.timeouts.request_head };
        let mut deadline = clock::now_ms() + patience_ms;
        if !self.buffer.is_empty() {
            self.pipelined = (self.pipelined + 1) % REQUESTS_PER_TURN;
            if self.pipelined != 0 {
                return true;
            }
            // Everyone else has a turn before the poll completes.
            let waited = core.resources.io.timers.until(deadline, pin!(self.stream.writable())).await;
            return matches!(waited, Ok(Ok(())));
        }
        loop {
            if core.resources.io.is_draining() {
                // Whoever has just connected may have its first request on the way.
                let first_ms = if self.served { 0 } else { DRAIN_FIRST_REQUEST_MS };
                deadline = deadline.min(clock::now_ms() + first_ms.max(core.resources.io.idle_grace_ms()));
            }
            let waited = core.resources.io.until_drain(deadline, pin!(self.stream.readable())).await;
            // Looked at in any case: what has arrived before the end of the wait is served.
            match self.stream.try_recv(self.buffer.room()) {
                Ok(Some(0)) | Err(_) => return false,
                Ok(Some(n)) => {
                    self.buffer.fill(n);
                    return true;
                }
                Ok(None) if matches!(waited, Err(_) | Ok(Some(Err(_)))) => return false,
                Ok(None) => self.buffer.release_if_empty(),
            }
        }
    }

    /// Says that we are done and reads on for a bounded time, so that the answer is not lost to a reset.
    pub async fn linger(&mut self, core: &Core) {
        self.stream.shutdown_write();
        let deadline = clock::now_ms() + LINGER_MS;
        let mut left = LINGER_BYTES_MAX;
        loop {
            self.buffer.clear();
            let Ok(n) = self.stream.recv(&mut self.buffer, &core.resources.io.timers, deadline).await else {
                return;
            };
            left = left.saturating_sub(n as u64);
            if n == 0 || left == 0 {
                return;
            }
        }
    }
}
