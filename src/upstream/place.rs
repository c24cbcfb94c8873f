//! A place among the requests that one core may have in flight to one upstream: where there is none left, a
//! request is refused at once and not queued behind a service that does not keep up.

use std::cell::Cell;

/// The places of one upstream.
#[derive(Debug)]
pub(super) struct Places {
    taken: Cell<usize>,
    max: Cell<usize>,
}

/// Evidence that there was room. Dropped, it gives the place back.
#[derive(Debug)]
#[must_use = "a place that is dropped is free again"]
pub(super) struct Place<'p>(&'p Cell<usize>);

impl Places {
    /// So many, all of them free.
    pub(super) fn new(max: usize) -> Places {
        Places { taken: Cell::new(0), max: Cell::new(max) }
    }

    /// So many from now on. Those taken over the new bound stay taken until they are given back.
    pub(super) fn set_max(&self, max: usize) {
        self.max.set(max);
    }

    /// A place, if one is free.
    pub(super) fn take(&self) -> Option<Place<'_>> {
        let taken = self.taken.get();
        if taken >= self.max.get() {
            return None;
        }
        self.taken.set(taken + 1);
        Some(Place(&self.taken))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.take());
        assert!(first.is_some() && second.is_some() && places.take().is_none());
        drop(first);
        let third = places.take();
        assert!(third.is_some() && places.take().is_none());
    }

    #[test]
    fn a_lower_bound_takes_no_place_away() {
        let places = Places::new(2);
        let (first, second) = (places.take(), places.take());
        places.set_max(1);
        drop(first);
        assert!(places.take().is_none(), "one is still taken");
        drop(second);
        assert!(places.take().is_some());
    }
}
