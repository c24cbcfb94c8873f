//! Timeouts: a wait ends with its future or at its deadline, whichever comes first.
//!
//! A deadline takes a slot in a table and no system call. The core's ticker calls [`Timers::tick`] every
//! [`TICK_MS`], which is the resolution of every timeout. The future is always a poll (see
//! `net`), so a wait that ends early leaves nothing in flight.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::clock;
use crate::limits::{TICK_MS, WAITS_AT_ONCE_MAX};

/// A deadline that never comes.
pub const NEVER: u64 = u64::MAX;

/// The deadline came before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// The deadlines of one core.
#[derive(Default)]
pub struct Timers {
    slots: RefCell<Slots>,
    /// No deadline is earlier. It may be too early, never too late.
    earliest_ms: Cell<u64>,
    /// Consecutive waits of all tasks of the core that were ready at once.
    at_once: Cell<u32>,
    /// When the next tick is due. 0: the first one has not come.
    due_ms: Cell<u64>,
}

impl Timers {
    /// A table without deadlines.
    pub fn new() -> Timers {
        Timers { earliest_ms: Cell::new(NEVER), ..Timers::default() }
    }

    /// Waits for `future` until the coarse clock ([`clock::now_ms`]) shows `at_ms`. The caller pins the
    /// future, and this is not an `async fn`, which would keep its arguments in addition to the values made from them:
    /// each layer that takes a future by value would double the size of a connection's task.
    #[allow(clippy::manual_async_fn)]
    pub fn until<F: Future + Unpin>(
        &self,
        at_ms: u64,
        mut future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        async move {
            self.leave_a_turn().await;
            let mut wait = Wait { timers: self, slot: None };
            poll_fn(|context| {
                if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
                    return Poll::Ready(Ok(output));
                }
                self.at_once.set(0);
                if at_ms != NEVER && clock::now_ms() >= at_ms {
                    return Poll::Ready(Err(Elapsed));
                }
                wait.arm(at_ms, context.waker());
                Poll::Pending
            })
            .await
        }
    }

    /// On epoll, a poll of a ready socket is ready at once, where the ring would let other tasks run. After many such
    /// waits in a row this lets the other tasks run: only a sleep lets the core reach its timers.
    pub(super) async fn leave_a_turn(&self) {
        if self.at_once.get() >= WAITS_AT_ONCE_MAX {
            self.at_once.set(0);
            // Boxed, because a sleep has 640 bytes, which would be part of every wait of every idle connection.
            Box::pin(monoio::time::sleep(Duration::from_millis(1))).await;
        }
        self.at_once.set(self.at_once.get() + 1);
    }

    /// Notes that a wait was not ready at once.
    pub(super) fn has_waited(&self) {
        self.at_once.set(0);
    }

    /// Waits until the coarse clock shows `at_ms`.
    pub async fn sleep_until(&self, at_ms: u64) {
        let _ = self.until(at_ms, pending::<()>()).await;
    }

    /// Wakes every wait whose deadline has passed.
    pub fn tick(&self, now_ms: u64) {
        self.due_ms.set(now_ms + TICK_MS);
        if now_ms < self.earliest_ms.get() {
            return;
        }
        let mut earliest = NEVER;
        for slot in &self.slots.borrow().taken {
            let Some(waker) = &slot.waker else { continue };
            if slot.at_ms <= now_ms {
                waker.wake_by_ref();
            } else {
                earliest = earliest.min(slot.at_ms);
            }
        }
        self.earliest_ms.set(earliest);
    }

    /// When the last tick was due, by the coarse clock: a time without a look at a clock, for what may be so imprecise.
    pub fn ticked_ms(&self) -> u64 {
        match self.due_ms.get() {
            0 => clock::now_ms(),
            due_ms => due_ms - TICK_MS,
        }
    }

    /// How late the core is: how long the next tick is overdue, because the tasks of this turn take so long.
    pub fn late_by_ms(&self, now_ms: u64) -> u64 {
        match self.due_ms.get() {
            0 => 0,
            due_ms => now_ms.saturating_sub(due_ms),
        }
    }

    /// Wakes every wait, so that each checks its conditions again. Used when the core begins to drain.
    pub fn wake_all(&self) {
        for slot in &self.slots.borrow().taken {
            if let Some(waker) = &slot.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Wakes the waits at `count` places of the table, from the place `from` on. Returns the place behind them. `None`:
    /// they were the last.
    pub fn wake_some(&self, from: usize, count: usize) -> Option<usize> {
        let slots = self.slots.borrow();
        for slot in slots.taken.iter().skip(from).take(count) {
            if let Some(waker) = &slot.waker {
                waker.wake_by_ref();
            }
        }
        let next = from.saturating_add(count);
        (next < slots.taken.len()).then_some(next)
    }

    /// The number of waits that have a place in the table.
    pub fn waits(&self) -> usize {
        let slots = self.slots.borrow();
        slots.taken.len() - slots.free.len()
    }
}

struct Slots {
    taken: Vec<Slot>,
    free: Vec<u32>,
}

/// With room for what a core waits for itself and for some requests, so that the table of a calm core does not grow.
impl Default for Slots {
    fn default() -> Slots {
        Slots { taken: Vec::with_capacity(SLOTS_FIRST), free: Vec::with_capacity(SLOTS_FIRST) }
    }
}

struct Slot {
    at_ms: u64,
    waker: Option<Waker>,
}

/// The slot of one wait. Dropping it frees the slot.
struct Wait<'t> {
    timers: &'t Timers,
    slot: Option<u32>,
}

impl Wait<'_> {
    fn arm(&mut self, at_ms: u64, waker: &Waker) {
        let mut slots = self.timers.slots.borrow_mut();
        if let Some(slot) = self.slot {
            let current = &mut slots.taken[slot as usize].waker;
            if !current.as_ref().is_some_and(|current| current.will_wake(waker)) {
                *current = Some(waker.clone());
            }
        } else {
            let filled = Slot { at_ms, waker: Some(waker.clone()) };
            self.slot = Some(match slots.free.pop() {
                Some(slot) => {
                    slots.taken[slot as usize] = filled;
                    slot
                }
                None => {
                    slots.taken.push(filled);
                    slots.taken.len() as u32 - 1
                }
            });
        }
        // Needed also for a wait that was woken and goes on, because the tick that woke it has dropped its deadline.
        self.timers.earliest_ms.set(self.timers.earliest_ms.get().min(at_ms));
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let mut slots = self.timers.slots.borrow_mut();
            slots.taken[slot as usize].waker = None;
            slots.free.push(slot);
        }
    }
}

/// Slots that the table has room for from the start.
const SLOTS_FIRST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_ready_future_needs_no_slot() {
        let timers = Timers::new();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(pin!(timers.until(NEVER, ready(7))).poll(&mut context), Poll::Ready(Ok(7)));
        assert_eq!(timers.waits(), 0);
    }

    #[test]
    fn a_tick_wakes_only_what_is_due() {
        let timers = Timers::new();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = count.clone().into();
        let mut context = Context::from_waker(&waker);
        let soon = clock::now_ms() + 1_000;
        let mut first = Box::pin(timers.sleep_until(soon));
        let mut second = Box::pin(timers.sleep_until(soon + 60_000));
        assert!(
            first.as_mut().poll(&mut context).is_pending() && second.as_mut().poll(&mut context).is_pending()
        );
        timers.tick(soon - 1);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        timers.tick(soon);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        timers.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn the_waits_of_a_window_are_woken_and_no_others() {
        let timers = Timers::new();
        let counts: Vec<_> = (0..5).map(|_| Arc::new(Count(AtomicUsize::new(0)))).collect();
        let wakers: Vec<Waker> = counts.iter().map(|count| count.clone().into()).collect();
        let mut waits: Vec<_> = (0..5).map(|_| Box::pin(timers.sleep_until(NEVER))).collect();
        for (wait, waker) in waits.iter_mut().zip(&wakers) {
            assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        let woken = || counts.iter().map(|count| count.0.swap(0, Ordering::Relaxed)).collect::<Vec<_>>();
        assert_eq!((timers.wake_some(0, 2), woken()), (Some(2), vec![1, 1, 0, 0, 0]));
        assert_eq!((timers.wake_some(2, 2), woken()), (Some(4), vec![0, 0, 1, 1, 0]));
        assert_eq!((timers.wake_some(4, 2), woken()), (None, vec![0, 0, 0, 0, 1]));
        assert_eq!((timers.wake_some(9, 2), woken()), (None, vec![0; 5]));
    }

    #[test]
    fn a_passed_deadline_ends_the_wait_and_a_dropped_wait_frees_its_slot() {
        let timers = Timers::new();
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(timers.until(clock::now_ms(), pending::<()>())).poll(&mut context).is_ready());
        {
            let mut wait = pin!(timers.until(clock::now_ms() + 10_000, pending::<()>()));
            assert!(wait.as_mut().poll(&mut context).is_pending());
            assert_eq!(timers.waits(), 1);
        }
        assert_eq!(timers.waits(), 0);
    }

    #[test]
    fn a_wait_woken_early_is_still_woken_at_its_deadline() {
        let timers = Timers::new();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = count.clone().into();
        let mut context = Context::from_waker(&waker);
        let at = clock::now_ms() + 5_000;
        let mut wait = pin!(timers.sleep_until(at));
        assert!(wait.as_mut().poll(&mut context).is_pending());
        // A clock that ran ahead: the wait is woken, finds that its time has not come, and waits on.
        timers.tick(at);
        assert!(wait.as_mut().poll(&mut context).is_pending());
        timers.tick(at);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
