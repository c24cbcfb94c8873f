//! Buckets that Redis has said to be empty. Until a bucket's next token is due, the gateway denies requests itself:
//! Redis would give the same answer.
//!
//! The answer is exact: a bucket cannot fill faster than its rate, and a denied request takes nothing. A request that
//! costs *less* than the denied one might be admitted, so it is sent to Redis.

use std::collections::HashMap;

use super::arithmetic::{Decision, Limit};
use crate::limits::KNOWN_EMPTY_MAX;

/// The buckets that one core knows to be empty.
#[derive(Debug, Default)]
pub(super) struct KnownEmpty {
    buckets: HashMap<Box<[u8]>, Empty>,
}

#[derive(Debug, Clone, Copy)]
struct Empty {
    /// When a request of this cost may be admitted, in µs of the monotonic clock.
    until_us: u64,
    cost: u64,
    /// The answer to the call that was made at `asked_us`.
    decision: Decision,
    asked_us: u64,
    /// The connection that it was made over. Another one may lead to a Redis that has lost its buckets since.
    connection: u64,
}

impl KnownEmpty {
    /// No bucket is known to be empty.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Remembers that Redis has denied `limit` on this bucket, in answer to a call made at `asked_us` over this
    /// connection. At the bound
    /// ([`KNOWN_EMPTY_MAX`]), buckets with a token due are removed; if there are none, all are. Each removed bucket
    /// may cost one more call.
    pub(super) fn remember(
        &mut self,
        key: &[u8],
        limit: Limit,
        decision: Decision,
        (asked_us, connection): (u64, u64),
    ) {
        if self.buckets.len() >= KNOWN_EMPTY_MAX {
            self.buckets.retain(|_, empty| empty.until_us > asked_us);
            if self.buckets.len() >= KNOWN_EMPTY_MAX {
                self.buckets.clear();
            }
        }
        let until_us = asked_us.saturating_add(decision.wait_us);
        self.buckets.insert(key.into(), Empty { until_us, cost: limit.cost, decision, asked_us, connection });
    }

    /// The denial that Redis would give now for `limit`, which has this index among the request's limits.
    /// `connection`: the one over which it would be asked.
    pub(super) fn denial(
        &self,
        key: &[u8],
        limit: Limit,
        index: usize,
        (now_us, connection): (u64, Option<u64>),
    ) -> Option<Decision> {
        let empty = self.buckets.get(key)?;
        if connection != Some(empty.connection) || now_us >= empty.until_us || limit.cost < empty.cost {
            return None;
        }
        let passed_us = now_us.saturating_sub(empty.asked_us);
        Some(Decision {
            is_admitted: false,
            most_restrictive: index,
            wait_us: empty.until_us - now_us,
            full_us: empty.decision.full_us.saturating_sub(passed_us),
            ..empty.decision
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rate;

    fn refusal(wait_us: u64) -> Decision {
        Decision { is_admitted: false, most_restrictive: 0, remaining: 0, wait_us, full_us: 10 * wait_us }
    }

    fn limit(cost: u32) -> Limit {
        Limit::new(Rate::from_milli(10_000), 20, cost)
    }

    #[test]
    fn an_empty_bucket_is_known_until_its_next_token_and_not_a_microsecond_longer() {
        let mut known = KnownEmpty::default();
        known.remember(b"rl:u:ann", limit(1), refusal(100_000), (1_000_000, 7));
        let look = |now_us| {
            known.denial(b"rl:u:ann", limit(1), 0, (now_us, Some(7))).map(|decision| decision.wait_us)
        };
        assert_eq!(look(1_000_000), Some(100_000));
        assert_eq!(look(1_099_999), Some(1));
        assert_eq!(look(1_100_000), None);
        assert!(known.denial(b"rl:u:bob", limit(1), 0, (1_000_000, Some(7))).is_none());
        for other in [None, Some(8)] {
            assert!(
                known.denial(b"rl:u:ann", limit(1), 0, (1_000_000, other)).is_none(),
                "another connection"
            );
        }
    }

    #[test]
    fn a_cheaper_request_is_asked_about() {
        let mut known = KnownEmpty::default();
        known.remember(b"k", limit(5), refusal(100), (0, 7));
        assert!(known.denial(b"k", limit(1), 0, (1, Some(7))).is_none());
        assert!(
            known.denial(b"k", limit(5), 0, (1, Some(7))).is_some()
                && known.denial(b"k", limit(6), 0, (1, Some(7))).is_some()
        );
    }

    #[test]
    fn the_bound_holds_under_a_flood() {
        let mut known = KnownEmpty::default();
        for n in 0..3 * KNOWN_EMPTY_MAX as u64 {
            known.remember(&n.to_be_bytes(), limit(1), refusal(1_000_000), (n, 7));
            assert!(known.buckets.len() <= KNOWN_EMPTY_MAX);
        }
    }
}
