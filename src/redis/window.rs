//! How many calls of one core may wait for Redis at one time: as many as it answers within their budget.
//!
//! Redis decides one call after another. Behind enough others every call is late, and that is not because Redis is slow
//! but because it was asked too much at once. So the window grows while replies come in time, and is halved when they
//! do not (additive increase, multiplicative decrease; RFC 5681 does the same with a network). What does not fit is
//! decided by this process.

use crate::limits::{REDIS_QUEUE_MAX, REDIS_WINDOW_FIRST, REDIS_WINDOW_LEAST};

/// The bound of calls that wait.
#[derive(Debug)]
pub(super) struct Window {
    calls: usize,
}

impl Window {
    pub(super) fn new() -> Window {
        Window { calls: REDIS_WINDOW_FIRST }
    }

    /// Whether one more call may wait beside so many.
    pub(super) fn has_room(&self, waiting: usize) -> bool {
        waiting < self.calls
    }

    /// A reply came in time while so many calls waited.
    pub(super) fn in_time(&mut self, waiting: usize) {
        if waiting >= self.calls / 2 {
            self.calls = (self.calls + 1).min(REDIS_QUEUE_MAX);
        }
    }

    /// Replies came, and this one was late behind so many calls. True: there were too many of them. False: it would
    /// have been late behind a few, which is Redis' fault.
    pub(super) fn is_too_wide(ahead: usize) -> bool {
        ahead >= REDIS_WINDOW_LEAST
    }

    /// Calls were late because there were too many.
    pub(super) fn narrow(&mut self) {
        self.calls = (self.calls / 2).max(REDIS_WINDOW_LEAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_while_it_is_used_and_is_halved_when_replies_are_late() {
        let mut window = Window::new();
        assert!(window.has_room(REDIS_WINDOW_FIRST - 1) && !window.has_room(REDIS_WINDOW_FIRST));
        (0..100).for_each(|_| window.in_time(3));
        assert!(!window.has_room(REDIS_WINDOW_FIRST), "nobody needs more");
        (0..10).for_each(|_| window.in_time(REDIS_WINDOW_FIRST - 1));
        assert!(window.has_room(REDIS_WINDOW_FIRST + 9));
        window.narrow();
        assert!(!window.has_room(REDIS_WINDOW_FIRST / 2 + 5));
        (0..20).for_each(|_| window.narrow());
        assert!(window.has_room(REDIS_WINDOW_LEAST - 1) && !window.has_room(REDIS_WINDOW_LEAST));
        (0..2 * REDIS_QUEUE_MAX).for_each(|_| window.in_time(REDIS_QUEUE_MAX));
        assert!(!window.has_room(REDIS_QUEUE_MAX));
    }
}
