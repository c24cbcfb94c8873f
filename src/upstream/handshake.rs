//! The TLS handshake with an upstream, on a connection that was just opened.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::metrics::UpstreamMetrics;
use crate::net::tls::{Fault, Handshake, Step, TlsStream};
use crate::net::{ConnectError, Io, Transport};
use crate::tls::Origination;

/// What one core needs for handshakes with one upstream.
pub struct TlsClient {
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
    metrics: Arc<UpstreamMetrics>,
}

impl TlsClient {
    /// A client with sessions of its own.
    pub fn new(origination: &Origination, metrics: Arc<UpstreamMetrics>) -> TlsClient {
        TlsClient { client: origination.for_core(), name: origination.name.clone(), metrics }
    }

    /// Speaks TLS from here on, once the handshake is over.
    ///
    /// # Errors
    /// The server is not who it should be, breaks the handshake off, or does not finish it until the deadline.
    pub async fn secure(
        &self,
        transport: Transport,
        io: &Io,
        deadline_ms: u64,
    ) -> Result<Transport, ConnectError> {
        let secured = self.handshake(transport, io, deadline_ms).await;
        match &secured {
            Ok(transport) => {
                self.metrics.handshakes.add(1);
                let is_resumed =
                    transport.tls().and_then(TlsStream::agreed).is_some_and(|agreed| agreed.is_resumed);
                self.metrics.handshakes_resumed.add(u64::from(is_resumed));
            }
            Err(_) => self.metrics.handshake_failures.add(1),
        }
        secured
    }

    async fn handshake(
        &self,
        transport: Transport,
        io: &Io,
        deadline_ms: u64,
    ) -> Result<Transport, ConnectError> {
        let Transport::Plain(socket) = transport else { return Ok(transport) };
        let transport = {
            let _step = step(io, deadline_ms).await?;
            let tls = TlsStream::client(socket, self.client.clone(), self.name.clone(), &io.buffers);
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
