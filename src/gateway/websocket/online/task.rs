//! The task that tells Redis what has been noted: places first, then events. Its ticker begins it, and it ends when
//! there is nothing more to tell, or when it has told enough for a tick.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use super::attend::{Place, Wanted, ask};
use super::event::Values;
use super::{EVENTS, Leave, Online, SocketId};
use crate::clock;
use crate::config;
use crate::gateway::core::Core;
use crate::limits::{
    ATTENDANCE_CALLS_AT_ONCE, ATTENDANCE_ROUNDS_PER_TICK, EVENT_CALLS_PER_TICK, EVENTS_PER_CALL,
    LAPSED_PER_CALL, ONLINE_FINISH_MS, ONLINE_LOG_MS, ONLINE_RETRY_MS,
};
use crate::redis::{Arg, Redis, Unavailable};

/// A core's ticker has come round: begins the task if there is something to tell.
pub fn tick(core: &Rc<Core>) {
    let online = &core.resources.online;
    let settings = online.settings.borrow();
    if !settings.is_on() {
        return;
    }
    online.instance.take_replaced(online.core).iter().for_each(|id| online.end_replaced(id));
    online.metrics.sockets.set(online.ledger.borrow().sockets() as u64);
    online.metrics.events_queued.set(online.outbox.borrow().len() as u64);
    let now_ms = clock::now_ms();
    // Of a cluster some nodes may answer.
    let may_ask = core.snapshot.redis.as_ref().is_some_and(|redis| redis.is_cluster() || !redis.is_open());
    if may_ask && !online.is_busy.get() && now_ms >= online.rests_until_ms.get() && online.is_due(now_ms) {
        online.is_busy.set(true);
        monoio::spawn(work(core.clone()));
    }
}

/// The core ends: its last leaves and events go out, for a bounded time.
pub async fn finish(core: &Rc<Core>) {
    let online = &core.resources.online;
    let deadline_ms = clock::now_ms() + ONLINE_FINISH_MS;
    while online.settings().is_on() && online.has_told_all().is_none() && clock::now_ms() < deadline_ms {
        tick(core);
        monoio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

async fn work(core: Rc<Core>) {
    let online = &core.resources.online;
    if let Some(redis) = &core.snapshot.redis
        && let Err(why) = online.tell_redis(redis, &core).await
    {
        online.metrics.failures.add(1);
        if !redis.is_cluster() {
            online.rests_until_ms.set(clock::now_ms() + ONLINE_RETRY_MS);
        }
        if why == Unavailable::Refused {
            online.log_refusal(redis);
        }
    }
    online.is_busy.set(false);
}

impl Online {
    fn is_due(&self, now_ms: u64) -> bool {
        let is_event = || !self.outbox.borrow().is_empty() || self.is_sweep_due(now_ms);
        !self.leaves.borrow().is_empty() || self.ledger.borrow().is_due(now_ms) || is_event()
    }

    /// `None`: something is still to be told.
    fn has_told_all(&self) -> Option<()> {
        let is_all = self.leaves.borrow().is_empty() && self.outbox.borrow().is_empty();
        (is_all && !self.is_busy.get()).then_some(())
    }

    /// The set of those online is looked through some times in a lease, also when nothing happens.
    fn is_sweep_due(&self, now_ms: u64) -> bool {
        let has_events = self.settings.borrow().events.is_some();
        has_events && now_ms.saturating_sub(self.swept_ms.get()) >= self.lease_ms() / SWEEPS_PER_LEASE
    }

    async fn tell_redis(&self, redis: &Redis, core: &Core) -> Result<(), Unavailable> {
        let (settings, mut told) = (self.settings(), Ok(()));
        for _ in 0..ATTENDANCE_ROUNDS_PER_TICK {
            let leaves: Vec<Leave> = {
                let mut leaves = self.leaves.borrow_mut();
                let count = leaves.len().min(ATTENDANCE_CALLS_AT_ONCE);
                leaves.drain(..count).collect()
            };
            told = told.and(self.give_all_back(redis, &settings, leaves).await);
            let renewed = self.renew(redis, &settings, core).await;
            told = told.and(renewed.map(drop));
            // One server that does not answer has its rest; of a cluster the other nodes go on.
            if told.is_err() && !redis.is_cluster() {
                return told;
            }
            if renewed != Ok(true) && self.leaves.borrow().is_empty() {
                break;
            }
        }
        told.and(self.tell_events(redis, &settings).await)
    }

    async fn give_all_back(
        &self,
        redis: &Redis,
        settings: &config::Online,
        leaves: Vec<Leave>,
    ) -> Result<(), Unavailable> {
        let calls = leaves.iter().map(|leave| ask(redis, settings, Wanted::Leave, leave.id, &leave.user));
        let places = all(calls).await;
        let mut failed = Ok(());
        for (leave, place) in leaves.into_iter().zip(places) {
            match place {
                Ok(place) => self.is_out(&leave, place),
                // Once more: to leave twice is to leave.
                Err(why) => {
                    failed = Err(why);
                    self.give_back(leave);
                }
            }
        }
        failed
    }

    /// Renews leases that are due. False: none is.
    async fn renew(
        &self,
        redis: &Redis,
        settings: &config::Online,
        core: &Core,
    ) -> Result<bool, Unavailable> {
        let now_ms = clock::now_ms();
        // Between four fifths and the whole of a third of the lease: what was opened at once is not renewed at once.
        let third_ms = self.lease_ms() / 3;
        let next_ms = || now_ms + third_ms - core.resources.ids.next_word() % (third_ms / 5 + 1);
        let due = self.ledger.borrow_mut().take_due(now_ms, ATTENDANCE_CALLS_AT_ONCE, next_ms);
        let calls = due.iter().map(|(id, user)| ask(redis, settings, Wanted::Renew, *id, user));
        let places = all(calls).await;
        let mut failed = Ok(!due.is_empty());
        for ((id, user), place) in due.iter().zip(places) {
            match place {
                Ok(place) => self.is_renewed(id, user, place),
                Err(why) => {
                    failed = Err(why);
                    self.ledger.borrow_mut().defer(id, clock::now_ms() + ONLINE_RETRY_MS);
                }
            }
        }
        failed
    }

    fn is_renewed(&self, id: &SocketId, user: &Rc<str>, place: Place) {
        match (place.is_in, self.ledger.borrow().get(id).is_some()) {
            (true, true) => self.is_in(user, place),
            // It has closed meanwhile. Its leave follows, and finds what this has written.
            (true, false) => {}
            (false, _) => self.end_replaced(id),
        }
    }

    async fn tell_events(&self, redis: &Redis, settings: &config::Online) -> Result<(), Unavailable> {
        let Some(stream) = &settings.events else { return Ok(()) };
        let online_key = stream.online_key();
        for _ in 0..EVENT_CALLS_PER_TICK {
            let now_ms = clock::now_ms();
            let (mut values, me) = (Values::default(), (self.instance.number, self.core as u32));
            let count = {
                let mut outbox = self.outbox.borrow_mut();
                let events = outbox.next(clock::unix_us());
                let count = events.len();
                events.for_each(|event| values.push(event, me));
                count
            };
            if count == 0 && !self.is_sweep_due(now_ms) {
                break;
            }
            let lease_us = settings.lease.as_micros() as u64;
            let numbers = [settings.events_max, lease_us, LAPSED_PER_CALL].map(Arg::Number);
            let keys = [stream.0.as_bytes(), online_key.as_bytes()];
            let reply = redis.call_script(EVENTS, clock::now_us(), |call| {
                call.write_args(&keys, numbers.into_iter().chain(values.each().map(Arg::Bytes)));
            });
            let [written] = reply.await?;
            self.swept_ms.set(now_ms);
            self.outbox.borrow_mut().written(count);
            self.metrics.events.add(u64::try_from(written).unwrap_or(0));
            if count < EVENTS_PER_CALL {
                break;
            }
        }
        Ok(())
    }

    /// Tells the operator what Redis has said, now and then.
    fn log_refusal(&self, redis: &Redis) {
        let (said, now_ms) = (redis.take_refusal().unwrap_or_default(), clock::now_ms());
        if self.told_ms.get().is_none_or(|told_ms| now_ms - told_ms >= ONLINE_LOG_MS) {
            self.told_ms.set(Some(now_ms));
            tracing::warn!(%said, "Redis refuses what it is told of WebSockets: is the access list right?");
        }
    }
}

/// The outputs of all futures, polled together: their commands leave in one write.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut is_over = true;
        for (future, output) in futures.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(done) => *output = Some(done),
                Poll::Pending => is_over = false,
            }
        }
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// How often in a lease the set of those online is looked through.
const SWEEPS_PER_LEASE: u64 = 6;
