//! The internal services.

use std::path::PathBuf;

/// One internal service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in routes, logs and metrics.
    pub name: String,
    /// Where it listens.
    pub address: UpstreamAddress,
    /// The value of `Host` in requests to it.
    pub authority: String,
    /// Whether a connection to it carries more than one request.
    pub connection_reuse: bool,
}

/// Where an upstream listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// A name or an address literal, resolved on the control thread.
    Tcp {
        /// Name, or address literal without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A stream socket in the file system (`http+unix://%2Frun%2Fa.sock`).
    Unix(PathBuf),
}
