//! The roll call: what is open on a core, the oldest first. Nobody keeps a list of what is served; a core that drains,
//! or that somebody looks at, now and then wakes every wait, and what is woken says who it is.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{DRAIN_TOLD_MS, LOOK_EVERY_MS, LOOKED_AT_MS, PRESENT_MAX, ROLL_CALL_MS, WAITS_WOKEN_MAX};

/// Something that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// When it began, by the coarse clock.
    pub begun_ms: u64,
    /// A WebSocket tunnel, and not a request.
    pub is_tunnel: bool,
    /// The name of its route; `None`: it has none.
    pub route: Option<Box<str>>,
    /// The request's id.
    pub id: Box<[u8]>,
}

/// What the last roll call of a core has found, for the control thread.
#[derive(Debug, Default)]
pub struct Presences {
    found: Mutex<Vec<Present>>,
    /// Until when somebody wants to know, by the coarse clock.
    wanted_until_ms: AtomicU64,
}

impl Presences {
    /// The oldest ones, the oldest first.
    pub fn get(&self) -> Vec<Present> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Somebody looks: for a while the core calls the roll, drain or not.
    pub fn want(&self, now_ms: u64) {
        self.wanted_until_ms.store(now_ms + LOOKED_AT_MS, Ordering::Relaxed);
    }

    /// A core that finds the other side reading keeps its news for itself.
    fn publish(&self, found: &[Present]) {
        if let Ok(mut published) = self.found.try_lock() {
            *published = found.to_vec();
        }
    }
}

/// The roll calls of one core. Each is over shortly before the control thread tells what is left.
#[derive(Debug, Default)]
pub struct RollCall {
    /// When the next one begins or the one under way ends; `None`: the core does not drain.
    due_ms: Cell<Option<u64>>,
    is_open: Cell<bool>,
    /// When the last one for somebody who looks began.
    looked_ms: Cell<u64>,
    oldest: RefCell<Vec<Present>>,
    published: Arc<Presences>,
}

impl RollCall {
    /// A core that does not drain.
    pub fn new(published: Arc<Presences>) -> RollCall {
        RollCall { published, ..RollCall::default() }
    }

    /// The drain of the process has begun at this time.
    pub fn begin(&self, begun_ms: u64) {
        self.is_open.set(false);
        self.due_ms.set(Some(begun_ms + DRAIN_TOLD_MS - 2 * ROLL_CALL_MS));
    }

    /// To be called with every tick. True: every wait has to be woken. `waits`: how many there are.
    pub fn tick(&self, now_ms: u64, waits: impl FnOnce() -> usize) -> bool {
        let Some(due_ms) = self.due_ms.get() else { return self.tick_undrained(now_ms, waits) };
        if due_ms > now_ms {
            return false;
        }
        let begins = !self.is_open.replace(!self.is_open.get());
        if begins {
            self.oldest.borrow_mut().clear();
            self.due_ms.set(Some(now_ms + ROLL_CALL_MS));
        } else {
            self.published.publish(&self.oldest.borrow());
            self.due_ms.set(Some(due_ms + DRAIN_TOLD_MS - ROLL_CALL_MS));
        }
        begins
    }

    /// A core that does not drain calls the roll while somebody looks, from one tick to the next.
    fn tick_undrained(&self, now_ms: u64, waits: impl FnOnce() -> usize) -> bool {
        if self.is_open.replace(false) {
            self.published.publish(&self.oldest.borrow());
            return false;
        }
        let is_wanted = now_ms < self.published.wanted_until_ms.load(Ordering::Relaxed);
        if !is_wanted && !self.oldest.borrow().is_empty() {
            // What is not looked after is not true for long.
            self.oldest.borrow_mut().clear();
            self.published.publish(&[]);
        }
        if !is_wanted || now_ms < self.looked_ms.get() + LOOK_EVERY_MS || waits() > WAITS_WOKEN_MAX {
            return false;
        }
        self.looked_ms.set(now_ms);
        self.oldest.borrow_mut().clear();
        self.is_open.set(true);
        true
    }

    /// Whether whoever is polled has to answer.
    pub fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// Somebody answers. Once more is not twice.
    pub fn answer(&self, begun_ms: u64, is_tunnel: bool, route: Option<&str>, id: &[u8]) {
        let mut oldest = self.oldest.borrow_mut();
        let place = oldest.partition_point(|other| other.begun_ms <= begun_ms);
        let is_known = oldest.iter().any(|other| *other.id == *id && other.begun_ms == begun_ms);
        if is_known || place >= PRESENT_MAX {
            return;
        }
        oldest.insert(place, Present { begun_ms, is_tunnel, route: route.map(Into::into), id: id.into() });
        oldest.truncate(PRESENT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_call_finds_the_oldest_and_is_over_when_what_is_left_is_told() {
        let published = Arc::<Presences>::default();
        let call = RollCall::new(published.clone());
        assert!(!call.tick(1_000_000, || 0) && !call.is_open(), "nothing drains");
        call.begin(1_000);
        let mut rounds = 0;
        for now_ms in (1_000..1_000 + 3 * DRAIN_TOLD_MS).step_by(5) {
            rounds += u64::from(call.tick(now_ms, || usize::MAX));
            if call.is_open() {
                for begun_ms in (0..50).rev() {
                    call.answer(begun_ms, begun_ms % 2 == 1, Some("r"), &[begun_ms as u8]);
                }
            }
            if now_ms == 1_000 + rounds * DRAIN_TOLD_MS && rounds > 0 {
                let found: Vec<u64> = published.get().iter().map(|found| found.begun_ms).collect();
                assert_eq!(found, (0..PRESENT_MAX as u64).collect::<Vec<_>>(), "round {rounds}");
            }
        }
        assert_eq!(rounds, 3);
        let second = &published.get()[1];
        assert!(second.is_tunnel && second.route.as_deref() == Some("r") && *second.id == [1]);
    }

    #[test]
    fn who_looks_learns_what_is_there_for_as_long_as_that_lasts() {
        let published = Arc::<Presences>::default();
        let call = RollCall::new(published.clone());
        let mut rounds = 0;
        let mut run = |from_ms: u64, to_ms: u64| {
            for now_ms in (from_ms..to_ms).step_by(50) {
                if call.tick(now_ms, || 10) {
                    rounds += 1;
                    call.answer(now_ms - 7, false, Some("r"), &[1]);
                }
            }
            rounds
        };
        assert_eq!(run(10_000, 20_000), 0, "nobody looks");
        published.want(20_000);
        assert_eq!(run(20_000, 22_000), 2);
        assert_eq!(published.get().iter().map(|found| found.begun_ms).collect::<Vec<_>>(), [20_993]);
        assert_eq!(run(22_000, 40_000), 3, "nobody looks any more");
        assert_eq!(published.get(), []);
        published.want(40_000);
        assert!(!call.tick(40_000, || WAITS_WOKEN_MAX + 1), "it would wake too many");
    }
}
