//! Who is asking: from the `Authorization` field to a verified user, by pure CPU on this core.
//!
//! Reading order is the order of the checks: the field (here), the `cache`, the shape of a token (`token`),
//! its signature ([`keys`]), what it claims (`claims`). Only this module can make an [`Identity`], so
//! whoever needs one has been through it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Access;
use crate::limits::TOKEN_CACHED_BYTES_MAX;

mod cache;
mod claims;
mod json;
mod metrics;
pub mod keys;
pub mod mint;
#[cfg(test)]
mod testing;
mod token;

pub use keys::{Keys, Verified};
pub use metrics::AuthMetrics;
pub use mint::{MintError, mint};

use cache::Cache;

/// Answers who is asking. One per core: it remembers the tokens that it has verified.
pub struct Authenticator {
    keys: RefCell<Arc<Keys>>,
    cache: RefCell<Cache>,
    metrics: Arc<AuthMetrics>,
}

impl Authenticator {
    /// Starts with an empty cache.
    pub fn new(keys: Arc<Keys>, metrics: Arc<AuthMetrics>) -> Self {
        Self { keys: RefCell::new(keys), cache: RefCell::new(Cache::new()), metrics }
    }

    /// The user whom a token names.
    ///
    /// # Errors
    /// Why the token names nobody.
    pub fn verify(&self, token: &[u8], now_unix_s: u64) -> Result<Verified, Refusal> {
        let cacheable = token.len() <= TOKEN_CACHED_BYTES_MAX;
        if cacheable && let Some(verified) = self.cache.borrow_mut().get(token, now_unix_s) {
            self.metrics.cache_hits.add(1);
            return Ok(verified);
        }
        self.metrics.cache_misses.add(1);
        let verified = self.keys.borrow().verify(token, now_unix_s)?;
        if cacheable {
            self.cache.borrow_mut().insert(token, verified.clone());
        }
        Ok(verified)
    }

    /// Verifies with these keys from now on. What the old ones verified is forgotten: a key is taken away
    /// because its tokens must no longer pass.
    pub fn replace_keys(&self, keys: Arc<Keys>) {
        self.keys.replace(keys);
        self.cache.borrow_mut().clear();
    }
}

/// Lets a request through to a route, or not. The only source of an [`Identity`].
///
/// A public route looks at no token: whatever was identified, its request has no user. Call this *after* the
/// limiter: a refused credential is itself limited before it is told so.
pub fn authorize(access: Access, identified: Result<Verified, Refusal>) -> Result<Identity, Refusal> {
    match access {
        Access::Public => Ok(Identity(None)),
        Access::Protected => Ok(Identity(Some(identified?))),
    }
}

/// Evidence that a request may use its route as far as identity goes.
#[derive(Debug)]
pub struct Identity(Option<Verified>);

impl Identity {
    /// The verified user; `None` on a public route.
    pub fn user(&self) -> Option<&User> {
        self.0.as_ref().map(|verified| &verified.user)
    }

    /// The first second, since 1970, at which it holds no longer; `None` on a public route.
    pub fn expires_unix_s(&self) -> Option<u64> {
        self.0.as_ref().map(|verified| verified.expires_unix_s)
    }
}

/// The subject of a verified token: 1 to 256 visible ASCII characters, so it can stand in a header, a Redis
/// key and a log line as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User(Rc<str>);

impl User {
    /// The name as the token has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a request has no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No bearer token: no `Authorization`, another scheme, or nothing behind the scheme.
    Missing,
    /// A credential that is not a valid token, for whatever reason: which one helps only a forger.
    Invalid,
    /// A token that is valid in every respect but that its time is over: get a new one.
    Expired,
}

impl Refusal {
    /// The stable `code` of the problem document.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::Missing => "token_missing",
            Refusal::Invalid => "token_invalid",
            Refusal::Expired => "token_expired",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for Refusal {}

/// `credentials = auth-scheme [ 1*SP ( token68 / … ) ]`, the scheme in any case (RFC 9110 §11.4).
pub fn bearer<'a>(mut credentials: impl Iterator<Item = &'a [u8]>) -> Result<&'a [u8], Refusal> {
    let value = credentials.next().ok_or(Refusal::Missing)?;
    if credentials.next().is_some() {
        return Err(Refusal::Invalid);
    }
    let Some((scheme, rest)) = value.split_at_checked(SCHEME.len()) else {
        return Err(Refusal::Missing);
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(Refusal::Missing);
    }
    let token = after_spaces(rest);
    match rest.first() {
        Some(b' ') if !token.is_empty() => Ok(token),
        // A tab is no separator here: somebody means a token, and writes it wrongly.
        Some(b'\t') => Err(Refusal::Invalid),
        // The scheme alone, or a longer one that only begins like ours.
        _ => Err(Refusal::Missing),
    }
}

fn after_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

const SCHEME: &[u8] = b"bearer";

#[cfg(test)]
mod tests {
    use super::testing::{CLAIMS, HEADER, NOW, jwt, token};
    use super::*;
    use crate::config::{Jwt, Secret};

    struct Asked {
        authenticator: Authenticator,
        metrics: Arc<AuthMetrics>,
    }

    impl Asked {
        fn new() -> Self {
            let metrics = Arc::<AuthMetrics>::default();
            Self { authenticator: Authenticator::new(Arc::new(Keys::new(&jwt())), metrics.clone()), metrics }
        }

        fn by(&self, fields: &[&str], now_unix_s: u64) -> Result<String, Refusal> {
            let values = fields.iter().map(|field| field.as_bytes());
            let verified = self.authenticator.verify(bearer(values)?, now_unix_s)?;
            Ok(verified.user.as_str().to_owned())
        }

        fn hits_and_misses(&self) -> (u64, u64) {
            (self.metrics.cache_hits.get(), self.metrics.cache_misses.get())
        }
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case_with_spaces_behind_it() {
        let token = token(HEADER, CLAIMS);
        for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer    "] {
            assert_eq!(Asked::new().by(&[&format!("{scheme}{token}")], NOW).as_deref(), Ok("alice"));
        }
    }

    #[test]
    fn no_bearer_token_is_a_missing_one() {
        let token = token(HEADER, CLAIMS);
        let (basic, longer) = (format!("Basic {token}"), format!("Bearers {token}"));
        assert_eq!(Asked::new().by(&[], NOW), Err(Refusal::Missing));
        for field in ["", " ", "Bearer", "Bearer ", "Bearer   ", "Bea", &basic, &longer, &token] {
            assert_eq!(Asked::new().by(&[field], NOW), Err(Refusal::Missing), "{field}");
        }
    }

    #[test]
    fn tabs_commas_and_anything_around_the_token_are_refused() {
        let token = token(HEADER, CLAIMS);
        for field in [
            format!("Bearer\t{token}"),
            format!("Bearer \t{token}"),
            format!("Bearer {token} "),
            format!("Bearer {token}\t"),
            format!("Bearer {token},"),
            format!("Bearer {token}, Bearer {token}"),
            format!("Bearer {token} {token}"),
            format!("Bearer \"{token}\""),
            format!("Bearer ={token}"),
        ] {
            assert_eq!(Asked::new().by(&[&field], NOW), Err(Refusal::Invalid), "{field}");
        }
    }

    #[test]
    fn refuses_two_authorization_fields() {
        let field = format!("Bearer {}", token(HEADER, CLAIMS));
        for fields in
            [[field.as_str(), &field], [&field, "Basic eA=="], ["Basic eA==", &field], ["", &field], ["", ""]]
        {
            assert_eq!(Asked::new().by(&fields, NOW), Err(Refusal::Invalid));
        }
    }

    #[test]
    fn a_token_is_verified_once_and_remembered_until_it_expires() {
        let asked = Asked::new();
        let field = format!("Bearer {}", token(HEADER, CLAIMS));
        assert!(asked.by(&[&field], NOW).is_ok());
        assert!(asked.by(&[&field], NOW + 59).is_ok());
        assert_eq!(asked.hits_and_misses(), (1, 1));
        assert_eq!(asked.by(&[&field], NOW + 60), Err(Refusal::Expired));
        assert_eq!(asked.hits_and_misses(), (1, 2));
    }

    #[test]
    fn a_remembered_token_is_not_valid_before_nbf_when_the_clock_goes_back() {
        let asked = Asked::new();
        let field =
            format!("Bearer {}", token(HEADER, r#"{"sub":"alice","exp":1800000060,"nbf":1800000000}"#));
        assert!(asked.by(&[&field], NOW).is_ok());
        assert_eq!(asked.by(&[&field], NOW - 1), Err(Refusal::Invalid));
    }

    #[test]
    fn refusals_and_long_tokens_are_not_remembered() {
        let asked = Asked::new();
        let forged = format!("Bearer {}A", token(HEADER, CLAIMS));
        let filler = "x".repeat(TOKEN_CACHED_BYTES_MAX);
        let long = token(HEADER, format!(r#"{{"sub":"alice","exp":1800000060,"x":"{filler}"}}"#));
        for field in [&forged, &forged, &format!("Bearer {long}"), &format!("Bearer {long}")] {
            let _ = asked.by(&[field], NOW);
        }
        assert_eq!(asked.hits_and_misses(), (0, 4));
    }

    #[test]
    fn new_keys_empty_the_cache() {
        let asked = Asked::new();
        let field = format!("Bearer {}", token(HEADER, CLAIMS));
        assert!(asked.by(&[&field], NOW).is_ok());
        let other = Jwt { secrets: vec![Secret(vec![9; 32])], ..jwt() };
        asked.authenticator.replace_keys(Arc::new(Keys::new(&other)));
        assert_eq!(asked.by(&[&field], NOW), Err(Refusal::Invalid));
        asked.authenticator.replace_keys(Arc::new(Keys::new(&jwt())));
        assert!(asked.by(&[&field], NOW).is_ok());
        assert_eq!(asked.hits_and_misses(), (0, 3));
    }

    #[test]
    fn a_protected_route_needs_a_user_and_a_public_one_has_none() {
        let alice = || Verified { user: User(Rc::from("alice")), valid_from_unix_s: 0, expires_unix_s: NOW };
        let identity = authorize(Access::Protected, Ok(alice())).unwrap();
        assert_eq!(identity.user().map(User::as_str), Some("alice"));
        assert_eq!(identity.expires_unix_s(), Some(NOW));
        for refusal in [Refusal::Missing, Refusal::Invalid, Refusal::Expired] {
            assert_eq!(authorize(Access::Protected, Err(refusal)).unwrap_err(), refusal);
            assert!(authorize(Access::Public, Err(refusal)).unwrap().user().is_none());
        }
        assert!(authorize(Access::Public, Ok(alice())).unwrap().user().is_none());
    }
}
