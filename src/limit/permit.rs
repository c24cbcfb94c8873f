//! The two answers of the rate limiter: a permit, or a denial with the time to wait.

use super::arithmetic::NEVER_US;
use crate::limits::RETRY_AFTER_MAX_S;

/// Evidence that the rate limiter admitted a request. Only `limit` makes one.
#[derive(Debug)]
#[must_use = "forwarding a request takes a permit"]
pub struct Permit(Option<Quota>);

/// What a response may tell the client about its most restrictive limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Tokens in a full bucket.
    pub limit: u32,
    /// Whole tokens left.
    pub remaining: u32,
    /// Time until the bucket is full.
    pub full_us: u64,
}

/// Why a request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// A bucket does not have enough tokens: 429.
    Limited(Limited),
    /// No store could decide, and the operator wants such requests denied: 503.
    Unavailable,
}

/// The bucket that denied a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Its place among the charges of the request.
    pub charge: usize,
    /// Time until the same request would be admitted.
    pub wait_us: u64,
    /// The bucket's size and what is left in it.
    pub quota: Quota,
}

impl Permit {
    /// A permit for a request that no bucket was charged for.
    pub(super) fn unlimited() -> Self {
        Self(None)
    }

    /// A permit for a request that all of its buckets were charged for.
    pub(super) fn charged(quota: Quota) -> Self {
        Self(Some(quota))
    }

    /// What the response may tell the client; `None` if no bucket was charged.
    pub fn quota(&self) -> Option<Quota> {
        self.0
    }
}

impl Quota {
    /// Whole seconds until the bucket is full, rounded up: the value of `RateLimit-Reset`. [`RETRY_AFTER_MAX_S`] if
    /// the bucket never fills.
    pub fn reset_s(&self) -> u64 {
        match self.full_us {
            NEVER_US => RETRY_AFTER_MAX_S,
            full_us => full_us.div_ceil(1_000_000),
        }
    }
}

impl Limited {
    /// Whole seconds until the same request would be admitted, rounded up, from 1 to [`RETRY_AFTER_MAX_S`]: the
    /// value of `Retry-After`.
    pub fn retry_after_s(&self) -> u64 {
        self.wait_us.div_ceil(1_000_000).clamp(1, RETRY_AFTER_MAX_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_bounded() {
        let quota = Quota { limit: 1, remaining: 0, full_us: 1_000_001 };
        assert_eq!(quota.reset_s(), 2);
        for (wait_us, seconds) in [(0, 1), (1, 1), (1_000_000, 1), (1_000_001, 2), (u64::MAX, 3600)] {
            assert_eq!(Limited { charge: 0, wait_us, quota }.retry_after_s(), seconds, "{wait_us}");
        }
    }
}
