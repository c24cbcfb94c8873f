//! The rate limiter of one core.

use std::sync::Arc;

use super::charge::LimitedRequest;
use super::memory::MemoryLimiter;
use super::permit::{Denied, Permit};
use super::shared::SharedLimiter;
use crate::config::RateLimit;

/// The rate limiter of one core.
pub enum Limiter {
    /// There are no buckets: every request is admitted.
    Off,
    /// The buckets are in this process.
    Memory(Arc<MemoryLimiter>),
    /// The buckets are in Redis.
    Shared(SharedLimiter),
}

impl Limiter {
    /// Whether nothing is limited.
    pub fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Whether this core knows, without a wait and without a charge, that the request would be denied now.
    pub fn is_known_empty(&self, request: &LimitedRequest<'_>, global: &RateLimit) -> bool {
        match self {
            Self::Off => false,
            Self::Memory(limiter) => {
                let charges = request.charges(global);
                charges.known_denied().is_some() || limiter.would_deny(&charges)
            }
            Self::Shared(limiter) => limiter.is_known_empty(|| request.charges(global)),
        }
    }

    /// Charges all buckets of a request, or none of them.
    ///
    /// It may wait for Redis. For buckets in this process it never waits.
    ///
    /// # Errors
    /// [`Denied`] if one of the buckets does not have enough tokens, or if no store could decide.
    pub async fn charge(&self, request: &LimitedRequest<'_>, global: &RateLimit) -> Result<Permit, Denied> {
        if matches!(self, Self::Off) {
            return Ok(Permit::unlimited());
        }
        let charges = request.charges(global);
        if charges.all().is_empty() {
            return Ok(Permit::unlimited());
        }
        if let Some(decision) = charges.known_denied() {
            return charges.decide(decision).map_err(Denied::Limited);
        }
        match self {
            Self::Off => Ok(Permit::unlimited()),
            Self::Memory(limiter) => charges.decide(limiter.charge(&charges)).map_err(Denied::Limited),
            Self::Shared(limiter) => limiter.charge(&charges).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::super::testing::{global, request};
    use super::super::{Client, Store};
    use super::*;
    use crate::config::LimitStore;
    use crate::limits::RETRY_AFTER_MAX_S;

    /// A local limiter answers without waiting.
    fn charge(limiter: &Limiter, limit: &RateLimit, user: &str) -> Result<Permit, Denied> {
        match pin!(limiter.charge(&request(Client::User(user)), limit))
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("a local limiter waited"),
        }
    }

    /// A limiter that keeps its buckets in this process, or none.
    fn local(limit: &RateLimit) -> Limiter {
        Store::new(limit).limiter(limit, None, &Arc::default())
    }

    #[test]
    fn off_lets_everything_pass() {
        let limit = RateLimit { store: LimitStore::Off, ..global("0", 1) };
        let limiter = local(&limit);
        for _ in 0..100 {
            assert!(charge(&limiter, &limit, "a").unwrap().quota().is_none());
        }
    }

    #[test]
    fn a_bucket_is_one_for_every_clone() {
        let limit = global("0.001", 2);
        let store = Store::new(&limit);
        let core = || store.limiter(&limit, None, &Arc::default());
        let (limiter, other_core) = (core(), core());
        assert_eq!(
            charge(&limiter, &limit, "a").unwrap().quota().map(|q| (q.limit, q.remaining)),
            Some((2, 1))
        );
        assert!(charge(&other_core, &limit, "a").is_ok());
        let Err(Denied::Limited(limited)) = charge(&limiter, &limit, "a") else {
            panic!("a third one passed")
        };
        assert!((990..=1000).contains(&limited.retry_after_s()), "{limited:?}");
        assert!((1990..=2000).contains(&limited.quota.reset_s()), "{limited:?}");
        assert!(charge(&limiter, &limit, "b").is_ok());
        store.tidy();
        assert!(charge(&limiter, &limit, "a").is_err(), "tidying must not refill a bucket");
    }

    #[test]
    fn nothing_passes_a_rate_of_zero() {
        let limit = global("0", 20);
        let limiter = local(&limit);
        let Err(Denied::Limited(limited)) = charge(&limiter, &limit, "a") else { panic!("one passed") };
        assert_eq!(
            (limited.retry_after_s(), limited.quota.reset_s()),
            (RETRY_AFTER_MAX_S, RETRY_AFTER_MAX_S)
        );
    }
}
