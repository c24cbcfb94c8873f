//! One attempt at a script call, and how it ends.

use crate::limits::REDIS_INTEGERS_MAX;

/// One attempt at a script call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// The number of integers that the script answers with.
    pub(super) integers: usize,
    /// Whether Redis has already said that it does not know the script.
    pub(super) attempt: Attempt,
    pub(super) asked_us: u64,
    pub(super) deadline_us: u64,
}

/// A call is made a second time if Redis did not know the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Second,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallOutcome {
    /// The script's answer. As many integers count as the call expects.
    Answered([i64; REDIS_INTEGERS_MAX]),
    /// Redis does not know the script, or no longer.
    NoScript,
    /// There is no answer.
    Unavailable(Unavailable),
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The circuit breaker is open, the connection broke during the call, or Redis answered with an error.
    Open,
    /// There was no answer within the budget.
    TimedOut,
    /// Too many calls are waiting already.
    QueueFull,
}
