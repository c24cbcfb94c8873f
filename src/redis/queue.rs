//! The calls that wait for a reply: a slot for each caller, and the order in which Redis answers.
//!
//! A slot stays taken until its reply has come or the connection is gone, even if its caller has given up. So a late
//! reply is matched with its own slot, never with another caller's.
//!
//! Redis is judged by the time between a command that the kernel has taken and a reply that can be read. The time that
//! a call spends in front of that, because this core has other work, is not Redis' fault.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use super::call::{Call, CallOutcome, Unavailable};
use super::window::Window;
use crate::limits::REDIS_QUEUE_MAX;

/// What the next reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A call, by its slot.
    Call(u32),
    /// The command that loads the script at this place.
    Load(usize),
    /// The command that lets a node answer for a slot that moves to it.
    Asking,
}

/// The calls of one connection.
pub(super) struct CallQueue {
    slots: Vec<Slot>,
    free: Vec<u32>,
    expected: VecDeque<Expected>,
    /// How many of the expected replies, from the front, are those of commands that have left.
    sent: usize,
    /// No call is due earlier. It may be too early, never too late.
    earliest_us: u64,
    window: Window,
    /// When the last reply was read.
    replied_us: u64,
}

struct Slot {
    call: Call,
    caller: Caller,
    /// The reply has not come yet.
    awaits_reply: bool,
    /// Where the command ends in the stream of all commands.
    end: u64,
    /// When the command left; [`UNSENT`]: it has not.
    sent_us: u64,
    /// When the command must have left, and then when its reply must have come.
    due_us: u64,
    /// Redis had its time for this call.
    is_overdue: bool,
    /// Calls that waited in front of it.
    ahead: usize,
}

/// What has become due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Calls for which Redis has had its time.
    pub(super) overdue: u32,
    /// Calls that could not leave in time. Nothing is held against Redis.
    pub(super) unsent: u32,
    /// Calls that were late behind too many others, while Redis answered those. Nothing is held against it either.
    pub(super) crowded: u32,
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
        CallQueue {
            slots: Vec::new(),
            free: Vec::new(),
            expected: VecDeque::new(),
            sent: 0,
            earliest_us: u64::MAX,
            window: Window::new(),
            replied_us: 0,
        }
    }

    /// Takes a slot for a call whose command is written next. `None`: the queue is full.
    pub(super) fn push(&mut self, call: Call) -> Option<u32> {
        let ahead = self.expected.len();
        if !self.window.has_room(ahead) {
            return None;
        }
        let slot = Slot {
            call,
            caller: Caller::Waiting(None),
            awaits_reply: true,
            end: u64::MAX,
            sent_us: UNSENT,
            due_us: call.deadline_us,
            is_overdue: false,
            ahead,
        };
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

    /// The command of a call is written; it ends here in the stream of all commands.
    pub(super) fn written(&mut self, index: u32, end: u64) {
        self.slots[index as usize].end = end;
    }

    /// The stream of commands has left up to `end`. For each of them Redis' time begins now.
    pub(super) fn sent(&mut self, end: u64, now_us: u64) {
        while let Some(expected) = self.expected.get(self.sent) {
            if let Expected::Call(index) = expected {
                let slot = &mut self.slots[*index as usize];
                if slot.end > end {
                    return;
                }
                slot.sent_us = now_us;
                slot.due_us = now_us + slot.call.budget_us();
                self.earliest_us = self.earliest_us.min(slot.due_us);
            }
            self.sent += 1;
        }
    }

    /// Expects the reply to a command that loads this script. False: such a command is under way already.
    pub(super) fn push_load(&mut self, script: usize) -> bool {
        let is_loading = self.expected.contains(&Expected::Load(script));
        if !is_loading {
            self.expected.push_back(Expected::Load(script));
        }
        !is_loading
    }

    /// Expects the reply to `ASKING`, which stands in front of the next call.
    pub(super) fn push_asking(&mut self) {
        self.expected.push_back(Expected::Asking);
    }

    /// Takes back the expectation of `ASKING`: the call behind it was not queued.
    pub(super) fn pop_asking(&mut self) {
        if self.expected.back() == Some(&Expected::Asking) {
            self.expected.pop_back();
        }
    }

    /// Takes what the next reply answers.
    pub(super) fn next(&mut self) -> Option<Expected> {
        let next = self.expected.pop_front()?;
        self.sent = self.sent.saturating_sub(1);
        if let Expected::Call(index) = next {
            self.slots[index as usize].awaits_reply = false;
        }
        Some(next)
    }

    /// A reply was read at this time. True: it came in time.
    pub(super) fn replied(&mut self, index: u32, now_us: u64) -> bool {
        self.replied_us = now_us;
        let in_time = !self.slots[index as usize].is_overdue;
        if in_time {
            self.window.in_time(self.expected.len());
        }
        in_time
    }

    /// The call in a slot.
    pub(super) fn call(&self, index: u32) -> Call {
        self.slots[index as usize].call
    }

    /// When the command of a call left.
    pub(super) fn sent_us(&self, index: u32) -> u64 {
        self.slots[index as usize].sent_us
    }

    /// Ends a call, if its caller still waits for it.
    pub(super) fn end(&mut self, index: u32, outcome: CallOutcome) {
        let slot = &mut self.slots[index as usize];
        match &mut slot.caller {
            Caller::Waiting(waker) => {
                let waker = waker.take();
                slot.caller = Caller::Ended(outcome);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            // The call has timed out, and the caller has not fetched that yet: it still owns the slot.
            Caller::Ended(_) => {}
            Caller::Gone => {
                if !slot.awaits_reply {
                    self.free.push(index);
                }
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

    /// When to look for calls that are due.
    pub(super) fn earliest_us(&self) -> u64 {
        self.earliest_us
    }

    /// Ends the calls that are due. `blocked_us`: since when the socket takes nothing, which is Redis' fault once it
    /// has lasted for the budget of a call. Redis is judged whether or not the caller still waits.
    ///
    /// It looks at all calls, because second attempts are not in the order of their deadlines.
    pub(super) fn expire(&mut self, now_us: u64, blocked_us: Option<u64>) -> Due {
        let (mut due, mut earliest) = (Due::default(), u64::MAX);
        for position in 0..self.expected.len() {
            let Expected::Call(index) = self.expected[position] else { continue };
            let slot = &mut self.slots[index as usize];
            let waits = matches!(slot.caller, Caller::Waiting(_));
            // A call that has not left matters to nobody but its caller.
            if slot.is_overdue || (slot.sent_us == UNSENT && !waits) {
                continue;
            }
            if slot.due_us > now_us {
                earliest = earliest.min(slot.due_us);
                continue;
            }
            let since_us = if slot.sent_us == UNSENT { blocked_us } else { Some(slot.sent_us) };
            slot.is_overdue = since_us.is_some_and(|since_us| since_us + slot.call.budget_us() <= now_us);
            let is_crowded = slot.sent_us < self.replied_us && Window::is_too_wide(slot.ahead);
            let (count, why) = match slot.is_overdue {
                true if is_crowded => (&mut due.crowded, Unavailable::QueueFull),
                true => (&mut due.overdue, Unavailable::TimedOut),
                false => (&mut due.unsent, Unavailable::Unsent),
            };
            *count += 1;
            self.end(index, CallOutcome::Unavailable(why));
        }
        self.earliest_us = earliest;
        if due.crowded > 0 {
            self.window.narrow();
        }
        due
    }

    /// Ends every call, because the connection is gone.
    pub(super) fn end_all(&mut self) {
        while let Some(expected) = self.next() {
            if let Expected::Call(index) = expected {
                self.end(index, CallOutcome::Unavailable(Unavailable::Open));
            }
        }
        self.sent = 0;
        self.earliest_us = u64::MAX;
    }

    /// The number of slots that are taken.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// The command has not left yet.
const UNSENT: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::super::call::Attempt;
    use super::*;
    use crate::limits::{REDIS_INTEGERS_MAX, REDIS_WINDOW_FIRST, REDIS_WINDOW_LEAST};

    const LATE: CallOutcome = CallOutcome::Unavailable(Unavailable::TimedOut);
    const UNASKED: CallOutcome = CallOutcome::Unavailable(Unavailable::Unsent);
    const OVERDUE: Due = Due { overdue: 1, unsent: 0, crowded: 0 };

    fn call(deadline_us: u64) -> Call {
        Call { script: 0, integers: 1, attempt: Attempt::First, asked_us: deadline_us - 10, deadline_us }
    }

    /// A call that has left at `sent_us`, with a budget of 10 µs.
    fn sent(queue: &mut CallQueue, sent_us: u64) -> u32 {
        let slot = queue.push(call(sent_us + 10)).unwrap();
        queue.written(slot, 0);
        queue.sent(0, sent_us);
        slot
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
        let (first, second) = (sent(&mut queue, 0), sent(&mut queue, 10));
        assert_eq!(queue.expire(10, None), OVERDUE);
        assert_eq!(queue.earliest_us(), 20);
        assert_eq!(look(&mut queue, first), Poll::Ready(LATE));
        queue.leave(first);
        let third = queue.push(call(30)).unwrap();
        assert!(third != first && queue.len() == 3, "the slot is not free before its reply has come");
        assert_eq!(queue.next(), Some(Expected::Call(first)));
        assert!(!queue.replied(first, 25));
        queue.end(first, answer(1));
        assert_eq!(queue.next(), Some(Expected::Call(second)));
        assert!(queue.replied(second, 25));
        queue.end(second, answer(2));
        assert_eq!(look(&mut queue, second), Poll::Ready(answer(2)));
        queue.leave(second);
        assert_eq!(look(&mut queue, third), Poll::Pending);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_reply_between_the_end_of_time_and_the_callers_look_frees_nothing_early() {
        let mut queue = CallQueue::new();
        let slot = sent(&mut queue, 0);
        queue.expire(10, None);
        queue.next();
        queue.end(slot, answer(1));
        assert_eq!(look(&mut queue, slot), Poll::Ready(LATE));
        assert_eq!(queue.len(), 1);
        queue.leave(slot);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn redis_has_its_whole_time_from_the_moment_at_which_a_command_leaves() {
        let mut queue = CallQueue::new();
        let slot = queue.push(call(10)).unwrap();
        queue.written(slot, 100);
        queue.sent(99, 5);
        assert_eq!(queue.sent_us(slot), UNSENT, "its last byte has not left");
        // This core had other work until long after the deadline.
        queue.sent(100, 500);
        assert_eq!(queue.expire(509, None), Due::default());
        assert_eq!((look(&mut queue, slot), queue.earliest_us()), (Poll::Pending, 510));
        assert_eq!(queue.expire(510, None), OVERDUE);
        assert_eq!((look(&mut queue, slot), queue.earliest_us()), (Poll::Ready(LATE), u64::MAX));
        assert_eq!(queue.expire(999, None), Due::default(), "it counts once");
    }

    #[test]
    fn a_command_that_cannot_leave_is_held_against_redis_once_the_socket_was_blocked_for_a_budget() {
        let mut queue = CallQueue::new();
        let slots = [0, 0].map(|_| queue.push(call(100)).unwrap());
        slots.iter().for_each(|slot| queue.written(*slot, 1));
        assert_eq!(queue.expire(100, Some(91)), Due { overdue: 0, unsent: 2, crowded: 0 });
        assert_eq!(look(&mut queue, slots[0]), Poll::Ready(UNASKED));
        queue.leave(slots[0]);
        let other = queue.push(call(101)).unwrap();
        queue.written(other, 2);
        assert_eq!(queue.expire(101, Some(91)), OVERDUE);
        assert_eq!(look(&mut queue, other), Poll::Ready(LATE));
        // Redis is judged by those that leave later, although nobody waits for them.
        queue.sent(1, 200);
        assert_eq!(queue.earliest_us(), 210);
        assert_eq!(queue.expire(210, None), Due { overdue: 2, unsent: 0, crowded: 0 });
    }

    #[test]
    fn is_bounded_and_counts_the_abandoned() {
        let mut queue = CallQueue::new();
        for _ in 0..REDIS_WINDOW_FIRST {
            let slot = queue.push(call(10)).unwrap();
            queue.leave(slot);
        }
        assert_eq!(queue.push(call(10)), None);
        queue.end_all();
        assert_eq!(queue.len(), 0);
        assert!(queue.push(call(10)).is_some());
    }

    #[test]
    fn late_behind_too_many_others_is_not_slow() {
        let mut queue = CallQueue::new();
        let slots: Vec<u32> = (0..REDIS_WINDOW_FIRST).map(|_| sent(&mut queue, 0)).collect();
        for slot in &slots[..REDIS_WINDOW_LEAST] {
            assert_eq!(queue.next(), Some(Expected::Call(*slot)));
            assert!(queue.replied(*slot, 9));
        }
        let crowded = (REDIS_WINDOW_FIRST - REDIS_WINDOW_LEAST) as u32;
        assert_eq!(queue.expire(10, None), Due { overdue: 0, unsent: 0, crowded });
        assert_eq!(
            look(&mut queue, slots[400]),
            Poll::Ready(CallOutcome::Unavailable(Unavailable::QueueFull))
        );
        assert_eq!(queue.push(call(30)), None, "half as many may wait");
        // Without a reply since, the same is a Redis that is silent.
        let mut queue = CallQueue::new();
        (0..REDIS_WINDOW_FIRST).for_each(|_| {
            sent(&mut queue, 0);
        });
        let overdue = REDIS_WINDOW_FIRST as u32;
        assert_eq!(queue.expire(10, None), Due { overdue, unsent: 0, crowded: 0 });
    }

    #[test]
    fn the_script_is_loaded_once_for_all() {
        let mut queue = CallQueue::new();
        assert!(queue.push_load(0) && !queue.push_load(0) && queue.push_load(1));
        assert_eq!(queue.next(), Some(Expected::Load(0)));
        assert!(queue.push_load(0) && !queue.push_load(1));
    }
}
