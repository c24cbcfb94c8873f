//! The Redis connection of a core: settings from the configuration, address updates and reload.

use std::rc::Rc;
use std::sync::Arc;

use crate::clock;
use crate::config::{Config, Members, Rate, RedisAddress, RedisHost, UpstreamAddress, WeightedAddress};
use crate::gateway::core::{ActiveCore, Core, Replacement};
use crate::limit::Limit;
use crate::limits::{BURST_MAX, RATE_MILLI_MAX, REDIS_FIRST_ATTEMPT_MS, TICK_MS};
use crate::net::Endpoint;
use crate::redis::slots::Topology;
use crate::redis::{Arrangement, Redis, Settings};
use crate::upstream::Roster;

/// Returns the address and settings of Redis, or `None` if nothing is kept in Redis.
pub fn configured(config: &Config) -> Option<(RedisAddress, Settings)> {
    if !config.uses_redis() {
        return None;
    }
    let redis = &config.redis;
    let arrangement = match &redis.address {
        RedisAddress::Tcp { .. } | RedisAddress::Unix(_) => Arrangement::Single,
        RedisAddress::Cluster(_) => Arrangement::Cluster,
        RedisAddress::Sentinel { .. } => Arrangement::Replicated,
    };
    // The probe of a new connection uses both forms of a key, because the Redis ACL must allow both. The buckets of
    // the probe are never empty: a denied request writes nothing, so it would not detect a Redis that cannot write.
    let probe = Limit::new(Rate::from_milli(RATE_MILLI_MAX), BURST_MAX, 1);
    let prefix = &config.rate_limit.prefix;
    let keys = [format!("{prefix}:probe"), format!("{{{prefix}:probe}}:probe")];
    let settings = Settings {
        username: redis.username.clone(),
        password: redis.password.as_ref().map(|password| password.0.clone()),
        database: redis.database,
        timeout_ms: redis.timeout.as_millis() as u64,
        arrangement,
        prefix: prefix.clone(),
        probe_keys: keys.map(String::into_bytes).to_vec(),
        probe_args: [probe.units_per_us, probe.capacity, probe.cost].repeat(2),
    };
    Some((redis.address.clone(), settings))
}

/// The servers whose addresses have to be known for an address of Redis.
pub fn members(address: &RedisAddress) -> Members {
    let tcp = |host: &str, port| UpstreamAddress::Tcp { host: host.to_owned(), port };
    match address {
        RedisAddress::Tcp { host, port } => Members::one(tcp(host, *port)),
        RedisAddress::Unix(path) => Members::one(UpstreamAddress::Unix(path.clone())),
        RedisAddress::Cluster(nodes) | RedisAddress::Sentinel { sentinels: nodes, .. } => {
            let seed = |node: &RedisHost| WeightedAddress { address: tcp(&node.host, node.port), weight: 1 };
            Members::Listed(nodes.iter().map(seed).collect())
        }
    }
}

/// Replaces the addresses of Redis, unless a reload has changed its configured address meanwhile.
pub fn replace_endpoints(core: &Core, address: &RedisAddress, roster: &Roster) {
    if let (Some(found), Some((known, _))) = (&core.snapshot.redis, configured(&core.snapshot.config))
        && known == *address
    {
        found.replace_endpoints(endpoints(roster));
    }
}

/// The masters of a cluster are these from now on, unless a reload has changed the configured address meanwhile.
pub fn take_topology(core: &Core, address: &RedisAddress, topology: &Arc<Topology>) {
    if let Some(redis) = &core.snapshot.redis
        && core.snapshot.config.redis.address == *address
    {
        redis.take_topology(topology);
    }
}

fn endpoints(roster: &Roster) -> Arc<[Endpoint]> {
    roster.iter().map(|member| member.record.endpoint().clone()).collect()
}

/// Applies a new configuration. If the address or the settings of Redis have changed, the core connects to the new
/// Redis, at the members of `roster` or of a cluster's `topology`, before the first request uses it, as at the start.
/// The old connection stays open until its calls have ended.
pub async fn reload(
    active: &ActiveCore,
    replacement: &Replacement,
    roster: Option<&Roster>,
    topology: Option<&Arc<Topology>>,
) {
    let old = active.core();
    let wanted = configured(&replacement.config);
    if wanted == configured(&old.snapshot.config) && old.snapshot.has_redis_tls_of(replacement) {
        active.replace(replacement, old.snapshot.redis.clone());
        if let (Some(redis), Some(topology)) = (&old.snapshot.redis, topology) {
            redis.take_topology(topology);
        }
        return;
    }
    let another = wanted.map(|(_, settings)| old.another_redis(settings, replacement));
    if let Some(another) = &another {
        if let Some(roster) = roster {
            another.replace_endpoints(endpoints(roster));
        }
        if let Some(topology) = topology {
            another.take_topology(topology);
        }
        monoio::spawn(another.clone().run());
        another.first_attempt(clock::now_ms() + REDIS_FIRST_ATTEMPT_MS).await;
    }
    active.replace(replacement, another);
    if let Some(redis) = old.snapshot.redis.clone() {
        monoio::spawn(retire(old, redis, active.core()));
    }
}

/// Waits until the calls on the old connection have ended, then closes the connection.
async fn retire(old: Rc<Core>, redis: Rc<Redis>, new: Rc<Core>) {
    // A call may be repeated once.
    let longest_ms = 2 * old.snapshot.config.redis.timeout.as_millis() as u64 + TICK_MS;
    old.resources.io.timers.sleep_until(clock::now_ms() + longest_ms).await;
    redis.retire();
    // The core has one gauge for both connections. The old connection may have set the gauge meanwhile, so set it to
    // the state of the new one.
    let is_open = new.snapshot.redis.as_ref().is_some_and(|redis| redis.is_open());
    new.resources.metrics.redis.breaker_open.set(u64::from(is_open));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::config;

    #[test]
    fn every_form_of_an_address_is_accepted() {
        let tcp = |host: &str, port| RedisAddress::Tcp { host: host.to_owned(), port };
        let node = |host: &str, port| RedisHost { host: host.to_owned(), port };
        for (written, address, database) in [
            ("localhost:6379", tcp("localhost", 6379), 0),
            ("[::1]:1", tcp("::1", 1), 0),
            ("redis://u:p@h:7/3", tcp("h", 7), 3),
            ("unix:/run/redis.sock", RedisAddress::Unix("/run/redis.sock".into()), 0),
            ("redis-cluster://a:1,b", RedisAddress::Cluster(vec![node("a", 1), node("b", 6379)]), 0),
        ] {
            let config = config(&format!("redis_addr = '{written}'\nrate_limit_prefix = 'chat'\n"));
            let (found, settings) = configured(&config).expect(written);
            assert_eq!((found, settings.database), (address, database), "{written}");
            assert_eq!(settings.username.is_some(), written.contains('@'));
            assert_eq!(settings.probe_keys, [&b"chat:probe"[..], b"{chat:probe}:probe"]);
        }
    }
}
