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
use crate::telemetry::Counters;

mod cache;
mod claims;
mod json;
pub mod keys;
pub mod mint;
#[cfg(test)]
mod testing;
mod token;

pub use keys::{Keys, Verified};
pub use mint::{MintError, mint};

use cache::Cache;

/// Answers who is asking. One per core: it remembers the tokens that it has verified.
pub struct Authenticator {
    keys: RefCell<Arc<Keys>>,
    cache: RefCell<Cache>,
}

impl Authenticator {
    /// Starts with an empty cache.
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys: RefCell::new(keys), cache: RefCell::new(Cache::new()) }
    }

    /// The user whom the request's credential names. `credentials` are the values of its `Authorization`
    /// fields, as the head parser trimmed them.
    ///
    /// Two such fields are refused: the gateway and whoever reads the request later may not choose
    /// differently between them.
    pub fn identify<'a>(
        &self,
        credentials: impl Iterator<Item = &'a [u8]>,
        now_unix_s: u64,
        counters: &Counters,
    ) -> Result<User, Refusal> {
        let token = bearer(credentials)?;
        let cacheable = token.len() <= TOKEN_CACHED_BYTES_MAX;
        if cacheable && let Some(user) = self.cache.borrow_mut().get(token, now_unix_s) {
            counters.token_cache_hits.add(1);
            return Ok(user);
        }
        counters.token_cache_misses.add(1);
        let verified = self.keys.borrow().verify(token, now_unix_s)?;
        let user = verified.user.clone();
        if cacheable {
            self.cache.borrow_mut().insert(token, verified);
        }
        Ok(user)
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
pub fn authorize(access: Access, identified: Result<User, Refusal>) -> Result<Identity, Refusal> {
    match access {
        Access::Public => Ok(Identity(None)),
        Access::Protected => Ok(Identity(Some(identified?))),
    }
}

/// Evidence that a request may use its route as far as identity goes.
#[derive(Debug)]
pub struct Identity(Option<User>);

impl Identity {
    /// The verified user; `None` on a public route.
    pub fn user(&self) -> Option<&User> {
        self.0.as_ref()
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
fn bearer<'a>(mut credentials: impl Iterator<Item = &'a [u8]>) -> Result<&'a [u8], Refusal> {
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
