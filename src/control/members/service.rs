//! The services of a configuration: its upstreams, and Redis.

use crate::config::{Config, Members};
use crate::control::Target;

/// A service with members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The service for the cores.
    pub target: Target,
    /// The name of the service in the log.
    pub name: String,
    /// Where its members come from.
    pub members: Members,
    /// Whether they speak TLS.
    pub is_tls: bool,
}

impl Service {
    /// Returns Redis, if configured, and the upstreams of a configuration. Redis comes first, because a core accepts
    /// no connection before its first attempt to connect to Redis.
    pub fn all(redis: Option<&Service>, config: &Config) -> Vec<Service> {
        let upstreams = config.upstreams.iter().map(|upstream| Service {
            target: Target::upstream(upstream),
            name: upstream.name.clone(),
            members: upstream.members.clone(),
            is_tls: upstream.tls.is_some(),
        });
        redis.cloned().into_iter().chain(upstreams).collect()
    }
}
