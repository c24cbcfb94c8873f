//! Token buckets in Redis, shared by all cores and instances; and what happens to a request when Redis cannot decide.

use std::array;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::arithmetic::Decision;
use super::bucket::KeyBuf;
use super::charge::Charges;
use super::known_empty::KnownEmpty;
use super::memory::MemoryLimiter;
use super::metrics::LimitMetrics;
use super::permit::{Denied, Permit};
use crate::clock;
use crate::config::OnRedisFailure;
use crate::limits::ROUTE_LIMITS_MAX;
use crate::redis::{CallWriter, OutageMetrics, Redis, Unavailable};

/// One core's limiter over the buckets in Redis.
pub struct SharedLimiter {
    pub(super) redis: Rc<Redis>,
    empty: RefCell<KnownEmpty>,
    pub(super) on_failure: OnRedisFailure,
    /// The buckets of this process, for what this core cannot ask in time and for
    /// `RATE_LIMIT_ON_REDIS_FAILURE=memory`.
    pub(super) memory: Arc<MemoryLimiter>,
    pub(super) metrics: Arc<LimitMetrics>,
}

impl SharedLimiter {
    /// A limiter on the core's connection.
    pub fn new(
        redis: Rc<Redis>,
        on_failure: OnRedisFailure,
        memory: Arc<MemoryLimiter>,
        metrics: Arc<LimitMetrics>,
    ) -> SharedLimiter {
        SharedLimiter { redis, empty: RefCell::default(), on_failure, memory, metrics }
    }

    /// Charges all buckets of a request in one round trip, or none of them. In a cluster that is one call for each
    /// slot, side by side.
    ///
    /// # Errors
    /// [`Denied::Limited`] if a bucket does not have enough tokens; [`Denied::Unavailable`] if Redis does not decide
    /// and the operator wants such requests denied.
    pub async fn charge(&self, charges: &Charges<'_>) -> Result<Permit, Denied> {
        if let Some(decision) = self.known_empty(charges) {
            self.metrics.refused_locally.add(1);
            return charges.decide(decision).map_err(Denied::Limited);
        }
        if self.redis.is_cluster() {
            return Box::pin(self.charge_apart(charges)).await;
        }
        // Redis decides after this moment, so a bucket that it finds empty stays empty at least as long from here.
        let asked_us = clock::now_us();
        let reply = self.redis.call(asked_us, |call| write_call(charges, call)).await;
        match reply.map(Decision::from_reply) {
            Ok(Some(decision)) => self.on_decision(charges, decision, asked_us),
            // An answer of another form counts as no answer.
            Ok(None) => self.without_redis(charges, Outage::NotAsked),
            Err(Unavailable::Open | Unavailable::Refused | Unavailable::Apart) => {
                self.without_redis(charges, Outage::NotAsked)
            }
            Err(Unavailable::TimedOut) => self.without_redis(charges, Outage::Late),
            Err(Unavailable::Unsent | Unavailable::QueueFull) => self.without_asking(charges),
        }
    }

    /// Whether a denial follows from an earlier one.
    pub fn is_known_empty<'a>(&self, charges: impl FnOnce() -> Charges<'a>) -> bool {
        !self.empty.borrow().is_empty() && self.known_empty(&charges()).is_some()
    }

    /// The denial that follows from an earlier one, as long as Redis would give the same.
    pub(super) fn known_empty(&self, charges: &Charges<'_>) -> Option<Decision> {
        let empty = self.empty.borrow();
        if empty.is_empty() {
            return None;
        }
        let now_us = clock::now_us();
        let mut buffer = KeyBuf::default();
        let mut most_restrictive: Option<Decision> = None;
        for (index, charge) in charges.all().iter().enumerate() {
            let key = charge.bucket.key(charges.prefix(), &mut buffer);
            let asked = (now_us, self.redis.connection_of(key));
            let Some(decision) = empty.denial(key, charge.limit, index, asked) else { continue };
            // As in the script: the longest wait, and the first of equal ones.
            if most_restrictive.is_none_or(|most_restrictive| decision.wait_us > most_restrictive.wait_us) {
                most_restrictive = Some(decision);
            }
        }
        most_restrictive
    }

    fn on_decision(
        &self,
        charges: &Charges<'_>,
        decision: Decision,
        asked_us: u64,
    ) -> Result<Permit, Denied> {
        if decision.is_admitted {
            self.metrics.admitted.add(1);
        } else {
            self.metrics.refused.add(1);
            self.remember(charges, decision, asked_us);
        }
        charges.decide(decision).map_err(Denied::Limited)
    }

    /// Remembers which bucket Redis has found empty.
    pub(super) fn remember(&self, charges: &Charges<'_>, decision: Decision, asked_us: u64) {
        let Some(charge) = charges.all().get(decision.most_restrictive) else { return };
        let mut buffer = KeyBuf::default();
        let key = charge.bucket.key(charges.prefix(), &mut buffer);
        if let Some(connection) = self.redis.connection_of(key) {
            self.empty.borrow_mut().remember(key, charge.limit, decision, (asked_us, connection));
        }
    }

    /// Redis is well, but this core could not ask it. Somebody keeps the core busy, and nobody may get rid of the
    /// limits that way: this process decides, whatever the operator wants for outages. Redis charges such a request
    /// too if its command still leaves.
    fn without_asking(&self, charges: &Charges<'_>) -> Result<Permit, Denied> {
        // Another call may have found the bucket empty in the meantime.
        let decision = self.known_empty(charges).unwrap_or_else(|| self.memory.charge(charges));
        match decision.is_admitted {
            true => self.metrics.admitted_unasked.add(1),
            false => self.metrics.refused_unasked.add(1),
        }
        charges.decide(decision).map_err(Denied::Limited)
    }

    fn without_redis(&self, charges: &Charges<'_>, why: Outage) -> Result<Permit, Denied> {
        match self.on_failure {
            OnRedisFailure::Closed => return Err(Denied::Unavailable),
            OnRedisFailure::Memory => {
                let decision = self.memory.charge(charges);
                match decision.is_admitted {
                    true => self.redis.outage().admitted_by_memory.add(1),
                    false => self.redis.outage().refused_by_memory.add(1),
                }
                return charges.decide(decision).map_err(Denied::Limited);
            }
            OnRedisFailure::Open => {}
        }
        let count = |outage: &OutageMetrics| match why {
            Outage::NotAsked => outage.unlimited_breaker.add(1),
            Outage::Late => outage.unlimited_timeout.add(1),
        };
        count(self.redis.outage());
        if let Some(charge) = charges.all().first() {
            let mut buffer = KeyBuf::default();
            self.redis.count_undecided(charge.bucket.key(charges.prefix(), &mut buffer), count);
        }
        Ok(Permit::unlimited())
    }
}

/// Why Redis has not decided a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// The circuit breaker is open, the connection broke, or the answer was an error.
    NotAsked,
    /// There was no answer in time.
    Late,
}

/// Writes the keys and arguments of the script; `bucket.lua` defines their order.
pub(super) fn write_call(charges: &Charges<'_>, call: CallWriter<'_>) {
    let mut buffers: [KeyBuf; CHARGES_MAX] = array::from_fn(|_| KeyBuf::default());
    let mut keys: [&[u8]; CHARGES_MAX] = [&[]; CHARGES_MAX];
    let mut args = [0; CHARGES_MAX * 3];
    let all = charges.all();
    for (nth, ((charge, buffer), key)) in all.iter().zip(&mut buffers).zip(&mut keys).enumerate() {
        *key = charge.bucket.key(charges.prefix(), buffer);
        let limit = charge.limit;
        args[nth * 3..][..3].copy_from_slice(&[limit.units_per_us, limit.capacity, limit.cost]);
    }
    call.write(&keys[..all.len()], &args[..all.len() * 3]);
}

const CHARGES_MAX: usize = 1 + ROUTE_LIMITS_MAX;
