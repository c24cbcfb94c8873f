//! What to get.

use crate::net::Endpoint;
use crate::upstream::TlsClient;

/// What to get, and from where.
pub struct Get<'g> {
    /// The addresses of the server, tried in their order.
    pub endpoints: &'g [Endpoint],
    /// TLS to it; `None`: there is none.
    pub tls: Option<&'g TlsClient>,
    /// The value of `Host`.
    pub authority: &'g str,
    /// Path and query.
    pub target: &'g str,
    /// The value of `Accept`.
    pub accept: &'static str,
    /// The end of everything, by the coarse clock.
    pub deadline_ms: u64,
    /// The largest body, in bytes.
    pub body_bytes_max: usize,
}
