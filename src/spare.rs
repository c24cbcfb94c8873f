//! What is kept for its next use: objects that were given back, and of these only as many as are needed now and then.

/// Free objects of one kind, the one used last at the end.
#[derive(Debug)]
pub struct Spare<T> {
    free: Vec<T>,
    kept_max: usize,
    /// The fewest free ones since the last [`Spare::tidy`]: so many were not needed.
    free_min: usize,
}

impl<T> Spare<T> {
    /// Keeps at most so many.
    pub const fn new(kept_max: usize) -> Spare<T> {
        Spare { free: Vec::new(), kept_max, free_min: 0 }
    }

    /// The one that was used last, which is most likely still in the CPU's cache.
    pub fn take(&mut self) -> Option<T> {
        let taken = self.free.pop();
        self.free_min = self.free_min.min(self.free.len());
        taken
    }

    /// Keeps one for its next use, unless there are enough.
    pub fn give_back(&mut self, one: T) {
        if self.free.len() < self.kept_max {
            self.free.push(one);
        }
    }

    /// Frees those that nobody needed since the last call, but for a few. Called at intervals.
    pub fn tidy(&mut self, kept_min: usize) {
        let unused = self.free_min.min(self.free.len().saturating_sub(kept_min));
        // Those used longest ago.
        self.free.drain(..unused);
        if self.free.capacity() > 4 * self.free.len().max(kept_min) {
            self.free.shrink_to(kept_min);
        }
        self.free_min = self.free.len();
    }

    /// Keeps only those for which `is_kept`.
    pub fn retain(&mut self, is_kept: impl FnMut(&T) -> bool) {
        self.free.retain(is_kept);
        self.free_min = self.free_min.min(self.free.len());
    }

    /// The number of free ones.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(count: usize) -> Spare<usize> {
        let mut spare = Spare::new(100);
        (0..count).for_each(|one| spare.give_back(one));
        spare
    }

    #[test]
    fn those_that_nobody_needed_are_freed_first_those_used_longest_ago() {
        let mut spare = full(40);
        spare.tidy(4);
        assert_eq!(spare.len(), 40, "they were needed");
        let taken: Vec<usize> = (0..20).filter_map(|_| spare.take()).collect();
        taken.into_iter().rev().for_each(|one| spare.give_back(one));
        spare.tidy(4);
        assert_eq!((spare.len(), spare.take()), (20, Some(39)));
        spare.tidy(4);
        spare.tidy(4);
        assert_eq!(spare.len(), 4);
    }

    #[test]
    fn no_more_are_kept_than_the_bound() {
        let mut spare = Spare::new(3);
        (0..5).for_each(|one| spare.give_back(one));
        assert_eq!((spare.len(), spare.take()), (3, Some(2)));
        spare.retain(|one| *one == 0);
        assert_eq!((spare.take(), spare.take(), spare.is_empty()), (Some(0), None, true));
    }
}
