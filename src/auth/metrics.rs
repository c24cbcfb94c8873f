//! Metrics of authentication.

use super::error::CAUSES;

crate::metric_group! {
    /// Metrics of one core's authenticator.
    pub struct AuthMetrics {
        /// Tokens found in the cache of verified tokens.
        counter cache_hits = "token_cache_hits";
        /// Tokens whose signature had to be checked.
        counter cache_misses = "token_cache_misses";
        /// Requests without a credential that counts, by the check that failed.
        labelled refused("reason", &CAUSES) = "unauthorized";
    }
}
