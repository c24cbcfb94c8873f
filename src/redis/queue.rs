//! The calls that wait for a reply: a slot for each caller, and the order in which Redis answers.
//!
//! A slot stays taken until its reply has come or the connection is gone, even if its caller has given up. So a late
//! reply is matched with its own slot, never with another caller's.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use super::call::{Call, CallOutcome, Unavailable};
use crate::limits::REDIS_QUEUE_MAX;

/// What the next reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A call, by its slot.
    Call(u32),
    /// The command that loads the script.
    Load,
}

/// The calls of one connection.
pub(super) struct CallQueue {
    slots: Vec<Slot>,
    free: Vec<u32>,
    expected: VecDeque<Expected>,
    /// No call has an earlier deadline. It may be too early, never too late.
    earliest_us: u64,
}

struct Slot {
    call: Call,
    caller: Caller,
    /// The reply has not come yet.
    awaits_reply: bool,
}

enum Caller {
    /// The caller has left, or the slot is free.
    Gone,
    Waiting(Option<Waker>),
    /// The outcome is there; the caller has not fetched it yet.
    Ended(CallOutcome),
}

impl CallQueue {
    pub(super) fn new() -> CallQueue {
        CallQueue { slots: Vec::new(), free: Vec::new(), expected: VecDeque::new(), earliest_us: u64::MAX }
    }

    /// Takes a slot for a call that is about to be sent. `None`: the queue is full.
    pub(super) fn push(&mut self, call: Call) -> Option<u32> {
        let slot = Slot { call, caller: Caller::Waiting(None), awaits_reply: true };
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
        self.earliest_us = self.earliest_us.min(call.deadline_us);
        Some(index)
    }

    /// Expects the reply to a command that loads the script. False: such a command is under way already.
    pub(super) fn push_load(&mut self) -> bool {
        let is_loading = self.expected.contains(&Expected::Load);
        if !is_loading {
            self.expected.push_back(Expected::Load);
        }
        !is_loading
    }

    /// Takes what the next reply answers.
    pub(super) fn next(&mut self) -> Option<Expected> {
        let next = self.expected.pop_front()?;
        if let Expected::Call(index) = next {
            self.slots[index as usize].awaits_reply = false;
        }
        Some(next)
    }

    /// The call in a slot.
    pub(super) fn call(&self, index: u32) -> Call {
        self.slots[index as usize].call
    }

    /// Ends a call. False: its caller no longer waits for it.
    pub(super) fn end(&mut self, index: u32, outcome: CallOutcome) -> bool {
        let slot = &mut self.slots[index as usize];
        match &mut slot.caller {
            Caller::Waiting(waker) => {
                let waker = waker.take();
                slot.caller = Caller::Ended(outcome);
                if let Some(waker) = waker {
                    waker.wake();
                }
                true
            }
            // The call has timed out, and the caller has not fetched that yet: it still owns the slot.
            Caller::Ended(_) => false,
            Caller::Gone => {
                if !slot.awaits_reply {
                    self.free.push(index);
                }
                false
            }
        }
    }

    /// Polls for the outcome on behalf of the caller.
    pub(super) fn poll(&mut self, index: u32, waker: &Waker) -> Poll<CallOutcome> {
        match &mut self.slots[index as usize].caller {
            Caller::Ended(outcome) => Poll::Ready(*outcome),
            Caller::Waiting(current) => {
                if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
                    *current = Some(waker.clone());
                }
                Poll::Pending
            }
            Caller::Gone => unreachable!("a slot outlives its caller"),
        }
    }

    /// The caller leaves, with or without the outcome.
    pub(super) fn leave(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.caller = Caller::Gone;
        if !slot.awaits_reply {
            self.free.push(index);
        }
    }

    /// When to look for calls that have timed out.
    pub(super) fn earliest_us(&self) -> u64 {
        self.earliest_us
    }

    /// Ends the calls whose deadline has passed and returns their number. It looks at all of them, because second
    /// attempts are not in the order of their deadlines.
    pub(super) fn expire(&mut self, now_us: u64) -> u32 {
        let (mut expired, mut earliest) = (0, u64::MAX);
        for position in 0..self.expected.len() {
            let Expected::Call(index) = self.expected[position] else { continue };
            let slot = &self.slots[index as usize];
            if !matches!(slot.caller, Caller::Waiting(_)) {
                continue;
            }
            if slot.call.deadline_us <= now_us {
                self.end(index, CallOutcome::Unavailable(Unavailable::TimedOut));
                expired += 1;
            } else {
                earliest = earliest.min(slot.call.deadline_us);
            }
        }
        self.earliest_us = earliest;
        expired
    }

    /// Ends every call, because the connection is gone.
    pub(super) fn end_all(&mut self) {
        while let Some(expected) = self.next() {
            if let Expected::Call(index) = expected {
                self.end(index, CallOutcome::Unavailable(Unavailable::Open));
            }
        }
        self.earliest_us = u64::MAX;
    }

    /// The number of slots that are taken.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::Attempt;
    use super::*;
    use crate::limits::REDIS_INTEGERS_MAX;

    const LOST: CallOutcome = CallOutcome::Unavailable(Unavailable::TimedOut);

    fn call(deadline_us: u64) -> Call {
        Call { integers: 1, attempt: Attempt::First, asked_us: 0, deadline_us }
    }

    fn answer(n: i64) -> CallOutcome {
        CallOutcome::Answered([n; REDIS_INTEGERS_MAX])
    }

    fn look(queue: &mut CallQueue, slot: u32) -> Poll<CallOutcome> {
        queue.poll(slot, Waker::noop())
    }

    #[test]
    fn a_late_reply_meets_its_own_slot() {
        let mut queue = CallQueue::new();
        let (first, second) = (queue.push(call(10)).unwrap(), queue.push(call(20)).unwrap());
        assert_eq!(queue.expire(10), 1);
        assert_eq!(queue.earliest_us(), 20);
        assert_eq!(look(&mut queue, first), Poll::Ready(LOST));
        queue.leave(first);
        let third = queue.push(call(30)).unwrap();
        assert!(third != first && queue.len() == 3, "the slot is not free before its reply has come");
        assert_eq!(queue.next(), Some(Expected::Call(first)));
        assert!(!queue.end(first, answer(1)));
        assert_eq!(queue.next(), Some(Expected::Call(second)));
        assert!(queue.end(second, answer(2)));
        assert_eq!(look(&mut queue, second), Poll::Ready(answer(2)));
        queue.leave(second);
        assert_eq!(look(&mut queue, third), Poll::Pending);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_reply_between_the_end_of_time_and_the_callers_look_frees_nothing_early() {
        let mut queue = CallQueue::new();
        let slot = queue.push(call(10)).unwrap();
        queue.expire(10);
        queue.next();
        assert!(!queue.end(slot, answer(1)));
        assert_eq!(look(&mut queue, slot), Poll::Ready(LOST));
        assert_eq!(queue.len(), 1);
        queue.leave(slot);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn is_bounded_and_counts_the_abandoned() {
        let mut queue = CallQueue::new();
        for _ in 0..REDIS_QUEUE_MAX {
            let slot = queue.push(call(10)).unwrap();
            queue.leave(slot);
        }
        assert_eq!(queue.push(call(10)), None);
        queue.end_all();
        assert_eq!(queue.len(), 0);
        assert!(queue.push(call(10)).is_some());
    }

    #[test]
    fn the_script_is_loaded_once_for_all() {
        let mut queue = CallQueue::new();
        assert!(queue.push_load() && !queue.push_load());
        assert_eq!(queue.next(), Some(Expected::Load));
        assert!(queue.push_load());
    }
}
