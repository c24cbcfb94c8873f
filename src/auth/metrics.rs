//! Metrics of authentication.

crate::metric_group! {
    /// Metrics of one core's authenticator.
    pub struct AuthMetrics {
        /// Tokens found in the cache of verified tokens.
        counter cache_hits = "token_cache_hits";
        /// Tokens whose signature had to be checked.
        counter cache_misses = "token_cache_misses";
    }
}
