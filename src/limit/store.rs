//! Where the token buckets of the process are kept.

use std::rc::Rc;
use std::sync::Arc;

use super::limiter::Limiter;
use super::memory::MemoryLimiter;
use super::metrics::LimitMetrics;
use super::shared::SharedLimiter;
use crate::config::{LimitStore, RateLimit};
use crate::redis::Redis;

/// The store of the buckets, for the whole process. Cloning is cheap.
#[derive(Debug, Clone)]
pub enum Store {
    /// There are no buckets: every request is admitted.
    Off,
    /// The buckets are in this process, in one map for all cores.
    Memory(Arc<MemoryLimiter>),
    /// The buckets are in Redis. Those of this process are for outages of Redis, if the operator wants that.
    Redis(Arc<MemoryLimiter>),
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

    /// The limiter of one core. `redis`: the core's connection, if the buckets are in Redis.
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

    /// Removes buckets that are full again. The control thread calls it about every ten seconds, so a core hardly ever
    /// has to.
    pub fn tidy(&self) {
        match self {
            Self::Off => {}
            Self::Memory(memory) | Self::Redis(memory) => memory.tidy(),
        }
    }
}
