//! The TLS handshake with an upstream, on a connection that was just opened.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::metrics::UpstreamMetrics;
use crate::net::tls::{self, TlsStream};
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
        let secured = tls::secure(transport, self.client.clone(), self.name.clone(), io, deadline_ms).await;
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
}
