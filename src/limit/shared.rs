//! Buckets in Redis, the same for every core and every instance; and what happens when nobody can ask them.

use std::array;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::bucket::KeyBuf;
use super::known_empty::KnownEmpty;
use super::metrics::LimitMetrics;
use super::{Decision, Draws, MemoryLimiter, Permit, Refused};
use crate::clock;
use crate::config::OnRedisFailure;
use crate::limits::ROUTE_LIMITS_MAX;
use crate::redis::breaker::State;
use crate::redis::{Put, Redis, Unavailable};

/// One core's way to the buckets in Redis.
pub struct SharedLimiter {
    redis: Rc<Redis>,
    empty: RefCell<KnownEmpty>,
    /// The connection over which that was learnt.
    learnt_over: Cell<u64>,
    on_failure: OnRedisFailure,
    /// For `RATE_LIMIT_ON_REDIS_FAILURE=memory`: the process's own buckets.
    memory: Arc<MemoryLimiter>,
    metrics: Arc<LimitMetrics>,
}

impl SharedLimiter {
    /// A limiter on the core's connection.
    pub fn new(
        redis: Rc<Redis>,
        on_failure: OnRedisFailure,
        memory: Arc<MemoryLimiter>,
        metrics: Arc<LimitMetrics>,
    ) -> SharedLimiter {
        SharedLimiter {
            redis,
            empty: RefCell::default(),
            learnt_over: Cell::new(0),
            on_failure,
            memory,
            metrics,
        }
    }

    /// Takes what a request costs from all of its buckets in one round trip, or from none.
    ///
    /// # Errors
    /// [`Refused::Limited`] if a bucket has not enough; [`Refused::Unavailable`] if Redis cannot be asked and
    /// the operator wants such requests refused.
    pub async fn take(&self, draws: &Draws<'_>) -> Result<Permit, Refused> {
        if let Some(decision) = self.known_empty(draws) {
            self.metrics.refused_locally.add(1);
            return draws.settle(decision).map_err(Refused::Limited);
        }
        // Redis decides after this moment, so what it says of its own clock holds from here on at the latest.
        let asked_us = clock::now_us();
        let reply = self.redis.call_with(asked_us, |put| give(draws, put)).await;
        match reply.map(Decision::from_reply) {
            Ok(Some(decision)) => self.decided(draws, decision, asked_us),
            // An answer that says nothing is as good as none.
            Ok(None) => self.unasked(draws, Unavailable::Open),
            Err(why) => self.unasked(draws, why),
        }
    }

    /// What an earlier refusal says about this request, as long as Redis would say the same.
    fn known_empty(&self, draws: &Draws<'_>) -> Option<Decision> {
        let empty = self.empty.borrow();
        if empty.is_empty() || !self.is_learnt_here() {
            return None;
        }
        let now_us = clock::now_us();
        let mut buffer = KeyBuf::default();
        let mut tightest: Option<Decision> = None;
        for (place, draw) in draws.all().iter().enumerate() {
            let key = draw.bucket.key(draws.prefix(), &mut buffer);
            let Some(decision) = empty.look(key, draw.limit, place, now_us) else { continue };
            // As the script says it: the longest wait, and the first of equals.
            if tightest.is_none_or(|tightest| decision.wait_us > tightest.wait_us) {
                tightest = Some(decision);
            }
        }
        tightest
    }

    /// What was learnt over another connection may be news of a Redis that has lost its buckets since.
    fn is_learnt_here(&self) -> bool {
        self.redis.state() == State::Closed && self.redis.generation() == self.learnt_over.get()
    }

    fn decided(&self, draws: &Draws<'_>, decision: Decision, asked_us: u64) -> Result<Permit, Refused> {
        if decision.is_admitted {
            self.metrics.admitted.add(1);
        } else {
            self.metrics.refused.add(1);
            if let Some(draw) = draws.all().get(decision.tightest) {
                let mut buffer = KeyBuf::default();
                let key = draw.bucket.key(draws.prefix(), &mut buffer);
                let mut empty = self.empty.borrow_mut();
                if !self.is_learnt_here() {
                    empty.clear();
                    self.learnt_over.set(self.redis.generation());
                }
                empty.remember(key, draw.limit, decision, asked_us);
            }
        }
        draws.settle(decision).map_err(Refused::Limited)
    }

    fn unasked(&self, draws: &Draws<'_>, why: Unavailable) -> Result<Permit, Refused> {
        // Redis may come back without its buckets, and then knows better than we do.
        self.empty.borrow_mut().clear();
        match self.on_failure {
            OnRedisFailure::Closed => return Err(Refused::Unavailable),
            OnRedisFailure::Memory => {
                let decision = self.memory.take(draws);
                match decision.is_admitted {
                    true => self.redis.outage().admitted_by_memory.add(1),
                    false => self.redis.outage().refused_by_memory.add(1),
                }
                return draws.settle(decision).map_err(Refused::Limited);
            }
            OnRedisFailure::Open => {}
        }
        match why {
            Unavailable::Open => self.redis.outage().unlimited_breaker.add(1),
            Unavailable::TimedOut => self.redis.outage().unlimited_timeout.add(1),
            Unavailable::QueueFull => self.redis.outage().unlimited_queue.add(1),
        }
        Ok(Permit::unlimited())
    }
}

/// Keys and arguments of the script: `bucket.lua` says their order.
fn give(draws: &Draws<'_>, put: &mut Put<'_>) {
    let mut buffers: [KeyBuf; DRAWS_MAX] = array::from_fn(|_| KeyBuf::default());
    let mut keys: [&[u8]; DRAWS_MAX] = [&[]; DRAWS_MAX];
    let mut args = [0; DRAWS_MAX * 3];
    let all = draws.all();
    for (nth, ((draw, buffer), key)) in all.iter().zip(&mut buffers).zip(&mut keys).enumerate() {
        *key = draw.bucket.key(draws.prefix(), buffer);
        let limit = draw.limit;
        args[nth * 3..][..3].copy_from_slice(&[limit.units_per_us, limit.capacity, limit.cost]);
    }
    put(&keys[..all.len()], &args[..all.len() * 3]);
}

const DRAWS_MAX: usize = 1 + ROUTE_LIMITS_MAX;
