//! Where a connection of ours leads.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Where one connection leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A resolved address, with its text for records.
    Tcp(SocketAddr, Arc<str>),
    /// A socket in the file system, with its text for records.
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

    /// As it stands in records.
    pub fn text(&self) -> &str {
        match self {
            Endpoint::Tcp(_, text) | Endpoint::Unix(_, text) => text,
        }
    }
}
