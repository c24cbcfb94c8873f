//! The Redis that shares the rate limit between processes.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::limits::{LimitStore, RateLimit};
use super::tokens::Secret;
use super::upstreams::{OwnCertificate, UpstreamTls};

/// The shared store of the rate limit, and how to connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Where it listens.
    pub address: RedisAddress,
    /// The ACL user. `None`: the default user.
    pub username: Option<String>,
    /// The password of the user. `None`: no `AUTH` is sent.
    pub password: Option<Secret>,
    /// The number of the database.
    pub database: u32,
    /// TLS to it. `None`: none.
    pub tls: Option<RedisTls>,
    /// The user of the sentinels' own access lists. `None`: their default user.
    pub sentinel_username: Option<String>,
    /// The password for the sentinels. `None`: no `AUTH` is sent to them.
    pub sentinel_password: Option<Secret>,
    /// How long one decision may take. `REDIS_TIMEOUT`, 25 ms.
    pub timeout: Duration,
}

/// TLS to Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// The name or address that its certificate has to prove. `None`: that of the address, and in a cluster what the
    /// cluster calls each node.
    pub server_name: Option<String>,
    /// PEM of the authorities that may issue its certificate. `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate that the gateway shows.
    pub certificate: Option<OwnCertificate>,
}

impl Redis {
    /// Whether the stream of revocations can be read from it: its connection knows no sentinels and no TLS.
    pub fn has_stream(&self) -> bool {
        self.tls.is_none() && !matches!(self.address, RedisAddress::Sentinel { .. })
    }

    /// TLS to it, if the limiter uses it and it is spoken to over TLS.
    pub fn tls_of(&self, limit: &RateLimit) -> Option<UpstreamTls> {
        let RedisTls { server_name, ca, certificate } = self.tls.clone()?;
        let host = match &self.address {
            RedisAddress::Tcp { host, .. } => host.clone(),
            // Each node of a cluster has its own.
            RedisAddress::Unix(_) | RedisAddress::Cluster(_) | RedisAddress::Sentinel { .. } => {
                "localhost".to_owned()
            }
        };
        let server_name = server_name.unwrap_or(host);
        (limit.store == LimitStore::Redis).then_some(UpstreamTls { server_name, ca, certificate })
    }

    /// Whether each server has to prove what the cluster or the sentinels call it.
    pub fn names_of_nodes(&self) -> bool {
        let are_many = matches!(self.address, RedisAddress::Cluster(_) | RedisAddress::Sentinel { .. });
        are_many && self.tls.as_ref().is_some_and(|tls| tls.server_name.is_none())
    }
}

/// Where Redis listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    /// A name or an address literal, resolved on the control thread.
    Tcp {
        /// Name, or address literal without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A stream socket in the file system.
    Unix(PathBuf),
    /// Some nodes of a cluster, which know the others.
    Cluster(Vec<RedisHost>),
    /// Sentinels, which know who the master of this name is.
    Sentinel {
        /// Where they listen.
        sentinels: Vec<RedisHost>,
        /// The name of the master.
        master: String,
    },
}

/// A host that a Redis listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisHost {
    /// Name, or address literal without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for RedisHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RedisHost { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
