//! A connection that a load balancer passes on byte by byte: who the client is, as the PROXY protocol tells.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use crate::clock;
use crate::limits::{DRAIN_FIRST_REQUEST_MS, PROXY_HEADER_BYTES_MAX};
use crate::net::proxy_header::{NoHeader, Progress, look};
use crate::net::{Buffer, Io, StreamSocket, Transport};

/// The connection does not begin with a header, or not in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotProxied;

/// Takes the header off the front of a connection, and not a byte behind it. The client that it names; `None`: the
/// balancer speaks for itself.
///
/// # Errors
/// [`NotProxied`].
pub async fn client(
    io: &Io,
    transport: &Transport,
    deadline_ms: u64,
) -> Result<Option<SocketAddr>, NotProxied> {
    let socket = transport.raw().ok_or(NotProxied)?;
    let (mut header, mut deadline_ms) = (io.buffers.buffer(), deadline_ms);
    loop {
        if io.is_draining() {
            deadline_ms = deadline_ms.min(clock::now_ms() + DRAIN_FIRST_REQUEST_MS);
        }
        header.park();
        match io.until_drain(deadline_ms, pin!(transport.readable())).await {
            Ok(Some(Ok(()))) => {}
            // A drain has begun: from now on there is less time.
            Ok(None) => continue,
            Ok(Some(Err(_))) | Err(_) => return Err(NotProxied),
        }
        if let Progress::Whole { client, .. } = receive(socket, &mut header).map_err(|_| NotProxied)? {
            return Ok(client);
        }
    }
}

/// Receives what has come of the header. What follows it stays with the kernel: it may be for TLS.
fn receive(socket: &StreamSocket, header: &mut Buffer) -> io::Result<Progress> {
    let mut shown = [0; PROXY_HEADER_BYTES_MAX];
    let n = match socket.try_peek(&mut shown)? {
        None => return Ok(Progress::Partial),
        Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Some(n) => n,
    };
    let before = header.len();
    header.put(&shown[..n]);
    let progress = look(header.filled()).map_err(|NoHeader| io::ErrorKind::InvalidData)?;
    let its_own = match progress {
        Progress::Partial => n,
        Progress::Whole { length, .. } => length - before,
    };
    socket.try_recv(&mut shown[..its_own])?;
    Ok(progress)
}
