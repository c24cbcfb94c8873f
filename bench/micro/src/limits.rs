//! May they: the buckets that a request draws from.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use realchat_gateway::config::{Config, Rate};
use realchat_gateway::limit::{Ask, Client, KeyBuf, MemoryLimiter};
use realchat_gateway::limits::{BURST_MAX, RATE_MILLI_MAX};

use crate::{Step, stage};

/// From a bucket of this process that is never empty. It reads the clock.
pub fn memory() -> Step {
    let (mut config, limiter) = (stage::config(), MemoryLimiter::new());
    config.rate_limit.rate = Rate::from_milli(RATE_MILLI_MAX);
    config.rate_limit.burst = BURST_MAX;
    Box::new(move || {
        let decision = limiter.take(&ask(&config).draws(&config.rate_limit));
        assert!(black_box(decision).is_admitted);
    })
}

/// Which bucket, and its key: what comes before a store in Redis is asked.
pub fn key() -> Step {
    let config = stage::config();
    Box::new(move || {
        let ask = ask(&config);
        let draws = ask.draws(&config.rate_limit);
        let mut key = KeyBuf::default();
        black_box(draws.all()[0].bucket.key(draws.prefix(), &mut key));
    })
}

fn ask(config: &Config) -> Ask<'_> {
    let address = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));
    Ask { client: Client::User(black_box("alice")), address, route: Some(&config.routes[3]) }
}
