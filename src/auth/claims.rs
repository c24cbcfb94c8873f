//! What a token must claim, once its signature holds.

use std::rc::Rc;
use std::time::Duration;

use super::json::{self, Json};
use super::{Refusal, User, Verified};
use crate::config::Jwt;
use crate::limits::SUBJECT_BYTES_MAX;

/// The rules of one configuration.
pub(super) struct Rules {
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Duration,
    user_claim: String,
}

impl Rules {
    pub(super) fn new(jwt: &Jwt) -> Self {
        Self {
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            leeway: jwt.leeway,
            user_claim: jwt.user_claim.clone(),
        }
    }

    /// Checks decoded claims. [`Refusal::Expired`] comes last: it promises that a new token would pass.
    pub(super) fn check(&self, claims: &[u8], now_unix_s: u64) -> Result<Verified, Refusal> {
        let claims = json::object(claims).ok_or(Refusal::Invalid)?;
        let user = user(claims.get(&self.user_claim)).ok_or(Refusal::Invalid)?;
        let expires_unix_s = self.expiry(claims.get("exp")).ok_or(Refusal::Invalid)?;
        let valid_from_unix_s = self.start(claims.get("nbf")).ok_or(Refusal::Invalid)?;
        let ours = self.issued_here(claims.get("iss")) && self.meant_for_us(claims.get("aud"));
        if !ours || now_unix_s < valid_from_unix_s {
            return Err(Refusal::Invalid);
        }
        if now_unix_s >= expires_unix_s {
            return Err(Refusal::Expired);
        }
        Ok(Verified { user, valid_from_unix_s, expires_unix_s })
    }

    /// The first whole second at or after `exp` plus leeway: "the expiration time on or after which the JWT
    /// MUST NOT be accepted" (RFC 7519 §4.1.4).
    fn expiry(&self, exp: Option<&Json<'_>>) -> Option<u64> {
        let end_ns = date_ns(exp?)? + self.leeway.as_nanos();
        Some(whole_seconds(end_ns))
    }

    /// The first whole second at or after `nbf` minus leeway; 0 without `nbf`.
    fn start(&self, nbf: Option<&Json<'_>>) -> Option<u64> {
        let Some(nbf) = nbf else { return Some(0) };
        Some(whole_seconds(date_ns(nbf)?.saturating_sub(self.leeway.as_nanos())))
    }

    fn issued_here(&self, iss: Option<&Json<'_>>) -> bool {
        self.issuer.as_deref().is_none_or(|issuer| iss.and_then(Json::as_str) == Some(issuer))
    }

    /// `aud` is "an array of case-sensitive strings" or, "in the special case when the JWT has one audience",
    /// "a single case-sensitive string" (RFC 7519 §4.1.3).
    fn meant_for_us(&self, aud: Option<&Json<'_>>) -> bool {
        let Some(audience) = self.audience.as_deref() else { return true };
        match aud {
            Some(Json::String(one)) => one == audience,
            Some(Json::Array(many)) => {
                many.iter().all(|item| item.as_str().is_some())
                    && many.iter().any(|item| item.as_str() == Some(audience))
            }
            _ => false,
        }
    }
}

/// Whether a name can be a user: what a header field, a Redis key and a log line can carry as it is.
pub(super) fn is_user(name: &str) -> bool {
    (1..=SUBJECT_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn user(claim: Option<&Json<'_>>) -> Option<User> {
    let name = claim?.as_str().filter(|name| is_user(name))?;
    Some(User(Rc::from(name)))
}

/// A NumericDate in nanoseconds: "the number of seconds from 1970-01-01T00:00:00Z UTC …, non-integer values
/// can be represented" (RFC 7519 §2). A fraction is rounded up, so that none is lost; a double at today's
/// dates is itself no finer than a quarter of a microsecond.
fn date_ns(date: &Json<'_>) -> Option<u128> {
    let (seconds, fraction) = match *date {
        Json::Whole(seconds) if seconds <= DATE_MAX => (seconds, 0.0),
        // Whole numbers up to 2^53 are exact in a double. The sign test refuses `-0`, too.
        Json::Real(real) if real.is_sign_positive() && real <= DATE_MAX as f64 => {
            (real.trunc() as u64, real.fract())
        }
        _ => return None,
    };
    Some(u128::from(seconds) * NS_PER_S + (fraction * NS_PER_S as f64).ceil() as u128)
}

fn whole_seconds(ns: u128) -> u64 {
    u64::try_from(ns.div_ceil(NS_PER_S)).unwrap_or(u64::MAX)
}

/// The last date that is taken, in seconds: every whole number up to here is a double. It is some 285 million
/// years ahead; who writes more has made a mistake.
const DATE_MAX: u64 = 1 << 53;
const NS_PER_S: u128 = 1_000_000_000;
