//! May they: the buckets that a request draws from.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use realchat_gateway::config::{Config, Rate};
use realchat_gateway::limit::{Client, KeyBuf, LimitedRequest, MemoryLimiter};
use realchat_gateway::limits::{BURST_MAX, RATE_MILLI_MAX};

use crate::{Step, stage};

/// From a thousand buckets of this process, in turn: one alone would be empty before it has been asked a million times
/// a second. It reads the clock.
pub fn memory() -> Step {
    let (mut config, limiter) = (stage::config(), MemoryLimiter::new());
    config.rate_limit.rate = Rate::from_milli(RATE_MILLI_MAX);
    config.rate_limit.burst = BURST_MAX;
    let users: Vec<String> = (0..1_000).map(|nth| format!("user-{nth}")).collect();
    let mut turn = 0;
    Box::new(move || {
        turn = (turn + 1) % users.len();
        let decision = limiter.charge(&request(&config, &users[turn]).charges(&config.rate_limit));
        assert!(black_box(decision).is_admitted);
    })
}

/// Which bucket, and its key: what comes before a store in Redis is asked.
pub fn key() -> Step {
    let config = stage::config();
    Box::new(move || {
        let request = request(&config, "alice");
        let charges = request.charges(&config.rate_limit);
        let mut key = KeyBuf::default();
        black_box(charges.all()[0].bucket.key(charges.prefix(), &mut key));
    })
}

fn request<'a>(config: &'a Config, user: &'a str) -> LimitedRequest<'a> {
    let address = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));
    LimitedRequest { client: Client::User(black_box(user)), address, route: Some(&config.routes[3]) }
}
