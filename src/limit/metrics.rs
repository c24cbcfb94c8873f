//! Metrics of the rate limiter whose buckets are in Redis.

crate::metric_group! {
    /// What one limit has decided, on one core.
    pub struct LimitDecisions {
        /// Decisions of the rate limiter, by limit and outcome. A request that is admitted counts at each of its
        /// limits, one that is limited at the one that refuses it, and one that no store could decide at each.
        labelled decisions("outcome", &OUTCOMES) = "limit_decisions";
    }
}

/// What a limit may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitOutcome {
    /// It has admitted the request.
    Admitted,
    /// It has refused it.
    Limited,
    /// No store could say: what becomes of the request is `RATE_LIMIT_ON_REDIS_FAILURE`'s.
    Undecided,
}

const OUTCOMES: [&str; 3] = ["admitted", "limited", "undecided"];

crate::metric_group! {
    /// Metrics of one core's limiter.
    pub struct LimitMetrics {
        /// Requests that the limiter let pass.
        counter admitted = "limit_admitted";
        /// Requests that the limiter refused.
        counter refused = "limit_refused";
        /// Calls that gave tokens back to a Redis cluster, because another limit of the request has refused it.
        counter given_back = "limit_given_back";
        /// Requests that were refused without asking: the bucket was known to be empty.
        counter refused_locally = "limit_refused_locally";
        /// Requests that this process's own buckets admitted, because this core could not ask Redis in time.
        counter admitted_unasked = "limit_admitted_unasked";
        /// Requests that were refused without asking, because this core could not ask Redis in time.
        counter refused_unasked = "limit_refused_unasked";
    }
}
