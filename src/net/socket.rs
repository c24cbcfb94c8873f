//! A connected stream socket: it polls on the ring, moves bytes by direct calls that never block, and has the
//! operations that only a socket has (splice, peek, duplicate, unacknowledged bytes).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::time::Duration;

use monoio::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};
use rustix::pipe::SpliceFlags;

use crate::limits::READS_PER_TURN;
use crate::net::Timers;
use crate::sys::{fd_of, unacknowledged};

/// A connected stream socket. It may also be a Unix socket: nothing here is specific to TCP, and of the runtime's type
/// only the polls are used.
pub struct StreamSocket {
    inner: TcpStream,
    /// Reads that are left before the next poll. It becomes 0 when a read takes all that has arrived, because the next
    /// one would find nothing.
    reads_left: Cell<u32>,
}

/// Why nothing was read.
#[derive(Debug)]
pub enum RecvError {
    /// The peer is gone.
    Closed(io::Error),
    /// Nothing arrived in time.
    TimedOut,
}

/// Why bytes could not be sent.
#[derive(Debug)]
pub enum SendError {
    /// The peer is gone.
    Closed(io::Error),
    /// The peer does not read them.
    TimedOut,
}

/// The state of an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Open, and nothing has arrived.
    Quiet,
    /// Bytes are waiting to be read.
    Bytes,
    /// The peer has sent its last byte, and bytes before that are waiting to be read.
    Ended,
    /// The peer has sent its last byte, and everything was read. It may have closed the connection as well: both look
    /// the same.
    HalfClosed,
    /// It is over: the peer has reset it, or is known to have closed it.
    Closed,
}

impl StreamSocket {
    /// Takes a connected socket in non-blocking mode.
    ///
    /// # Errors
    /// The runtime cannot register the socket.
    pub fn new(socket: OwnedFd) -> io::Result<StreamSocket> {
        Ok(StreamSocket { inner: TcpStream::from_std(socket.into())?, reads_left: Cell::new(0) })
    }

    /// Whether a pending connect has succeeded, once the socket is writable (connect(2)).
    pub fn connected(&self) -> Result<(), Errno> {
        sockopt::socket_error(fd_of(&self.inner))?
    }

    /// Waits until there are bytes, the end or an error to read.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        // Not relaxed: on epoll, readiness that a direct call has used up must be checked again.
        self.inner.readable(false)
    }

    /// Waits until a write would move at least one byte, or fail.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.inner.writable(false)
    }

    /// Waits until a read is worthwhile. It also polls after many reads in a row that filled their buffers: a peer that
    /// always has bytes ready would otherwise starve the other tasks of the core. None of these waits is an `async fn`,
    /// which would keep each argument twice.
    #[allow(clippy::manual_async_fn)]
    pub fn arrival(&self, timers: &Timers, deadline_ms: u64) -> impl Future<Output = Result<(), RecvError>> {
        async move {
            if self.reads_left.get() > 0 {
                return Ok(());
            }
            match timers.until(deadline_ms, pin!(self.readable())).await {
                Ok(Ok(())) => self.begin_reads(),
                Ok(Err(error)) => return Err(RecvError::Closed(error)),
                Err(_) => return Err(RecvError::TimedOut),
            }
            Ok(())
        }
    }

    /// Whether another read may follow before other tasks have a turn.
    pub fn may_read_on(&self) -> bool {
        self.reads_left.get() > 0
    }

    /// The socket has become readable in a poll.
    pub(super) fn begin_reads(&self) {
        self.reads_left.set(READS_PER_TURN);
    }

    /// Waits until a write would move bytes, without a deadline.
    #[allow(clippy::manual_async_fn)]
    pub fn writable_without_deadline(&self, timers: &Timers) -> impl Future<Output = io::Result<()>> {
        async move {
            timers.leave_a_turn().await;
            let mut writable = pin!(self.writable());
            poll_fn(|context| {
                let polled = writable.as_mut().poll(context);
                if polled.is_pending() {
                    timers.has_waited();
                }
                polled
            })
            .await
        }
    }

    /// Reads the bytes that have arrived. `None`: there are none yet; `Some(0)`: the peer has sent its last byte.
    pub fn try_recv(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::net::recv(fd_of(&self.inner), &mut *into, RecvFlags::DONTWAIT) {
                Ok((_, n)) => {
                    let left = if n < into.len() { 0 } else { self.reads_left.get().saturating_sub(1) };
                    self.reads_left.set(left);
                    return Ok(Some(n));
                }
                Err(Errno::AGAIN) => {
                    self.reads_left.set(0);
                    return Ok(None);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends as many bytes as fit into the socket's buffer. `None`: none fit.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::net::send(fd_of(&self.inner), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(n) => return Ok(Some(n)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends two pieces as one, so that a head and the first bytes of a body leave in one segment.
    pub fn try_send_both(&self, first: &[u8], second: &[u8]) -> io::Result<Option<usize>> {
        let pieces = [IoSlice::new(first), IoSlice::new(second)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            let mut control = SendAncillaryBuffer::default();
            match rustix::net::sendmsg(fd_of(&self.inner), &pieces, &mut control, flags) {
                Ok(n) => return Ok(Some(n)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Moves at most `bytes_max` bytes that have arrived into a pipe, in the kernel (splice(2)). `None`: none have
    /// arrived, or the pipe is full. `Some(0)`: the peer has sent its last byte.
    pub fn try_splice_into(&self, pipe: impl AsFd, bytes_max: usize) -> io::Result<Option<usize>> {
        let spliced = splice(fd_of(&self.inner), pipe.as_fd(), bytes_max)?;
        let left = if spliced.is_none() { 0 } else { self.reads_left.get().saturating_sub(1) };
        self.reads_left.set(left);
        Ok(spliced)
    }

    /// Sends at most `bytes_max` bytes out of a pipe, in the kernel. `None`: none fit.
    pub fn try_splice_from(&self, pipe: impl AsFd, bytes_max: usize) -> io::Result<Option<usize>> {
        splice(pipe.as_fd(), fd_of(&self.inner), bytes_max)
    }

    /// The number of bytes sent that the peer's kernel has not acknowledged (tcp(7), `SIOCOUTQ`). 0 if the kernel does
    /// not say.
    pub fn unacknowledged(&self) -> u64 {
        u64::from(unacknowledged(fd_of(&self.inner)).unwrap_or(0))
    }

    /// A second descriptor of the same socket, in the same mode. It keeps the connection open after this one is
    /// dropped, perhaps on another core.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(fd_of(&self.inner), 0)?)
    }

    /// Makes the kernel detect a peer that has vanished, after at most `patience` with unacknowledged bytes or a closed
    /// window (tcp(7), `TCP_USER_TIMEOUT`).
    pub fn watch_peer(&self, patience: Duration) {
        self.probe_peer(patience);
        let patience_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        let _ = sockopt::set_tcp_user_timeout(fd_of(&self.inner), patience_ms);
    }

    /// Makes the kernel detect a peer that has vanished while nothing is sent, after some `patience`: it is probed
    /// (tcp(7), `SO_KEEPALIVE`).
    pub fn probe_peer(&self, patience: Duration) {
        let fd = fd_of(&self.inner);
        // The kernel accepts at most 32,767 s here (tcp(7)).
        let probe = (patience / 4).clamp(Duration::from_secs(1), Duration::from_secs(32_767));
        // A Unix socket has none of these options and needs none: its peer is a process on this host.
        let _ = sockopt::set_socket_keepalive(fd, true);
        let _ = sockopt::set_tcp_keepidle(fd, probe);
        let _ = sockopt::set_tcp_keepintvl(fd, probe);
        let _ = sockopt::set_tcp_keepcnt(fd, 3);
    }

    /// Leaves it to the kernel how long bytes may stay unacknowledged (tcp(7), `TCP_USER_TIMEOUT` of 0): for as long as
    /// the peer answers, however long its window is closed; some 15 minutes if it does not.
    pub fn wait_for_window(&self) {
        let _ = sockopt::set_tcp_user_timeout(fd_of(&self.inner), 0);
    }

    /// Acknowledges what has come, at once (tcp(7), `TCP_QUICKACK`). A peer that writes a message in several small
    /// pieces without `TCP_NODELAY` sends the second one when the first is acknowledged, which the kernel delays by 40
    /// ms.
    pub fn acknowledge(&self) {
        // A Unix socket has no acknowledgements; and an error means that the peer is gone already.
        let _ = sockopt::set_tcp_quickack(fd_of(&self.inner), true);
    }

    /// Bounds what the kernel receives for this socket while it is not read.
    pub fn bound_receiving(&self, bytes: usize) {
        // An error means that the peer is gone already.
        let _ = sockopt::set_socket_recv_buffer_size(fd_of(&self.inner), bytes);
    }

    /// Checks for a byte or the end, without reading it. The end is seen also behind bytes that wait to be read.
    pub fn peek(&self) -> Liveness {
        let mut byte = [0];
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        loop {
            return match rustix::net::recv(fd_of(&self.inner), &mut byte[..], flags) {
                Err(Errno::AGAIN) => Liveness::Quiet,
                Err(Errno::INTR) => continue,
                Ok((_, 1)) => self.end_or(Liveness::Bytes, Liveness::Ended),
                Ok(_) => self.end_or(Liveness::Closed, Liveness::HalfClosed),
                Err(_) => Liveness::Closed,
            };
        }
    }

    /// Whether the connection is over, or else whether the peer has sent its last byte (`ended`).
    fn end_or(&self, open: Liveness, ended: Liveness) -> Liveness {
        let fd = fd_of(&self.inner);
        let mut look = [PollFd::new(&fd, PollFlags::RDHUP)];
        match poll(&mut look, Some(&Timespec::default())).map(|_| look[0].revents()) {
            Ok(seen) if seen.intersects(PollFlags::HUP | PollFlags::ERR) => Liveness::Closed,
            Ok(seen) if seen.contains(PollFlags::RDHUP) => ended,
            _ => open,
        }
    }

    /// Reads bytes that have arrived, and leaves them where they are. `None`: there are none yet; `Some(0)`: the peer
    /// has sent its last byte.
    pub fn try_peek(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::net::recv(fd_of(&self.inner), &mut *into, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
                Ok((_, n)) => return Ok(Some(n)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes the close a reset, so that it does not look like an orderly end.
    pub fn reset_on_close(&self) {
        // An error means that the peer is gone already.
        let _ = sockopt::set_socket_linger(fd_of(&self.inner), Some(Duration::ZERO));
    }

    /// Half-closes the connection: it sends nothing more, and reading goes on.
    pub fn shutdown_write(&self) {
        // An error means that the peer is gone already.
        let _ = rustix::net::shutdown(fd_of(&self.inner), Shutdown::Write);
    }
}

impl AsFd for StreamSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        fd_of(&self.inner)
    }
}

/// Never waits, because both ends are in non-blocking mode (splice(2)). `SPLICE_F_MORE` is not set: it would hold back
/// a short last segment.
fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes_max: usize) -> io::Result<Option<usize>> {
    loop {
        match rustix::pipe::splice(from, None, to, None, bytes_max, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)
        {
            Ok(n) => return Ok(Some(n)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::UNACKNOWLEDGED_MS;
    use crate::net::NEVER;
    use crate::net::runtime::{Preference, ThreadRuntime};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::rc::Rc;
    use std::time::Instant;

    fn pair() -> (StreamSocket, StreamSocket) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a pair");
        (StreamSocket::new(near).expect("near"), StreamSocket::new(far).expect("far"))
    }

    #[test]
    fn a_peer_that_does_not_read_has_a_minute_or_as_long_as_it_answers() {
        let (mut runtime, _) = ThreadRuntime::build(Preference::Epoll).expect("a runtime");
        runtime.block_on(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let near =
                std::net::TcpStream::connect(listener.local_addr().expect("the port")).expect("a peer");
            near.set_nonblocking(true).expect("a mode");
            let near = StreamSocket::new(near.into()).expect("near");
            let patience_ms = || sockopt::tcp_user_timeout(fd_of(&near.inner)).expect("read the option");
            near.watch_peer(Duration::from_millis(UNACKNOWLEDGED_MS.into()));
            assert_eq!(patience_ms(), UNACKNOWLEDGED_MS);
            near.probe_peer(Duration::from_secs(8));
            assert_eq!(patience_ms(), UNACKNOWLEDGED_MS, "probes are for a peer that is sent nothing");
            assert_eq!(sockopt::tcp_keepidle(fd_of(&near.inner)).expect("read it"), Duration::from_secs(2));
            near.wait_for_window();
            assert_eq!(patience_ms(), 0);
        });
    }

    #[test]
    fn a_peer_that_is_never_late_leaves_turns_to_others() {
        for preference in [Preference::Ring, Preference::Epoll] {
            let (mut runtime, driver) = ThreadRuntime::build(preference).expect("a runtime");
            let turns = runtime.block_on(async {
                let (near, far) = pair();
                let turns = Rc::new(Cell::new(0));
                let counted = turns.clone();
                monoio::spawn(async move {
                    loop {
                        monoio::time::sleep(Duration::from_millis(1)).await;
                        counted.set(counted.get() + 1);
                    }
                });
                let (timers, begun) = (Timers::new(), Instant::now());
                // Without leaving turns, the other task has none however long this goes on.
                while turns.get() < 5 && begun.elapsed() < Duration::from_secs(10) {
                    far.try_send(&[0; 16]).expect("a send").expect("room");
                    near.arrival(&timers, NEVER).await.expect("bytes");
                    assert_eq!(near.try_recv(&mut [0; 16]).expect("bytes"), Some(16));
                }
                turns.get()
            });
            assert!(turns >= 5, "{turns} turns on {driver}");
        }
    }
}
