//! Metrics of the rate limiter whose buckets are in Redis.

crate::metric_group! {
    /// Metrics of one core's limiter.
    pub struct LimitMetrics {
        /// Requests that the limiter let pass.
        counter admitted = "limit_admitted";
        /// Requests that the limiter refused.
        counter refused = "limit_refused";
        /// Requests that were refused without asking: the bucket was known to be empty.
        counter refused_locally = "limit_refused_locally";
        /// Requests that this process's own buckets admitted, because this core could not ask Redis in time.
        counter admitted_unasked = "limit_admitted_unasked";
        /// Requests that were refused without asking, because this core could not ask Redis in time.
        counter refused_unasked = "limit_refused_unasked";
    }
}
