//! One attempt at a script call, and how it ends.

use super::slots::Elsewhere;
use crate::limits::REDIS_INTEGERS_MAX;

/// One attempt at a script call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// The place of the script among those of the client.
    pub(super) script: usize,
    /// The number of integers that the script answers with.
    pub(super) integers: usize,
    /// Whether Redis has already said that it does not know the script.
    pub(super) attempt: Attempt,
    pub(super) asked_us: u64,
    /// The command must have left by then.
    pub(super) deadline_us: u64,
}

impl Call {
    /// How long Redis may take from the moment at which it has the command, in microseconds.
    pub(super) fn budget_us(&self) -> u64 {
        self.deadline_us - self.asked_us
    }
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
    /// Another node of the cluster has to be asked.
    Elsewhere(Elsewhere),
    /// There is no answer.
    Unavailable(Unavailable),
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The circuit breaker is open, the connection broke during the call, or Redis answered with an error.
    Open,
    /// Redis has refused this call of a script other than the first, and that says nothing of other calls: a key of
    /// another type, or an access list without it.
    Refused,
    /// Redis had the command for the whole budget, or did not take it for so long, and there is no answer.
    TimedOut,
    /// The command could not leave within the budget. That says nothing of Redis.
    Unsent,
    /// Too many calls are waiting already. That says nothing of Redis.
    QueueFull,
    /// The keys move from one node of a cluster to another, and are not on the same one now. Each alone can be asked
    /// about.
    Apart,
}

/// Why a node has not answered a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// There is no answer.
    Unavailable(Unavailable),
    /// Another node has to be asked.
    Elsewhere(Elsewhere),
}
