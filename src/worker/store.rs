//! From the configuration to the connection with Redis.

use ::redis::{ConnectionAddr, IntoConnectionInfo};

use crate::config::{Config, LimitStore, UpstreamAddress};
use crate::redis::Settings;

/// Where Redis is and how to speak with it; `None`: the limiter keeps its buckets elsewhere.
pub fn redis(config: &Config) -> Option<(UpstreamAddress, Settings)> {
    if config.rate_limit.store != LimitStore::Redis {
        return None;
    }
    connection(&config.redis_addr)
}

/// The configuration was checked for its form; an address that says nothing to us is none.
fn connection(written: &str) -> Option<(UpstreamAddress, Settings)> {
    let is_url = ["redis:", "unix:"].iter().any(|scheme| written.starts_with(scheme));
    let url = if is_url { written.to_owned() } else { format!("redis://{written}") };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_understood() {
        let tcp = |host: &str, port| UpstreamAddress::Tcp { host: host.to_owned(), port };
        for (written, address, database) in [
            ("localhost:6379", tcp("localhost", 6379), 0),
            ("[::1]:1", tcp("::1", 1), 0),
            ("redis://u:p@h:7/3", tcp("h", 7), 3),
            ("unix:/run/redis.sock", UpstreamAddress::Unix("/run/redis.sock".into()), 0),
        ] {
            let (found, settings) = connection(written).expect(written);
            assert_eq!((found, settings.database), (address, database), "{written}");
            assert_eq!(settings.username.is_some(), written.contains('@'));
        }
    }
}
