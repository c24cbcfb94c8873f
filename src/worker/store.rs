//! From the configuration to the connection with Redis.

use ::redis::{ConnectionAddr, IntoConnectionInfo};

use crate::config::{Config, LimitStore, UpstreamAddress};
use crate::redis::Settings;

/// Where Redis is and how to speak with it; `None`: the limiter keeps its buckets elsewhere.
pub fn redis(config: &Config) -> Option<(UpstreamAddress, Settings)> {
    if config.rate_limit.store != LimitStore::Redis {
        return None;
    }
    let is_url = ["redis:", "unix:"].iter().any(|scheme| config.redis_addr.starts_with(scheme));
    let url = if is_url { config.redis_addr.clone() } else { format!("redis://{}", config.redis_addr) };
    // The configuration was checked for its form; an address that says nothing to us is no address.
    let info = url.as_str().into_connection_info().ok()?;
    let address = match info.addr() {
        ConnectionAddr::Tcp(host, port) => UpstreamAddress::Tcp { host: host.clone(), port: *port },
        ConnectionAddr::Unix(path) => UpstreamAddress::Unix(path.clone()),
        _ => return None,
    };
    let server = info.redis_settings();
    let settings = Settings {
        username: server.username().map(str::to_owned),
        password: server.password().map(|password| password.as_bytes().to_vec()),
        database: u32::try_from(server.db()).unwrap_or_default(),
        timeout_ms: TIMEOUT_MS,
        probe_key: PROBE_KEY.to_vec(),
        probe_args: Vec::new(),
    };
    Some((address, settings))
}

/// The script that Redis runs.
pub const SCRIPT: &str = "return {1, 0, 0}";
/// The budget of one decision, in milliseconds.
const TIMEOUT_MS: u64 = 25;
/// The bucket that a new connection is tried with.
const PROBE_KEY: &[u8] = b"rl:probe";
