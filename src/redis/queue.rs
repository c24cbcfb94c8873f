//! Who waits for a reply: slots for the callers, and the order in which Redis will answer.
//!
//! A slot stays taken until its reply has come or the connection is gone, also when its caller has given up:
//! so a late reply meets its own slot, never another caller's.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use crate::limits::{REDIS_INTEGERS_MAX, REDIS_QUEUE_MAX};
use crate::redis::Unavailable;

/// The next reply's addressee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A call, by its slot.
    Call(u32),
    /// The loading of the script.
    Load,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With so many integers, as wanted.
    Answered([i64; REDIS_INTEGERS_MAX]),
    /// Redis does not know the script (any more).
    NoScript,
    /// Not at all.
    Unavailable(Unavailable),
}

/// One attempt at a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    /// Integers wanted.
    pub(super) integers: usize,
    /// Redis did not know the script the first time.
    pub(super) is_second: bool,
    pub(super) asked_us: u64,
    pub(super) deadline_us: u64,
}

/// The calls of one connection.
pub(super) struct Queue {
    slots: Vec<Slot>,
    free: Vec<u32>,
    expected: VecDeque<Expected>,
    /// No caller's deadline is earlier than this; it may be too early, never too late.
    earliest_us: u64,
}

struct Slot {
    ask: Ask,
    caller: Caller,
    /// Its place in the order of replies is still ahead.
    awaits_reply: bool,
}

enum Caller {
    /// None, or no longer.
    Gone,
    Waiting(Option<Waker>),
    /// Has not looked yet.
    Told(Outcome),
}

impl Queue {
    pub(super) fn new() -> Queue {
        Queue { slots: Vec::new(), free: Vec::new(), expected: VecDeque::new(), earliest_us: u64::MAX }
    }

    /// Takes a slot for a call that is about to go out. `None`: the queue is full.
    pub(super) fn push(&mut self, ask: Ask) -> Option<u32> {
        let slot = Slot { ask, caller: Caller::Waiting(None), awaits_reply: true };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None if self.slots.len() < REDIS_QUEUE_MAX => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        self.expected.push_back(Expected::Call(index));
        self.earliest_us = self.earliest_us.min(ask.deadline_us);
        Some(index)
    }

    /// The script is about to be loaded. False: it is being loaded already.
    pub(super) fn push_load(&mut self) -> bool {
        let is_loading = self.expected.contains(&Expected::Load);
        if !is_loading {
            self.expected.push_back(Expected::Load);
        }
        !is_loading
    }

    /// Whom the next reply is for.
    pub(super) fn next(&mut self) -> Option<Expected> {
        let next = self.expected.pop_front()?;
        if let Expected::Call(index) = next {
            self.slots[index as usize].awaits_reply = false;
        }
        Some(next)
    }

    /// The call in a slot.
    pub(super) fn ask(&self, index: u32) -> Ask {
        self.slots[index as usize].ask
    }

    /// Tells the caller. False: nobody waits for it any more.
    pub(super) fn settle(&mut self, index: u32, outcome: Outcome) -> bool {
        let slot = &mut self.slots[index as usize];
        match &mut slot.caller {
            Caller::Waiting(waker) => {
                let waker = waker.take();
                slot.caller = Caller::Told(outcome);
                if let Some(waker) = waker {
                    waker.wake();
                }
                true
            }
            // It was told that time is over, and has not looked yet: the slot is its own until it does.
            Caller::Told(_) => false,
            Caller::Gone => {
                if !slot.awaits_reply {
                    self.free.push(index);
                }
                false
            }
        }
    }

    /// The caller looks.
    pub(super) fn poll(&mut self, index: u32, waker: &Waker) -> Poll<Outcome> {
        match &mut self.slots[index as usize].caller {
            Caller::Told(outcome) => Poll::Ready(*outcome),
            Caller::Waiting(current) => {
                if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
                    *current = Some(waker.clone());
                }
                Poll::Pending
            }
            Caller::Gone => unreachable!("a slot outlives its caller"),
        }
    }

    /// The caller leaves, with or without its outcome.
    pub(super) fn leave(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.caller = Caller::Gone;
        if !slot.awaits_reply {
            self.free.push(index);
        }
    }

    /// When to look for calls whose time is over.
    pub(super) fn earliest_us(&self) -> u64 {
        self.earliest_us
    }

    /// Tells every caller whose time is over; how many those were. A look at all of them: calls that go out a
    /// second time do not stand in the order of their deadlines.
    pub(super) fn expire(&mut self, now_us: u64) -> u32 {
        let (mut expired, mut earliest) = (0, u64::MAX);
        for position in 0..self.expected.len() {
            let Expected::Call(index) = self.expected[position] else { continue };
            let slot = &self.slots[index as usize];
            if !matches!(slot.caller, Caller::Waiting(_)) {
                continue;
            }
            if slot.ask.deadline_us <= now_us {
                self.settle(index, Outcome::Unavailable(Unavailable::TimedOut));
                expired += 1;
            } else {
                earliest = earliest.min(slot.ask.deadline_us);
            }
        }
        self.earliest_us = earliest;
        expired
    }

    /// The connection is gone: nobody waits any longer.
    pub(super) fn release_all(&mut self) {
        while let Some(expected) = self.next() {
            if let Expected::Call(index) = expected {
                self.settle(index, Outcome::Unavailable(Unavailable::Open));
            }
        }
        self.earliest_us = u64::MAX;
    }

    /// Slots that are taken.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Outcome = Outcome::Unavailable(Unavailable::TimedOut);

    fn ask(deadline_us: u64) -> Ask {
        Ask { integers: 1, is_second: false, asked_us: 0, deadline_us }
    }

    fn answer(n: i64) -> Outcome {
        Outcome::Answered([n; REDIS_INTEGERS_MAX])
    }

    fn look(queue: &mut Queue, slot: u32) -> Poll<Outcome> {
        queue.poll(slot, Waker::noop())
    }

    #[test]
    fn a_late_reply_meets_its_own_slot() {
        let mut queue = Queue::new();
        let (first, second) = (queue.push(ask(10)).unwrap(), queue.push(ask(20)).unwrap());
        assert_eq!(queue.expire(10), 1);
        assert_eq!(queue.earliest_us(), 20);
        assert_eq!(look(&mut queue, first), Poll::Ready(LOST));
        queue.leave(first);
        let third = queue.push(ask(30)).unwrap();
        assert!(third != first && queue.len() == 3, "the slot is not free before its reply has come");
        assert_eq!(queue.next(), Some(Expected::Call(first)));
        assert!(!queue.settle(first, answer(1)));
        assert_eq!(queue.next(), Some(Expected::Call(second)));
        assert!(queue.settle(second, answer(2)));
        assert_eq!(look(&mut queue, second), Poll::Ready(answer(2)));
        queue.leave(second);
        assert_eq!(look(&mut queue, third), Poll::Pending);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_reply_between_the_end_of_time_and_the_callers_look_frees_nothing_early() {
        let mut queue = Queue::new();
        let slot = queue.push(ask(10)).unwrap();
        queue.expire(10);
        queue.next();
        assert!(!queue.settle(slot, answer(1)));
        assert_eq!(look(&mut queue, slot), Poll::Ready(LOST));
        assert_eq!(queue.len(), 1);
        queue.leave(slot);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn is_bounded_and_counts_the_abandoned() {
        let mut queue = Queue::new();
        for _ in 0..REDIS_QUEUE_MAX {
            let slot = queue.push(ask(10)).unwrap();
            queue.leave(slot);
        }
        assert_eq!(queue.push(ask(10)), None);
        queue.release_all();
        assert_eq!(queue.len(), 0);
        assert!(queue.push(ask(10)).is_some());
    }

    #[test]
    fn the_script_is_loaded_once_for_all() {
        let mut queue = Queue::new();
        assert!(queue.push_load() && !queue.push_load());
        assert_eq!(queue.next(), Some(Expected::Load));
        assert!(queue.push_load());
    }
}
