//! Decisions about buckets that are in several slots of a Redis cluster: one call for each slot, side by side.
//!
//! All have to admit the request. If one refuses, the tokens that the others have taken are given back, so no more is
//! admitted than by the strictest limit. In between another request may find a bucket emptier than it should be.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use super::arithmetic::Decision;
use super::bucket::KeyBuf;
use super::charge::Charges;
use super::parts::{Part, merged};
use super::permit::{Denied, Permit};
use super::shared::{SharedLimiter, write_call};
use crate::clock;
use crate::config::OnRedisFailure;
use crate::redis::{Arg, OutageMetrics, Unavailable};

/// What has become of one part.
type Answer = Result<Decision, Unavailable>;

impl SharedLimiter {
    /// Charges all buckets of a request, or none of them.
    pub(super) async fn charge_apart(&self, charges: &Charges<'_>) -> Result<Permit, Denied> {
        let asked_us = clock::now_us();
        let mut parts = Part::by_slot(charges);
        let mut answers = self.ask_each(&parts, asked_us).await;
        if answers.contains(&Err(Unavailable::Apart)) {
            // A slot moves, and its keys are on two nodes: each alone can be asked about.
            let moving = |nth: usize| answers[nth] == Err(Unavailable::Apart);
            let singly: Vec<Part<'_>> =
                (0..parts.len()).filter(|nth| moving(*nth)).flat_map(|nth| parts[nth].singly()).collect();
            let answered = self.ask_each(&singly, asked_us).await;
            let mut stays = answers.iter().map(|answer| *answer != Err(Unavailable::Apart));
            parts.retain(|_| stays.next().unwrap_or(true));
            answers.retain(|answer| *answer != Err(Unavailable::Apart));
            parts.extend(singly);
            answers.extend(answered);
        }
        self.conclude(charges, &parts, &answers, asked_us)
    }

    /// Asks about each part, about all of them at once.
    async fn ask_each(&self, parts: &[Part<'_>], asked_us: u64) -> Vec<Answer> {
        if let [part] = parts {
            return vec![self.ask(part, asked_us).await];
        }
        all(parts.iter().map(|part| Box::pin(self.ask(part, asked_us)) as _).collect()).await
    }

    async fn ask(&self, part: &Part<'_>, asked_us: u64) -> Answer {
        let charges = &part.charges;
        let reply = self.redis.call(asked_us, |call| write_call(charges, call)).await?;
        // An answer of another form counts as no answer.
        Decision::from_reply(reply).ok_or(Unavailable::Open)
    }

    /// The decision that follows from those about the parts.
    fn conclude(
        &self,
        charges: &Charges<'_>,
        parts: &[Part<'_>],
        answers: &[Answer],
        asked_us: u64,
    ) -> Result<Permit, Denied> {
        let each = || parts.iter().zip(answers);
        for (part, answer) in each() {
            if let Ok(decision) = answer
                && !decision.is_admitted
            {
                self.remember(&part.charges, *decision, asked_us);
            }
        }
        let decided = || each().filter_map(|(part, answer)| Some(part.of_request((*answer).ok()?)));
        let mut decision = merged(decided());
        if decision.is_some_and(|decision| !decision.is_admitted) {
            self.metrics.refused.add(1);
        } else {
            let mut first = true;
            for (part, answer) in each() {
                let Err(why) = answer else { continue };
                match self.undecided(part, *why, std::mem::take(&mut first)) {
                    Ok(None) => {}
                    Ok(Some(own)) => decision = merged(decision.into_iter().chain([own])),
                    Err(denied) => {
                        self.give_back(parts, answers);
                        return Err(denied);
                    }
                }
            }
            self.metrics.admitted.add(u64::from(answers.iter().all(Result::is_ok)));
        }
        match decision {
            Some(decision) => {
                if !decision.is_admitted {
                    self.give_back(parts, answers);
                }
                charges.decide(decision).map_err(Denied::Limited)
            }
            None => Ok(Permit::unlimited()),
        }
    }

    /// What becomes of a part that Redis has not decided: `None` lets the request pass. `is_first`: no other part of
    /// the request was counted.
    fn undecided(
        &self,
        part: &Part<'_>,
        why: Unavailable,
        is_first: bool,
    ) -> Result<Option<Decision>, Denied> {
        if matches!(why, Unavailable::Unsent | Unavailable::QueueFull) {
            let decision =
                self.known_empty(&part.charges).unwrap_or_else(|| self.memory.charge(&part.charges));
            match decision.is_admitted {
                true => self.metrics.admitted_unasked.add(u64::from(is_first)),
                false => self.metrics.refused_unasked.add(1),
            }
            return Ok(Some(part.of_request(decision)));
        }
        let own = (self.on_failure == OnRedisFailure::Memory).then(|| self.memory.charge(&part.charges));
        let count = |outage: &OutageMetrics| match (self.on_failure, own) {
            (_, Some(own)) if own.is_admitted => outage.admitted_by_memory.add(1),
            (_, Some(_)) => outage.refused_by_memory.add(1),
            (OnRedisFailure::Closed, None) => {}
            _ if why == Unavailable::TimedOut => outage.unlimited_timeout.add(1),
            _ => outage.unlimited_breaker.add(1),
        };
        if is_first {
            count(self.redis.outage());
        }
        self.redis.count_undecided(part.key(&mut KeyBuf::default()), count);
        match self.on_failure {
            OnRedisFailure::Closed => Err(Denied::Unavailable),
            OnRedisFailure::Open | OnRedisFailure::Memory => Ok(own.map(|own| part.of_request(own))),
        }
    }

    /// Gives back the tokens of the parts that have admitted a request which is refused. Nobody waits for it: a bucket
    /// that does not get its tokens back is filled by time.
    fn give_back(&self, parts: &[Part<'_>], answers: &[Answer]) {
        for (part, answer) in parts.iter().zip(answers) {
            if !answer.is_ok_and(|decision| decision.is_admitted) {
                continue;
            }
            self.metrics.given_back.add(1);
            let redis = self.redis.clone();
            let (mut keys, mut args) = (Vec::new(), Vec::<String>::new());
            for charge in part.charges.all() {
                keys.push(charge.bucket.key(part.charges.prefix(), &mut KeyBuf::default()).to_vec());
                // The script takes a negative cost as it takes any other, and cuts a level to the capacity when it
                // reads it next.
                args.extend(
                    [charge.limit.units_per_us, charge.limit.capacity].map(|number| number.to_string()),
                );
                args.push(format!("-{}", charge.limit.cost));
            }
            monoio::spawn(async move {
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let _: Result<[i64; 5], Unavailable> =
                    redis.call(clock::now_us(), |call| call.write_args(&keys, texts(&args))).await;
            });
        }
    }
}

fn texts(args: &[String]) -> impl Iterator<Item = Arg<'_>> {
    args.iter().map(|text| Arg::Bytes(text.as_bytes()))
}

/// Waits for all futures, side by side.
async fn all<T>(futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|context| {
        for (future, output) in &mut waiting {
            if let Some(pending) = future
                && let Poll::Ready(ready) = pending.as_mut().poll(context)
            {
                (*future, *output) = (None, Some(ready));
            }
        }
        if waiting.iter().all(|(future, _)| future.is_none()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}
