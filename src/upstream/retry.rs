//! How many requests may be sent once more: a part of all requests. Without the bound, a service that fails gets twice
//! the load at the worst moment.

use std::cell::Cell;

/// The part of an upstream's requests that may be retries.
const PART: f32 = 0.2;
/// Retries per second that are allowed in any case, of the whole process.
const FLOOR_PER_SECOND: f32 = 10.0;
/// How long a request counts, about, in seconds.
const REMEMBERED_S: f32 = 10.0;

/// The retries of one upstream on one core, beside its requests. Both are forgotten by and by.
#[derive(Debug)]
pub(super) struct RetryBudget {
    requests: Cell<f32>,
    retries: Cell<f32>,
    /// What is allowed in any case.
    floor: f32,
}

impl RetryBudget {
    /// `cores`: how many share the floor.
    pub(super) fn new(cores: usize) -> RetryBudget {
        let floor = FLOOR_PER_SECOND * REMEMBERED_S / cores.max(1) as f32;
        RetryBudget { requests: Cell::new(0.0), retries: Cell::new(0.0), floor: floor.max(1.0) }
    }

    /// A request begins.
    pub(super) fn request(&self) {
        self.requests.set(self.requests.get() + 1.0);
    }

    /// Whether a request may be sent once more. If so, that is counted.
    pub(super) fn take(&self) -> bool {
        let retries = self.retries.get() + 1.0;
        let is_allowed = retries <= self.floor + PART * self.requests.get();
        if is_allowed {
            self.retries.set(retries);
        }
        is_allowed
    }

    /// To be called every second.
    pub(super) fn second(&self) {
        for count in [&self.requests, &self.retries] {
            count.set(count.get() * (1.0 - 1.0 / REMEMBERED_S));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The retries of a second in which so many requests came and each wanted one.
    fn second(budget: &RetryBudget, requests: usize) -> usize {
        let retries = (0..requests).filter(|_| {
            budget.request();
            budget.take()
        });
        let retries = retries.count();
        budget.second();
        retries
    }

    #[test]
    fn a_fifth_of_the_requests_and_a_floor() {
        let budget = RetryBudget::new(2);
        let settled: usize = (0..200).map(|_| second(&budget, 1_000)).skip(100).sum();
        assert!((200 * 100..=206 * 100).contains(&settled), "{settled}");
        let few = RetryBudget::new(2);
        let settled: usize = (0..200).map(|_| second(&few, 5)).skip(100).sum();
        assert_eq!(settled, 5 * 100, "few requests are all sent once more");
    }

    #[test]
    fn what_is_long_ago_is_no_credit() {
        let budget = RetryBudget::new(1);
        (0..100_000).for_each(|_| budget.request());
        (0..120).for_each(|_| budget.second());
        assert!((0..1_000).filter(|_| budget.take()).count() <= 101);
    }
}
