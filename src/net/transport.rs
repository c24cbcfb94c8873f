//! A connection to a peer, as the protocols use it: readiness, non-blocking receive and send, and its end.
//!
//! It is a plain socket, or a TLS session on one. Operations that only a socket has (splice, peek) are a capability: a
//! caller gets it from [`Transport::raw`], and goes without where that is `None`.
//!
//! Bytes that TLS has sealed count as sent, and may still lie here. So who ends a message makes sure by
//! [`Transport::try_flush`] that they have left; on a plain socket they always have.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use crate::limits::TLS_READ_BYTES_MAX;
use crate::net::socket::{Liveness, RecvError, SendError, StreamSocket};
use crate::net::tls::{Detached, TlsStream};
use crate::net::{Buffer, BufferPool, Timers};

/// A connection to a peer.
pub enum Transport {
    /// Unencrypted bytes over TCP or a Unix socket.
    Plain(StreamSocket),
    /// TLS. Boxed, because a plain connection should not be larger for it.
    Tls(Box<TlsStream>),
}

/// A connection that goes on elsewhere: perhaps on another core.
pub struct DetachedTransport {
    socket: OwnedFd,
    tls: Option<Box<Detached>>,
}

/// Whether all bytes that count as sent have left for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// All of them.
    Done,
    /// Some wait for room.
    Waiting,
}

impl Transport {
    /// The socket itself, if the bytes that it sends and receives are those of the protocol.
    pub fn raw(&self) -> Option<&StreamSocket> {
        match self {
            Transport::Plain(socket) => Some(socket),
            Transport::Tls(_) => None,
        }
    }

    /// The TLS session, if it has one.
    pub fn tls(&self) -> Option<&TlsStream> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(tls) => Some(tls),
        }
    }

    /// The socket whose readiness says when to try again.
    fn socket(&self) -> &StreamSocket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.socket(),
        }
    }

    /// Waits until there are bytes, the end or an error to read. None of these waits is an `async fn`, which would keep
    /// each argument twice.
    #[allow(clippy::manual_async_fn)]
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        async move {
            if self.is_readable_now().await {
                return Ok(());
            }
            self.socket().readable().await?;
            self.begin_turn();
            Ok(())
        }
    }

    /// Whether there is something to read that the socket does not know of.
    #[allow(clippy::manual_async_fn)]
    fn is_readable_now(&self) -> impl Future<Output = bool> {
        async move {
            match self {
                Transport::Plain(_) => false,
                Transport::Tls(tls) => tls.is_readable().await,
            }
        }
    }

    /// Every other task has had a turn.
    fn begin_turn(&self) {
        if let Transport::Tls(tls) = self {
            tls.begin_turn();
        }
    }

    /// Acknowledges what has come of a message that is not complete; see [`StreamSocket::acknowledge`].
    pub fn acknowledge(&self) {
        self.socket().acknowledge();
    }

    /// Waits until a send would move at least one byte, or fail.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.socket().writable()
    }

    /// Waits until a read is worthwhile; see [`StreamSocket::arrival`].
    ///
    /// # Errors
    /// The peer is gone, or the coarse clock shows `deadline_ms`.
    #[allow(clippy::manual_async_fn)]
    pub fn arrival(&self, timers: &Timers, deadline_ms: u64) -> impl Future<Output = Result<(), RecvError>> {
        async move {
            if self.is_readable_now().await {
                return Ok(());
            }
            let may_read_on = self.socket().may_read_on();
            self.socket().arrival(timers, deadline_ms).await?;
            if !may_read_on {
                self.begin_turn();
            }
            Ok(())
        }
    }

    /// Like [`Transport::arrival`], without a deadline.
    ///
    /// # Errors
    /// The error of the poll.
    #[allow(clippy::manual_async_fn)]
    pub fn arrival_without_deadline(&self, timers: &Timers) -> impl Future<Output = io::Result<()>> {
        async move {
            if self.is_readable_now().await {
                return Ok(());
            }
            let socket = self.socket();
            if socket.may_read_on() {
                return Ok(());
            }
            timers.leave_a_turn().await;
            let mut readable = pin!(socket.readable());
            poll_fn(|context| {
                let polled = readable.as_mut().poll(context);
                if polled.is_pending() {
                    timers.has_waited();
                }
                polled
            })
            .await?;
            socket.begin_reads();
            self.begin_turn();
            Ok(())
        }
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
        match self {
            Transport::Plain(socket) => socket.may_read_on(),
            Transport::Tls(tls) => tls.may_read_on(),
        }
    }

    /// To be called before a wait that is not one for this peer: what has come of it has memory of just its size.
    pub fn park(&self) {
        if let Transport::Tls(tls) = self {
            tls.park();
        }
    }

    /// What is worth reading at a time of what goes on over this connection, in bytes.
    pub fn takes_at_once(&self) -> usize {
        match self {
            Transport::Plain(_) => usize::MAX,
            Transport::Tls(_) => TLS_READ_BYTES_MAX,
        }
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
        self.recv_up_to(usize::MAX, into, timers, deadline_ms).await
    }

    /// Like [`Transport::recv`], and takes at most so many bytes.
    ///
    /// # Errors
    /// The peer is gone, or nothing arrived in time.
    pub async fn recv_up_to(
        &self,
        bytes_max: usize,
        into: &mut Buffer,
        timers: &Timers,
        deadline_ms: u64,
    ) -> Result<usize, RecvError> {
        loop {
            if !self.may_read_on() {
                into.park();
            }
            self.arrival(timers, deadline_ms).await?;
            let room = into.room();
            let room_bytes = room.len().min(bytes_max);
            if let Some(n) = self.try_recv(&mut room[..room_bytes]).map_err(RecvError::Closed)? {
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
            Transport::Tls(tls) => tls.try_recv(into),
        }
    }

    /// Sends as many bytes as the kernel accepts now. `None`: it accepts none.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Transport::Plain(socket) => socket.try_send(bytes),
            Transport::Tls(tls) => tls.try_send_both(bytes, &[]),
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
                None => self.room(timers, deadline_ms).await?,
            }
        }
        self.flush(timers, deadline_ms).await
    }

    async fn room(&self, timers: &Timers, deadline_ms: u64) -> Result<(), SendError> {
        match timers.until(deadline_ms, pin!(self.writable())).await {
            Ok(polled) => polled.map_err(SendError::Closed),
            Err(_) => Err(SendError::TimedOut),
        }
    }

    /// Sends what counts as sent and has not left, until the coarse clock shows `deadline_ms`.
    ///
    /// # Errors
    /// The peer is gone, or does not read it in time.
    pub async fn flush(&self, timers: &Timers, deadline_ms: u64) -> Result<(), SendError> {
        while self.try_flush().map_err(SendError::Closed)? == Flush::Waiting {
            self.room(timers, deadline_ms).await?;
        }
        Ok(())
    }

    /// Sends what counts as sent and has not left, and never waits.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_flush(&self) -> io::Result<Flush> {
        match self {
            Transport::Tls(tls) if !tls.try_flush()? => Ok(Flush::Waiting),
            _ => Ok(Flush::Done),
        }
    }

    /// Whether bytes count as sent and have not left.
    pub fn has_unsent(&self) -> bool {
        self.tls().is_some_and(TlsStream::has_unsent)
    }

    /// Whether bytes have left since the last call that no send has told of.
    pub fn take_moved(&self) -> bool {
        self.tls().is_some_and(TlsStream::take_moved)
    }

    /// Sends two pieces as one, so that a head and the first bytes of a body leave in one segment.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn try_send_both(&self, first: &[u8], second: &[u8]) -> io::Result<Option<usize>> {
        match self {
            Transport::Plain(socket) => socket.try_send_both(first, second),
            Transport::Tls(tls) => tls.try_send_both(first, second),
        }
    }

    /// Whether the connection is open and bytes have arrived, without reading them.
    pub fn liveness(&self) -> Liveness {
        match self {
            Transport::Plain(socket) => socket.peek(),
            Transport::Tls(tls) => tls.liveness(),
        }
    }

    /// Whether bytes have come that nothing can be made of yet: a part of a record.
    pub fn has_part(&self) -> bool {
        self.tls().is_some_and(|tls| tls.held() > 0)
    }

    /// Bytes sent that the peer's kernel has not acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        match self {
            Transport::Plain(socket) => socket.unacknowledged(),
            Transport::Tls(tls) => tls.unacknowledged(),
        }
    }

    /// Bounds what the kernel receives for this connection while it is not read.
    pub fn bound_receiving(&self, bytes: usize) {
        self.socket().bound_receiving(bytes);
    }

    /// Makes the kernel detect a peer that has vanished; see [`StreamSocket::watch_peer`].
    pub fn watch_peer(&self, patience: Duration) {
        self.socket().watch_peer(patience);
    }

    /// Makes the kernel detect a peer that has vanished while nothing is sent; see [`StreamSocket::probe_peer`].
    pub fn probe_peer(&self, patience: Duration) {
        self.socket().probe_peer(patience);
    }

    /// Lets the peer not read for as long as it answers; see [`StreamSocket::wait_for_window`].
    pub fn wait_for_window(&self) {
        self.socket().wait_for_window();
    }

    /// Makes the close a reset, so that a message that was cut short does not look complete.
    pub fn reset_on_close(&self) {
        self.cut();
        self.socket().reset_on_close();
    }

    /// Makes the end look like that of a message that was cut short, where the transport has a way to say that it was
    /// not.
    pub fn cut(&self) {
        if let Transport::Tls(tls) = self {
            tls.cut();
        }
    }

    /// Half-closes the connection: it sends nothing more, and reading goes on.
    pub fn shutdown_write(&self) {
        match self {
            Transport::Plain(socket) => socket.shutdown_write(),
            Transport::Tls(tls) => tls.shutdown_write(),
        }
    }

    /// A second descriptor of the socket, on which the connection can go on after this transport is dropped.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket().duplicate()
    }

    /// Takes the connection away from its core. `socket`: a second descriptor of its socket. What is left here is of no
    /// further use.
    pub fn detach(&mut self, socket: OwnedFd) -> DetachedTransport {
        let tls = match self {
            Transport::Plain(_) => None,
            Transport::Tls(tls) => Some(Box::new(tls.detach())),
        };
        DetachedTransport { socket, tls }
    }

    /// Goes on with a connection on this core.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn attach(detached: DetachedTransport, pool: &Rc<BufferPool>) -> io::Result<Transport> {
        Ok(match detached.tls {
            None => Transport::Plain(StreamSocket::new(detached.socket)?),
            Some(tls) => Transport::Tls(Box::new(TlsStream::attach(*tls, detached.socket, pool)?)),
        })
    }
}

/// A plain socket.
impl From<OwnedFd> for DetachedTransport {
    fn from(socket: OwnedFd) -> DetachedTransport {
        DetachedTransport { socket, tls: None }
    }
}
