//! The TLS handshake with a server, on a connection that was just opened.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::{Fault, Handshake, Step, TlsStream};
use crate::net::{ConnectError, Io, Transport};

/// Speaks TLS from here on, once the handshake with the server of this name is over.
///
/// # Errors
/// The server is not who it should be, breaks the handshake off, or does not finish it until the deadline.
pub async fn secure(
    transport: Transport,
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
    io: &Io,
    deadline_ms: u64,
) -> Result<Transport, ConnectError> {
    let Transport::Plain(socket) = transport else { return Ok(transport) };
    let transport = {
        let _step = step(io, deadline_ms).await?;
        let tls = TlsStream::client(socket, client, name, &io.buffers);
        Transport::Tls(Box::new(tls.map_err(ConnectError::Tls)?))
    };
    loop {
        let Some(tls) = transport.tls() else { return Ok(transport) };
        match tls.handshake().map_err(ConnectError::Tls)? {
            Handshake::Done => return Ok(transport),
            Handshake::Step => {
                let _step = step(io, deadline_ms).await?;
                tls.step().map_err(ConnectError::Tls)?;
            }
            Handshake::Send => {
                if !tls.try_flush().map_err(|error| broken(tls, error))? {
                    tls.park();
                    wait(io, deadline_ms, transport.writable()).await?;
                }
            }
            Handshake::Receive => {
                tls.park();
                wait(io, deadline_ms, transport.readable()).await?;
                tls.receive().map_err(|error| broken(tls, error))?;
            }
        }
    }
}

/// The right to one expensive step, which waits in line with those of clients' handshakes.
async fn step(io: &Io, deadline_ms: u64) -> Result<Step<'_>, ConnectError> {
    let step = io.timers.until(deadline_ms, pin!(io.handshakes.step())).await;
    step.map_err(|_| ConnectError::TimedOut)
}

async fn wait(
    io: &Io,
    deadline_ms: u64,
    ready: impl Future<Output = io::Result<()>>,
) -> Result<(), ConnectError> {
    let waited = io.timers.until(deadline_ms, pin!(ready)).await;
    waited.map_err(|_| ConnectError::TimedOut)?.map_err(ConnectError::Failed)
}

/// Why the connection broke: the protocol's own reason, if it has one.
fn broken(tls: &TlsStream, error: io::Error) -> ConnectError {
    match tls.fault() {
        Some(fault) if fault != Fault::Closed => ConnectError::Tls(fault),
        _ => ConnectError::Failed(error),
    }
}
