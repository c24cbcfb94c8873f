//! The address of an upstream or of Redis.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// A resolved address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP, with its text for logs.
    Tcp(SocketAddr, Arc<str>),
    /// A Unix socket in the file system, with its text for logs.
    Unix(Arc<Path>, Arc<str>),
}

impl Endpoint {
    /// A TCP address.
    pub fn tcp(address: SocketAddr) -> Endpoint {
        Endpoint::Tcp(address, address.to_string().into())
    }

    /// A path in the file system.
    pub fn unix(path: &Path) -> Endpoint {
        Endpoint::Unix(path.into(), format!("unix:{}", path.display()).into())
    }

    /// The text in logs.
    pub fn text(&self) -> &str {
        match self {
            Endpoint::Tcp(_, text) | Endpoint::Unix(_, text) => text,
        }
    }
}
