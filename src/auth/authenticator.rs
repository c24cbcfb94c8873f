//! Verifies tokens, and remembers the tokens that passed.
//!
//! Other rules mean another authenticator. Other keys under the same rules do not: the tokens of a key that is gone are
//! forgotten, and the others stay.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::cache::Cache;
use super::error::{CredentialError, UnknownKey};
use super::keys::Keys;
use super::metrics::AuthMetrics;
use super::unknown::{KeyRequests, Standing, UnknownKeys, Waiter};
use super::user::Verified;
use crate::clock;
use crate::config::IssuerSet;
use crate::limits::{LONG_TOKENS_PER_TICK, TICK_MS, TOKEN_CACHED_BYTES_MAX};

/// The token verifier of one core.
pub struct Authenticator {
    keys: RefCell<Arc<Keys>>,
    cache: RefCell<Cache>,
    metrics: Arc<AuthMetrics>,
    /// How often the keys have changed.
    generation: Cell<u64>,
    unknown: UnknownKeys,
    requests: Arc<KeyRequests>,
    /// Long tokens of limited addresses: the tick, and how many there were in it.
    long: Cell<(u64, u32)>,
}

impl Authenticator {
    /// Starts with an empty cache.
    pub fn new(keys: Arc<Keys>, requests: Arc<KeyRequests>, metrics: Arc<AuthMetrics>) -> Self {
        Self {
            keys: RefCell::new(keys),
            cache: RefCell::new(Cache::new()),
            metrics,
            generation: Cell::default(),
            unknown: UnknownKeys::default(),
            requests,
            long: Cell::default(),
        }
    }

    /// How often the keys have changed.
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// What is to be done about a token of a key that is not known. A newer key set is asked for.
    pub fn look_for(&self, key: UnknownKey) -> Standing {
        self.unknown.look_for(key, &self.requests, clock::now_ms())
    }

    /// A place among the requests that wait for a newer key set, until the coarse clock shows `deadline_ms`. `None`:
    /// there are too many, or none will come by then.
    pub fn waiter(&self, deadline_ms: u64) -> Option<Waiter<'_>> {
        if self.requests.is_idle_until(deadline_ms) { None } else { self.unknown.waiter() }
    }

    /// Whether one more long token (over [`TOKEN_CACHED_BYTES_MAX`]) is verified in this tick for an address that is
    /// limited already: [`LONG_TOKENS_PER_TICK`] are. Short ones need no leave: one may be the new token of an honest
    /// neighbour, and a forged one costs less than the answer that it gets.
    pub fn affords_long(&self) -> bool {
        let now = clock::now_ms() / TICK_MS;
        let count = match self.long.get() {
            (tick, count) if tick == now => count + 1,
            _ => 1,
        };
        self.long.set((now, count));
        count <= LONG_TOKENS_PER_TICK
    }

    /// From now on these keys verify, by the rules of before. Remembered tokens of a key that is not among them are
    /// forgotten.
    pub fn take_keys(&self, keys: &Arc<Keys>) {
        let before = self.keys.replace(keys.clone());
        if !Arc::ptr_eq(&before, keys) {
            self.cache.borrow_mut().retain_signed_by(keys);
            self.unknown.withdraw(keys.withdrawn_since(&before), clock::now_ms());
            self.generation.set(self.generation.get() + 1);
        }
    }

    /// Verifies a token of one of these issuers and returns its user.
    ///
    /// # Errors
    /// The check that the token fails.
    pub fn verify(
        &self,
        token: &[u8],
        issuers: IssuerSet,
        now_unix_s: u64,
    ) -> Result<Verified, CredentialError> {
        let cacheable = token.len() <= TOKEN_CACHED_BYTES_MAX;
        if cacheable && let Some(verified) = self.cache.borrow_mut().get(token, issuers, now_unix_s) {
            self.metrics.cache_hits.add(1);
            return Ok(verified);
        }
        self.metrics.cache_misses.add(1);
        let accepted = self.keys.borrow().verify(token, issuers, now_unix_s)?;
        if cacheable {
            self.cache.borrow_mut().insert(token, accepted.clone());
        }
        Ok(accepted.verified)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLAIMS, EXPIRED, HEADER, INVALID, NOW, jwt, keys, token};
    use super::*;

    struct Asked {
        authenticator: Authenticator,
        metrics: Arc<AuthMetrics>,
    }

    impl Asked {
        fn new() -> Self {
            let metrics = Arc::<AuthMetrics>::default();
            Self {
                authenticator: Authenticator::new(Arc::new(keys(&jwt())), Arc::default(), metrics.clone()),
                metrics,
            }
        }

        /// The user of a token, or the code of the answer.
        fn by(&self, token: &str, now_unix_s: u64) -> Result<String, &'static str> {
            let verified = self.authenticator.verify(token.as_bytes(), IssuerSet::ALL, now_unix_s);
            verified.map(|verified| verified.user.as_str().to_owned()).map_err(CredentialError::code)
        }

        fn hits_and_misses(&self) -> (u64, u64) {
            (self.metrics.cache_hits.get(), self.metrics.cache_misses.get())
        }
    }

    #[test]
    fn a_token_is_verified_once_and_remembered_until_it_expires() {
        let asked = Asked::new();
        let token_text = token(HEADER, CLAIMS);
        assert!(asked.by(&token_text, NOW).is_ok());
        assert!(asked.by(&token_text, NOW + 59).is_ok());
        assert_eq!(asked.hits_and_misses(), (1, 1));
        assert_eq!(asked.by(&token_text, NOW + 60), Err(EXPIRED));
        assert_eq!(asked.hits_and_misses(), (1, 2));
    }

    #[test]
    fn a_remembered_token_is_not_valid_before_nbf_when_the_clock_goes_back() {
        let asked = Asked::new();
        let token_text = token(HEADER, r#"{"sub":"alice","exp":1800000060,"nbf":1800000000}"#);
        assert!(asked.by(&token_text, NOW).is_ok());
        assert_eq!(asked.by(&token_text, NOW - 1), Err(INVALID));
    }

    #[test]
    fn refusals_and_long_tokens_are_not_remembered() {
        let asked = Asked::new();
        let forged = format!("{}A", token(HEADER, CLAIMS));
        let filler = "x".repeat(TOKEN_CACHED_BYTES_MAX);
        let long = token(HEADER, format!(r#"{{"sub":"alice","exp":1800000060,"x":"{filler}"}}"#));
        for token_text in [&forged, &forged, &long, &long] {
            let _ = asked.by(token_text, NOW);
        }
        assert_eq!(asked.hits_and_misses(), (0, 4));
    }
}
