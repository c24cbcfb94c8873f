//! May they: one token from one bucket, before a request costs anything more.

pub mod bucket;
pub mod memory;

use std::sync::Arc;

pub use bucket::{Bucket, KeyBuf};
pub use memory::MemoryLimiter;

use crate::config::{LimitStore, RateLimit};
#[cfg(doc)]
use crate::limits::RETRY_AFTER_MAX_S;

/// Who keeps the buckets. A core's own handle on it; cloning is cheap.
#[derive(Debug, Clone)]
pub enum Limiter {
    /// Nobody: everything passes.
    Off,
    /// This process: one limiter for all cores.
    Memory(Arc<MemoryLimiter>),
}

/// Evidence that the limiter let a request pass. Only this module makes one.
#[derive(Debug)]
#[must_use = "a permit is what forwarding asks for"]
pub struct Permit(());

/// The bucket is empty: 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Whole seconds until the next token, rounded up, from 1 to [`RETRY_AFTER_MAX_S`]: the value of
    /// `Retry-After`.
    pub retry_after_s: u64,
}

impl Limiter {
    /// The limiter of a configuration, as far as this process can keep the buckets itself; `None` for a
    /// shared store.
    pub fn local(limit: &RateLimit) -> Option<Self> {
        match limit.store {
            LimitStore::Off => Some(Self::Off),
            LimitStore::Memory => Some(Self::Memory(Arc::new(MemoryLimiter::new(limit.rate, limit.burst)))),
            LimitStore::Redis => None,
        }
    }

    /// Takes one token from the bucket. A refusal takes nothing.
    ///
    /// It may wait, for a store that is shared between instances; those of this process never do.
    ///
    /// # Errors
    /// [`Limited`] if the bucket is empty.
    pub async fn take(&self, bucket: Bucket<'_>) -> Result<Permit, Limited> {
        match self {
            Self::Off => Ok(Permit(())),
            Self::Memory(limiter) => limiter.take(&bucket).map(|()| Permit(())),
        }
    }

    /// Forgets buckets that are full again: for the control thread, every ten seconds or so, so that no core
    /// ever has to.
    pub fn tidy(&self) {
        match self {
            Self::Off => {}
            Self::Memory(limiter) => limiter.tidy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// A local limiter answers without waiting.
    fn take(limiter: &Limiter, bucket: Bucket<'_>) -> Result<Permit, Limited> {
        match pin!(limiter.take(bucket)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("a local limiter waited"),
        }
    }

    #[test]
    fn off_lets_everything_pass() {
        let limiter = Limiter::local(&RateLimit { store: LimitStore::Off, rate: 0.0, burst: 0 }).unwrap();
        for _ in 0..100 {
            assert!(take(&limiter, Bucket::User("a")).is_ok());
        }
    }

    #[test]
    fn a_bucket_is_one_for_every_clone() {
        let limit = RateLimit { store: LimitStore::Memory, rate: 0.001, burst: 2 };
        let limiter = Limiter::local(&limit).unwrap();
        let other_core = limiter.clone();
        assert!(take(&limiter, Bucket::User("a")).is_ok());
        assert!(take(&other_core, Bucket::User("a")).is_ok());
        let limited = take(&limiter, Bucket::User("a")).unwrap_err();
        assert!((990..=1000).contains(&limited.retry_after_s), "{limited:?}");
        assert!(take(&limiter, Bucket::User("b")).is_ok());
        limiter.tidy();
        assert!(take(&limiter, Bucket::User("a")).is_err(), "tidying must not refill a bucket");
    }

    #[test]
    fn a_shared_store_is_not_kept_here() {
        assert!(Limiter::local(&RateLimit { store: LimitStore::Redis, rate: 1.0, burst: 1 }).is_none());
    }
}
