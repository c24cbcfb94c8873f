//! Verifies tokens, and remembers the tokens that passed.
//!
//! Other rules mean another authenticator. Other keys under the same rules do not: the tokens of a key that is gone are
//! forgotten, and the others stay.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::cache::Cache;
use super::error::{CredentialError, TokenFault, UnknownKey};
use super::key::KeyId;
use super::key_counters::{KeyCounters, KeyMetrics};
use super::keys::Keys;
use super::metrics::AuthMetrics;
use super::unknown::{KeyRequests, Standing, UnknownKeys, Waiter};
use super::user::Verified;
use crate::clock;
use crate::config::IssuerSet;
use crate::limits::{DEAR_TOKENS_PER_TICK, TICK_MS, TOKEN_CACHED_BYTES_MAX};

/// The token verifier of one core.
pub struct Authenticator {
    keys: RefCell<Arc<Keys>>,
    cache: RefCell<Cache>,
    metrics: Arc<AuthMetrics>,
    counters: Arc<KeyCounters>,
    /// What each key has verified, in the keys' order.
    verified: RefCell<Vec<Arc<KeyMetrics>>>,
    /// How often the keys have changed.
    generation: Cell<u64>,
    unknown: UnknownKeys,
    requests: Arc<KeyRequests>,
    /// Dear tokens of limited addresses: the tick, and how many there were in it.
    dear: Cell<(u64, u32)>,
}

impl Authenticator {
    /// Starts with an empty cache.
    pub fn new(
        keys: Arc<Keys>,
        requests: Arc<KeyRequests>,
        (metrics, counters): (Arc<AuthMetrics>, Arc<KeyCounters>),
    ) -> Self {
        Self {
            verified: RefCell::new(counters.of(&keys.labels())),
            counters,
            keys: RefCell::new(keys),
            cache: RefCell::new(Cache::new()),
            metrics,
            generation: Cell::default(),
            unknown: UnknownKeys::default(),
            requests,
            dear: Cell::default(),
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

    /// Whether one more dear token is verified in this tick for an address that is limited already:
    /// [`DEAR_TOKENS_PER_TICK`] are. Dear are long ones (over [`TOKEN_CACHED_BYTES_MAX`]) and those that a public key
    /// verifies. Others need no leave: one may be the new token of an honest neighbour, and a forged one costs less
    /// than the answer that it gets.
    pub(super) fn affords_dear(&self) -> bool {
        let now = clock::now_ms() / TICK_MS;
        let count = match self.dear.get() {
            (tick, count) if tick == now => count + 1,
            _ => 1,
        };
        self.dear.set((now, count));
        count <= DEAR_TOKENS_PER_TICK
    }

    /// The keys of now.
    pub(super) fn keys(&self) -> Arc<Keys> {
        self.keys.borrow().clone()
    }

    /// Forgets the remembered tokens that were not used since the last call; they are verified again when they come.
    pub fn forget_unused(&self) {
        self.cache.borrow_mut().turn();
    }

    /// From now on these keys verify, by the rules of before. Remembered tokens of a key that is not among them are
    /// forgotten.
    pub fn take_keys(&self, keys: &Arc<Keys>) {
        let before = self.keys.replace(keys.clone());
        if !Arc::ptr_eq(&before, keys) {
            self.cache.borrow_mut().retain_signed_by(keys);
            *self.verified.borrow_mut() = self.counters.of(&keys.labels());
            self.unknown.withdraw(keys.withdrawn_since(&before), clock::now_ms());
            self.generation.set(self.generation.get() + 1);
        }
    }

    /// Verifies a token of one of these issuers and returns its user. `is_limited`: whether the address that sends it
    /// has shown too many bad ones lately; it is asked only if the token is not remembered.
    ///
    /// # Errors
    /// The check that the token fails.
    pub fn verify(
        &self,
        token: &[u8],
        issuers: IssuerSet,
        now_unix_s: u64,
        is_limited: impl FnOnce() -> bool,
    ) -> Result<Verified, CredentialError> {
        let cacheable = token.len() <= TOKEN_CACHED_BYTES_MAX;
        if cacheable && let Some(verified) = self.cache.borrow_mut().get(token, issuers, now_unix_s) {
            self.metrics.cache_hits.add(1);
            return Ok(verified);
        }
        if is_limited() && (!cacheable || Keys::is_dear(token)) && !self.affords_dear() {
            return Err(TokenFault::Unverified.into());
        }
        self.metrics.cache_misses.add(1);
        let keys = self.keys.borrow();
        let signed = keys.signed(token, issuers)?;
        self.count(&keys, signed.key.id);
        let accepted = keys.judge(&signed, now_unix_s)?;
        if cacheable {
            self.cache.borrow_mut().insert(token, accepted.clone());
        }
        Ok(accepted.verified)
    }

    fn count(&self, keys: &Keys, id: KeyId) {
        let verified = self.verified.borrow();
        if let Some(counter) = keys.place(id).and_then(|place| verified.get(place)) {
            counter.verified.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLAIMS, EXPIRED, HEADER, INVALID, NOW, encode, jwt, keys, token};
    use super::*;
    use crate::auth::tests::signers::{Signer, set_of};
    use crate::auth::{KeySetState, KeySets};
    use crate::config::{Algorithm, Issuer, Jwt, KeySetSource, WantedClaims};

    struct Asked {
        authenticator: Authenticator,
        metrics: Arc<AuthMetrics>,
    }

    impl Asked {
        fn new() -> Self {
            let metrics = Arc::<AuthMetrics>::default();
            Self {
                authenticator: Authenticator::new(
                    Arc::new(keys(&jwt())),
                    Arc::default(),
                    (metrics.clone(), Arc::default()),
                ),
                metrics,
            }
        }

        /// The user of a token, or the code of the answer.
        fn by(&self, token: &str, now_unix_s: u64) -> Result<String, &'static str> {
            let verified = self.authenticator.verify(token.as_bytes(), IssuerSet::ALL, now_unix_s, || false);
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

    #[test]
    fn with_other_keys_only_the_tokens_of_keys_that_are_gone_are_forgotten() {
        let issuer = Issuer {
            secrets: Vec::new(),
            key_set: Some(KeySetSource::File("/keys.json".into())),
            ..super::super::testing::issuer()
        };
        let jwt = Jwt { issuers: vec![issuer], claims: WantedClaims::default() };
        let keys = |signers: &[&Signer]| {
            let mut sets = KeySets::unavailable(&jwt);
            sets.set(0, KeySetState::Available(set_of(signers)));
            Arc::new(Keys::new(&jwt, &sets))
        };
        let [one, two] = ["one", "two"].map(|kid| Signer::of(Algorithm::Es256, kid));
        let token_of = |signer: &Signer, kid: &str| {
            signer.token(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#), CLAIMS, Algorithm::Es256)
        };
        let (of_one, of_two) = (token_of(&one, "one"), token_of(&two, "two"));
        let metrics = Arc::<AuthMetrics>::default();
        let authenticator =
            Authenticator::new(keys(&[&one, &two]), Arc::default(), (metrics.clone(), Arc::default()));
        let asked = Asked { authenticator, metrics };
        assert!(asked.by(&of_one, NOW).is_ok() && asked.by(&of_two, NOW).is_ok());
        // The same keys in another order, then without one of them, then with it again.
        asked.authenticator.take_keys(&keys(&[&two, &one]));
        assert!(asked.by(&of_one, NOW).is_ok() && asked.by(&of_two, NOW).is_ok());
        assert_eq!(asked.hits_and_misses(), (2, 2));
        asked.authenticator.take_keys(&keys(&[&two]));
        assert_eq!(asked.by(&of_one, NOW), Err(INVALID));
        assert!(asked.by(&of_two, NOW).is_ok());
        assert_eq!(asked.hits_and_misses(), (3, 3));
        asked.authenticator.take_keys(&keys(&[&one, &two]));
        assert!(asked.by(&of_one, NOW).is_ok());
        assert_eq!(asked.hits_and_misses(), (3, 4));
        // Another key under the old name is another key.
        asked.authenticator.take_keys(&keys(&[&Signer::of(Algorithm::Es256, "one"), &two]));
        assert_eq!(asked.by(&of_one, NOW), Err(INVALID));
    }

    #[test]
    fn a_remembered_token_counts_only_where_its_issuer_does() {
        let asked = Asked::new();
        let token_text = token(HEADER, CLAIMS);
        assert!(asked.by(&token_text, NOW).is_ok());
        let elsewhere = asked.authenticator.verify(token_text.as_bytes(), IssuerSet::NONE, NOW, || false);
        assert_eq!(elsewhere.unwrap_err(), TokenFault::Algorithm.into());
        assert!(asked.by(&token_text, NOW).is_ok());
        assert_eq!(asked.hits_and_misses(), (1, 2), "it was not forgotten");
    }

    /// A forged token of a public key's algorithm costs some hundred times the answer that it gets.
    #[test]
    fn of_a_limited_address_few_dear_tokens_are_verified_in_a_tick() {
        let asked = Asked::new();
        let dear = format!("{}.{}.c2ln", encode(r#"{"alg":"RS256"}"#), encode(CLAIMS));
        let cause = |token: &str, limited: bool| {
            let refused = asked.authenticator.verify(token.as_bytes(), IssuerSet::ALL, NOW, || limited);
            refused.map_or_else(CredentialError::cause, |_| "valid")
        };
        for _ in 0..2 * DEAR_TOKENS_PER_TICK {
            assert_eq!(cause(&dear, false), "algorithm");
        }
        let verified = (0..100 * DEAR_TOKENS_PER_TICK).filter(|_| cause(&dear, true) == "algorithm").count();
        // The clock may have come to another tick or two meanwhile.
        assert!((1..=3 * DEAR_TOKENS_PER_TICK as usize).contains(&verified), "{verified}");
        assert_eq!(cause(&token(HEADER, CLAIMS), true), "valid");
    }
}
