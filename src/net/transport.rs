//! A connection to a peer, as the protocols use it: readiness, non-blocking receive and send, and its end.
//!
//! Today every connection is a plain socket. Operations that only a socket has (splice, peek, duplicate, unacknowledged
//! bytes) are a capability: a caller gets it from [`Transport::raw`], and goes without where that is `None`.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use crate::net::socket::{Liveness, RecvError, SendError, StreamSocket};
use crate::net::{Buffer, Timers};

/// A connection to a peer.
pub enum Transport {
    /// Unencrypted bytes over TCP or a Unix socket.
    Plain(StreamSocket),
}

impl Transport {
    /// The socket itself, if the bytes that it sends and receives are those of the protocol.
    pub fn raw(&self) -> Option<&StreamSocket> {
        match self {
            Transport::Plain(socket) => Some(socket),
        }
    }

    /// The socket whose readiness says when to try again.
    fn socket(&self) -> &StreamSocket {
        match self {
            Transport::Plain(socket) => socket,
        }
    }

    /// Waits until there are bytes, the end or an error to read.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.socket().readable()
    }

    /// Waits until a send would move at least one byte, or fail.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.socket().writable()
    }

    /// Waits until a read is worthwhile; see [`StreamSocket::arrival`].
    ///
    /// # Errors
    /// The peer is gone, or the coarse clock shows `deadline_ms`.
    pub fn arrival(&self, timers: &Timers, deadline_ms: u64) -> impl Future<Output = Result<(), RecvError>> {
        self.socket().arrival(timers, deadline_ms)
    }

    /// Like [`Transport::arrival`], without a deadline.
    ///
    /// # Errors
    /// The error of the poll.
    pub fn arrival_without_deadline(&self, timers: &Timers) -> impl Future<Output = io::Result<()>> {
        self.socket().arrival_without_deadline(timers)
    }

    /// Waits until a send would move bytes, without a deadline.
    ///
    /// # Errors
    /// The error of the poll.
    pub fn writable_without_deadline(&self, timers: &Timers) -> impl Future<Output = io::Result<()>> {
        self.socket().writable_without_deadline(timers)
    }

    /// Whether another read may follow before other tasks have a turn.
    pub fn may_read_on(&self) -> bool {
        self.socket().may_read_on()
    }

    /// Reads the next bytes, until the coarse clock shows `deadline_ms`. 0: the peer has sent its last byte. During the
    /// wait the buffer owns no more memory than it holds bytes.
    ///
    /// # Errors
    /// The peer is gone, or nothing arrived in time.
    pub async fn recv(
        &self,
        into: &mut Buffer,
        timers: &Timers,
        deadline_ms: u64,
    ) -> Result<usize, RecvError> {
        loop {
            if !self.may_read_on() {
                into.park();
            }
            self.arrival(timers, deadline_ms).await?;
            if let Some(n) = self.try_recv(into.room()).map_err(RecvError::Closed)? {
                into.fill(n);
                return Ok(n);
            }
        }
    }

    /// Reads the bytes that have arrived. `None`: there are none yet; `Some(0)`: the peer has sent its last byte.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_recv(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Transport::Plain(socket) => socket.try_recv(into),
        }
    }

    /// Sends as many bytes as the kernel accepts now. `None`: it accepts none.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Transport::Plain(socket) => socket.try_send(bytes),
        }
    }

    /// Sends all bytes, until the coarse clock shows `deadline_ms`.
    ///
    /// # Errors
    /// The peer is gone, or does not read them in time.
    pub async fn send_all(
        &self,
        mut bytes: &[u8],
        timers: &Timers,
        deadline_ms: u64,
    ) -> Result<(), SendError> {
        while !bytes.is_empty() {
            match self.try_send(bytes).map_err(SendError::Closed)? {
                Some(sent) => bytes = &bytes[sent..],
                None => match timers.until(deadline_ms, pin!(self.writable())).await {
                    Ok(polled) => polled.map_err(SendError::Closed)?,
                    Err(_) => return Err(SendError::TimedOut),
                },
            }
        }
        Ok(())
    }

    /// Sends two pieces as one, so that a head and the first bytes of a body leave in one segment.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_send_both(&self, first: &[u8], second: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Transport::Plain(socket) => socket.try_send_both(first, second),
        }
    }

    /// Whether the connection is open and bytes have arrived, without reading them.
    pub fn liveness(&self) -> Liveness {
        match self {
            Transport::Plain(socket) => socket.peek(),
        }
    }

    /// Bytes sent that the peer's kernel has not acknowledged. A transport that cannot say has none.
    pub fn unacknowledged(&self) -> u64 {
        self.raw().map_or(0, StreamSocket::unacknowledged)
    }

    /// Makes the kernel detect a peer that has vanished; see [`StreamSocket::watch_peer`].
    pub fn watch_peer(&self, patience: Duration) {
        self.socket().watch_peer(patience);
    }

    /// Makes the close a reset, so that a message that was cut short does not look complete.
    pub fn reset_on_close(&self) {
        self.socket().reset_on_close();
    }

    /// Half-closes the connection: it sends nothing more, and reading goes on.
    pub fn shutdown_write(&self) {
        match self {
            Transport::Plain(socket) => socket.shutdown_write(),
        }
    }
}
