//! From the configuration to the connection with Redis.

use crate::config::{Config, LimitStore, Rate, RedisAddress, UpstreamAddress};
use crate::limit::Limit;
use crate::limits::{BURST_MAX, RATE_MILLI_MAX};
use crate::redis::Settings;

/// Where Redis is and how to speak with it; `None`: the limiter keeps its buckets elsewhere.
pub fn redis(config: &Config) -> Option<(UpstreamAddress, Settings)> {
    if config.rate_limit.store != LimitStore::Redis {
        return None;
    }
    let redis = &config.redis;
    let address = match &redis.address {
        RedisAddress::Tcp { host, port } => UpstreamAddress::Tcp { host: host.clone(), port: *port },
        RedisAddress::Unix(path) => UpstreamAddress::Unix(path.clone()),
    };
    // A new connection is tried with both forms of a key, which an access list must allow, and with buckets that
    // are never empty: a refusal would write nothing, and say nothing about a Redis that cannot write.
    let probe = Limit::new(Rate::from_milli(RATE_MILLI_MAX), BURST_MAX, 1);
    let prefix = &config.rate_limit.prefix;
    let keys = [format!("{prefix}:probe"), format!("{{{prefix}:probe}}:probe")];
    let settings = Settings {
        username: redis.username.clone(),
        password: redis.password.as_ref().map(|password| password.0.clone()),
        database: redis.database,
        timeout_ms: redis.timeout.as_millis() as u64,
        probe_keys: keys.map(String::into_bytes).to_vec(),
        probe_args: [probe.units_per_us, probe.capacity, probe.cost].repeat(2),
    };
    Some((address, settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Written, lower};

    #[test]
    fn every_form_of_an_address_is_understood() {
        let tcp = |host: &str, port| UpstreamAddress::Tcp { host: host.to_owned(), port };
        for (written, address, database) in [
            ("localhost:6379", tcp("localhost", 6379), 0),
            ("[::1]:1", tcp("::1", 1), 0),
            ("redis://u:p@h:7/3", tcp("h", 7), 3),
            ("unix:/run/redis.sock", UpstreamAddress::Unix("/run/redis.sock".into()), 0),
        ] {
            let args = Written {
                jwt_secret: Some("x".repeat(32)),
                redis_addr: Some(written.to_owned()),
                rate_limit_prefix: Some("chat".to_owned()),
                ..Written::default()
            };
            let config = lower(args, Written::default()).expect(written).config;
            let (found, settings) = redis(&config).expect(written);
            assert_eq!((found, settings.database), (address, database), "{written}");
            assert_eq!(settings.username.is_some(), written.contains('@'));
            assert_eq!(settings.probe_keys, [&b"chat:probe"[..], b"{chat:probe}:probe"]);
        }
    }
}
