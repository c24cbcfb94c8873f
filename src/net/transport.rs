//! A connection as the protocols see it: readiness, non-blocking receive and send, and its end.
//!
//! Today every connection is a plain socket. What only a socket can do (splice, peek, duplicate, unacknowledged bytes)
//! is a capability: a caller asks for it with [`Transport::raw`] and does without where there is none.

use std::future::Future;
use std::io;
use std::time::Duration;

use crate::net::socket::{Liveness, RecvError, StreamSocket};
use crate::net::{Buffer, Timers};

/// A connection to a peer.
pub enum Transport {
    /// Bytes as they are, over TCP or a Unix socket.
    Plain(StreamSocket),
}

impl Transport {
    /// The socket itself, if what it sends and receives are the connection's own bytes.
    pub fn raw(&self) -> Option<&StreamSocket> {
        match self {
            Transport::Plain(socket) => Some(socket),
        }
    }

    /// The socket whose readiness tells when to try again.
    fn socket(&self) -> &StreamSocket {
        match self {
            Transport::Plain(socket) => socket,
        }
    }

    /// Waits until there is something to read: bytes, the end, or an error.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.socket().readable()
    }

    /// Waits until a send would move at least one byte, or fail.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.socket().writable()
    }

    /// Waits until a read is worthwhile, as [`StreamSocket::arrival`].
    ///
    /// # Errors
    /// The peer is gone, or the coarse clock shows `deadline_ms`.
    pub fn arrival(&self, timers: &Timers, deadline_ms: u64) -> impl Future<Output = Result<(), RecvError>> {
        self.socket().arrival(timers, deadline_ms)
    }

    /// The same without a deadline; false: `is_called` cut the wait short.
    ///
    /// # Errors
    /// As the poll.
    pub fn arrival_unless(
        &self,
        timers: &Timers,
        is_called: impl Fn() -> bool,
    ) -> impl Future<Output = io::Result<bool>> {
        self.socket().arrival_unless(timers, is_called)
    }

    /// Waits until a send would move bytes, as long as that takes.
    ///
    /// # Errors
    /// As the poll.
    pub fn room(&self, timers: &Timers) -> impl Future<Output = io::Result<()>> {
        self.socket().room(timers)
    }

    /// Another read may follow without giving every other task a turn first.
    pub fn may_read_on(&self) -> bool {
        self.socket().may_read_on()
    }

    /// Reads what arrives until the coarse clock shows `deadline_ms`. 0: the peer has sent its last byte. During the
    /// wait the buffer owns memory only if something is in it.
    ///
    /// # Errors
    /// The peer is gone, or nothing came in time.
    pub async fn recv(
        &self,
        into: &mut Buffer,
        timers: &Timers,
        deadline_ms: u64,
    ) -> Result<usize, RecvError> {
        loop {
            into.release_if_empty();
            self.arrival(timers, deadline_ms).await?;
            if let Some(n) = self.try_recv(into.room()).map_err(RecvError::Closed)? {
                into.fill(n);
                return Ok(n);
            }
        }
    }

    /// Reads what has arrived. `None`: nothing yet; `Some(0)`: the peer has sent its last byte.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_recv(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Transport::Plain(socket) => socket.try_recv(into),
        }
    }

    /// Sends what the kernel takes now. `None`: nothing.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Transport::Plain(socket) => socket.try_send(bytes),
        }
    }

    /// Sends two pieces as one: a head and the body bytes that are there leave in one segment.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_send_both(&self, first: &[u8], second: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Transport::Plain(socket) => socket.try_send_both(first, second),
        }
    }

    /// Whether the peer is still there and has said something, without reading it.
    pub fn liveness(&self) -> Liveness {
        match self {
            Transport::Plain(socket) => socket.peek(),
        }
    }

    /// Makes the kernel find out that the peer has vanished, as [`StreamSocket::watch_peer`].
    pub fn watch_peer(&self, patience: Duration) {
        self.socket().watch_peer(patience);
    }

    /// Makes the close a reset, for a message that must not look complete.
    pub fn reset_on_close(&self) {
        self.socket().reset_on_close();
    }

    /// Half-closes the connection: nothing more will be sent, reading goes on.
    pub fn shutdown_write(&self) {
        match self {
            Transport::Plain(socket) => socket.shutdown_write(),
        }
    }
}
