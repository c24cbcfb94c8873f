//! A slot among what one core may have going on with one upstream at one time: where there is none left, a request is
//! refused at once and not queued behind a service that does not keep up.

use std::cell::Cell;
use std::rc::Rc;

/// The slots of one upstream.
#[derive(Debug)]
pub(super) struct UpstreamSlots {
    taken: Rc<Cell<usize>>,
    max: Cell<usize>,
}

/// Evidence that there was room. Dropped, it gives the slot back.
#[derive(Debug)]
#[must_use = "a slot that is dropped is free again"]
pub(super) struct UpstreamSlot(Rc<Cell<usize>>);

impl UpstreamSlots {
    /// So many, all of them free.
    pub(super) fn new(max: usize) -> UpstreamSlots {
        UpstreamSlots { taken: Rc::default(), max: Cell::new(max) }
    }

    /// So many from now on. Those taken over the new bound stay taken until they are given back.
    pub(super) fn set_max(&self, max: usize) {
        self.max.set(max);
    }

    /// A slot, if one is free.
    pub(super) fn take(&self) -> Option<UpstreamSlot> {
        let taken = self.taken.get();
        if taken >= self.max.get() {
            return None;
        }
        self.taken.set(taken + 1);
        Some(UpstreamSlot(self.taken.clone()))
    }
}

impl Drop for UpstreamSlot {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let slots = UpstreamSlots::new(2);
        let (first, second) = (slots.take(), slots.take());
        assert!(first.is_some() && second.is_some() && slots.take().is_none());
        drop(first);
        let third = slots.take();
        assert!(third.is_some() && slots.take().is_none());
    }

    #[test]
    fn a_lower_bound_takes_no_slot_away() {
        let slots = UpstreamSlots::new(2);
        let (first, second) = (slots.take(), slots.take());
        slots.set_max(1);
        drop(first);
        assert!(slots.take().is_none(), "one is still taken");
        drop(second);
        assert!(slots.take().is_some());
    }
}
