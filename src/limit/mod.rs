//! May they: tokens from every bucket that applies, before a request costs anything more.

pub mod arithmetic;
pub mod bucket;
pub mod draw;
mod known_empty;
mod metrics;
pub mod memory;
pub mod shared;
#[cfg(test)]
mod testing;

use std::rc::Rc;
use std::sync::Arc;

pub use arithmetic::{Decision, Limit};
pub use bucket::{Bucket, Client, KeyBuf};
pub use draw::{Ask, Draw, Draws};
pub use memory::MemoryLimiter;
pub use metrics::LimitMetrics;
pub use shared::SharedLimiter;

use crate::config::{LimitStore, RateLimit};
use crate::limits::RETRY_AFTER_MAX_S;
use crate::redis::Redis;

/// What Redis runs: `arithmetic` in Lua.
pub const SCRIPT: &str = include_str!("bucket.lua");

/// Who keeps the buckets, for the whole process; cloning is cheap.
#[derive(Debug, Clone)]
pub enum Store {
    /// Nobody: everything passes.
    Off,
    /// This process: one limiter for all cores.
    Memory(Arc<MemoryLimiter>),
    /// Redis; and the process's own buckets, for when it is out of reach and the operator wants that.
    Redis(Arc<MemoryLimiter>),
}

/// A core's own way to the buckets.
pub enum Limiter {
    /// Nobody keeps any.
    Off,
    /// This process does.
    Memory(Arc<MemoryLimiter>),
    /// Redis does.
    Shared(SharedLimiter),
}

/// Evidence that the limiter let a request pass. Only this module makes one.
#[derive(Debug)]
#[must_use = "a permit is what forwarding asks for"]
pub struct Permit(Option<Quota>);

/// What a client may know of its tightest limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Tokens in a full bucket.
    pub limit: u32,
    /// Whole tokens left.
    pub remaining: u32,
    /// Until the bucket is full.
    pub full_us: u64,
}

/// A bucket is empty: 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Until the same request would pass.
    pub wait_us: u64,
    /// The bucket.
    pub quota: Quota,
}

/// Why a request does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A bucket is empty.
    Limited(Limited),
    /// Nobody could tell, and the operator wants such requests refused: 503.
    Unavailable,
}

impl Store {
    /// The store of a configuration.
    pub fn new(limit: &RateLimit) -> Self {
        match limit.store {
            LimitStore::Off => Self::Off,
            LimitStore::Memory => Self::Memory(Arc::default()),
            LimitStore::Redis => Self::Redis(Arc::default()),
        }
    }

    /// One core's way to it. `redis`: the core's connection, if the store is there.
    pub fn limiter(
        &self,
        limit: &RateLimit,
        redis: Option<Rc<Redis>>,
        metrics: &Arc<LimitMetrics>,
    ) -> Limiter {
        match (self, redis) {
            (Self::Memory(memory), _) => Limiter::Memory(memory.clone()),
            (Self::Redis(memory), Some(redis)) => {
                let (memory, metrics) = (memory.clone(), metrics.clone());
                Limiter::Shared(SharedLimiter::new(redis, limit.on_failure, memory, metrics))
            }
            (Self::Off, _) | (Self::Redis(_), None) => Limiter::Off,
        }
    }

    /// Forgets buckets that are full again: for the control thread, every ten seconds or so, so that no core
    /// ever has to.
    pub fn tidy(&self) {
        match self {
            Self::Off => {}
            Self::Memory(memory) | Self::Redis(memory) => memory.tidy(),
        }
    }
}

impl Limiter {
    /// Takes what the request costs from all of its buckets, or from none.
    ///
    /// It may wait, for a store that is shared between instances; those of this process never do.
    ///
    /// # Errors
    /// [`Refused`] if one of them has not enough.
    pub async fn take(&self, ask: &Ask<'_>, global: &RateLimit) -> Result<Permit, Refused> {
        if matches!(self, Self::Off) {
            return Ok(Permit::unlimited());
        }
        let draws = ask.draws(global);
        if draws.all().is_empty() {
            return Ok(Permit::unlimited());
        }
        if let Some(decision) = draws.foregone() {
            return draws.settle(decision).map_err(Refused::Limited);
        }
        match self {
            Self::Off => Ok(Permit::unlimited()),
            Self::Memory(limiter) => draws.settle(limiter.take(&draws)).map_err(Refused::Limited),
            Self::Shared(limiter) => limiter.take(&draws).await,
        }
    }
}

impl Permit {
    /// A request that nobody counted.
    fn unlimited() -> Self {
        Self(None)
    }

    /// What the client may know; `None` if nobody counted.
    pub fn quota(&self) -> Option<Quota> {
        self.0
    }
}

impl Quota {
    /// Whole seconds until the bucket is full, rounded up: the value of `RateLimit-Reset`. Where it never fills,
    /// [`RETRY_AFTER_MAX_S`].
    pub fn reset_s(&self) -> u64 {
        match self.full_us {
            arithmetic::NEVER_US => RETRY_AFTER_MAX_S,
            full_us => full_us.div_ceil(1_000_000),
        }
    }
}

impl Limited {
    /// Whole seconds until the same request would pass, rounded up, from 1 to [`RETRY_AFTER_MAX_S`]: the value
    /// of `Retry-After`.
    pub fn retry_after_s(&self) -> u64 {
        self.wait_us.div_ceil(1_000_000).clamp(1, RETRY_AFTER_MAX_S)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{ask, global};
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// A local limiter answers without waiting.
    fn take(limiter: &Limiter, limit: &RateLimit, user: &str) -> Result<Permit, Refused> {
        match pin!(limiter.take(&ask(Client::User(user)), limit))
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
            assert!(take(&limiter, &limit, "a").unwrap().quota().is_none());
        }
    }

    #[test]
    fn a_bucket_is_one_for_every_clone() {
        let limit = global("0.001", 2);
        let store = Store::new(&limit);
        let core = || store.limiter(&limit, None, &Arc::default());
        let (limiter, other_core) = (core(), core());
        assert_eq!(
            take(&limiter, &limit, "a").unwrap().quota().map(|q| (q.limit, q.remaining)),
            Some((2, 1))
        );
        assert!(take(&other_core, &limit, "a").is_ok());
        let Err(Refused::Limited(limited)) = take(&limiter, &limit, "a") else {
            panic!("a third one passed")
        };
        assert!((990..=1000).contains(&limited.retry_after_s()), "{limited:?}");
        assert!((1990..=2000).contains(&limited.quota.reset_s()), "{limited:?}");
        assert!(take(&limiter, &limit, "b").is_ok());
        store.tidy();
        assert!(take(&limiter, &limit, "a").is_err(), "tidying must not refill a bucket");
    }

    #[test]
    fn nothing_passes_a_rate_of_zero() {
        let limit = global("0", 20);
        let limiter = local(&limit);
        let Err(Refused::Limited(limited)) = take(&limiter, &limit, "a") else { panic!("one passed") };
        assert_eq!(
            (limited.retry_after_s(), limited.quota.reset_s()),
            (RETRY_AFTER_MAX_S, RETRY_AFTER_MAX_S)
        );
    }

    #[test]
    fn seconds_are_rounded_up_and_bounded() {
        let quota = Quota { limit: 1, remaining: 0, full_us: 1_000_001 };
        assert_eq!(quota.reset_s(), 2);
        for (wait_us, seconds) in [(0, 1), (1, 1), (1_000_000, 1), (1_000_001, 2), (u64::MAX, 3600)] {
            assert_eq!(Limited { wait_us, quota }.retry_after_s(), seconds, "{wait_us}");
        }
    }
}
