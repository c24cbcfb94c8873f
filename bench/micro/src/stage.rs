//! What the cases stand on: a configuration, and a core that serves nobody.

use std::sync::Arc;

use realchat_gateway::auth::{KeySets, Keys, mint};
use realchat_gateway::config::keys::tokens::JWT_SECRET;
use realchat_gateway::config::{Config, Written, lower};
use realchat_gateway::gateway::core::{Core, Metrics, Prepared, Replacement, Resources, Room};
use realchat_gateway::gateway::websocket::slots::TunnelSlots;
use realchat_gateway::gateway::websocket::tunnel::Tunnels;
use realchat_gateway::limit::Store;
use realchat_gateway::route::RouteTable;
use realchat_gateway::upstream::CoreNumber;

/// The configuration that nobody has written, with the routes of the platform.
pub fn config() -> Config {
    let written = Written::default().with(&JWT_SECRET, SECRET);
    lower(written, Written::default()).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

/// A core without sockets, log and limits.
pub fn core() -> Core {
    let config = Arc::new(config());
    let metrics = Metrics::default();
    let resources = Resources::new(Prepared {
        number: CoreNumber::ONLY,
        key_requests: Arc::default(),
        metrics,
        access_log: None,
        readiness: Arc::default(),
        tunnels: Tunnels::new([].into(), 0, TunnelSlots::new(1), Arc::default()),
        store: Store::Off,
        room: Room { connections: 1, upstream_connections: 1, held_bytes: 1 << 20 },
    });
    let routes = Arc::new(RouteTable::new(&config.routes).expect("routes of one meaning"));
    let keys = Arc::new(Keys::new(&config.jwt, &KeySets::unavailable(&config.jwt)));
    let replacement = Replacement {
        config,
        routes,
        keys,
        challenges: Arc::default(),
        tls: None,
        originations: Arc::default(),
    };
    Core::new(resources, &replacement, None)
}

/// A token of alice's, good for an hour from [`NOW`] on.
pub fn token() -> String {
    let hour = std::time::Duration::from_secs(3_600);
    mint(&config().jwt, "alice", hour, NOW).expect("a token that verifies")
}

/// The time, as far as tokens care, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

const SECRET: &str = "a secret for benchmarks, longer than 32 bytes";
