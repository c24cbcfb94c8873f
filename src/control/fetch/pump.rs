//! The pump between the HTTP client and the server: it owns the time and the bytes.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::error::FetchError;
use crate::limits::FETCH_HEAD_BYTES_MAX;
use crate::net::{Io, RecvError, SendError, StreamSocket, Transport};

/// The two ends that client and pump talk over: first the pump's.
pub(super) fn pair() -> io::Result<(Transport, OwnedFd)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok((Transport::Plain(StreamSocket::new(near)?), far))
}

/// Brings one request to the server and what it answers back. It ends with the server's last byte, and the client's end
/// is then closed with it.
pub(super) async fn pump(
    server: Transport,
    client: Transport,
    io: &Io,
    deadline_ms: u64,
    bytes_max: usize,
) -> Result<(), FetchError> {
    let mut buffer = io.buffers.buffer();
    while !buffer.filled().ends_with(b"\r\n\r\n") {
        if buffer.len() > FETCH_HEAD_BYTES_MAX {
            return Err(FetchError::Garbled("the request is too long"));
        }
        if client.recv(&mut buffer, &io.timers, deadline_ms).await.map_err(received)? == 0 {
            return Err(FetchError::Closed);
        }
    }
    server.send_all(buffer.filled(), &io.timers, deadline_ms).await.map_err(sent)?;
    buffer.clear();
    let mut bytes = 0;
    loop {
        let arrived = server.recv(&mut buffer, &io.timers, deadline_ms).await.map_err(received)?;
        if arrived == 0 {
            return Ok(());
        }
        bytes += arrived;
        if bytes > bytes_max {
            return Err(FetchError::TooLong);
        }
        client.send_all(buffer.filled(), &io.timers, deadline_ms).await.map_err(sent)?;
        buffer.clear();
    }
}

fn received(error: RecvError) -> FetchError {
    match error {
        RecvError::TimedOut => FetchError::TimedOut,
        RecvError::Closed(_) => FetchError::Closed,
    }
}

fn sent(error: SendError) -> FetchError {
    match error {
        SendError::TimedOut => FetchError::TimedOut,
        SendError::Closed(_) => FetchError::Closed,
    }
}
