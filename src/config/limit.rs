//! The rate limit and its shared store: from what was written to what it means.

use std::time::Duration;

use super::lower::{Layers, between};
use super::{RateLimit, Redis, address, value};

impl Layers {
    /// The global pair and how limits are kept.
    pub(super) fn rate_limit(&mut self) -> RateLimit {
        RateLimit {
            store: self.value("RATE_LIMIT_STORE", value::store),
            rate: self.value("RATE_LIMIT_RPS", value::rate),
            burst: self.value("RATE_LIMIT_BURST", value::burst),
            prefix: self.value("RATE_LIMIT_PREFIX", value::key_prefix),
            on_failure: self.value("RATE_LIMIT_ON_REDIS_FAILURE", value::on_redis_failure),
            headers: self.value("RATE_LIMIT_HEADERS", value::limit_headers),
        }
    }

    /// Where Redis is and who we are to it. The user and password stand in its URL or in keys of their own.
    pub(super) fn redis(&mut self) -> Redis {
        let mut redis = self.value("REDIS_ADDR", address::redis);
        redis.timeout = self.value("REDIS_TIMEOUT", between(TIMEOUT_MIN, TIMEOUT_MAX));
        let keys = ["REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE"];
        let own = keys.into_iter().find(|key| self.written(key).is_some());
        let username = self.option("REDIS_USERNAME", value::text);
        let password = self.secret("REDIS_PASSWORD", "REDIS_PASSWORD_FILE").map(|(password, _)| password);
        let Some(key) = own else { return redis };
        if redis.password.is_some() {
            self.mistakes.add(key, "is written beside a password in REDIS_ADDR: keep one of them");
        } else if password.is_none() && !keys.iter().any(|key| self.mistakes.name(key)) {
            self.mistakes.add(key, "is written without REDIS_PASSWORD (or REDIS_PASSWORD_FILE)");
        }
        Redis { username, password, ..redis }
    }
}

/// Shortest and longest budget of one decision.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(10);
