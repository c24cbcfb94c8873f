//! When each request is due: request `i` at `i / rate`, whatever has become of those before it.

use std::time::Duration;

use crate::plan::Plan;

/// Times here are nanoseconds since the start.
pub struct Schedule {
    /// Nanoseconds from one request to the next; seldom a whole number, so it is never added up.
    interval_ns: f64,
    /// Requests in all.
    pub total: u64,
    /// Requests of the warm-up, which are the first.
    pub warm_up: u64,
}

impl Schedule {
    pub fn new(plan: &Plan) -> Self {
        let count = |time: Duration| (time.as_secs_f64() * plan.rate).round() as u64;
        let warm_up = count(plan.warm_up);
        Self { interval_ns: 1e9 / plan.rate, total: warm_up + count(plan.measured), warm_up }
    }

    pub fn due_ns(&self, index: u64) -> u64 {
        (index as f64 * self.interval_ns) as u64
    }

    pub fn is_measured(&self, index: u64) -> bool {
        index >= self.warm_up
    }

    /// When the measured time begins.
    pub fn measured_ns(&self) -> u64 {
        self.due_ns(self.warm_up)
    }

    /// When it is over: when the request after the last one would be due.
    pub fn end_ns(&self) -> u64 {
        self.due_ns(self.total)
    }
}
