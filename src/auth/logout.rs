//! Logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4): what an issuer says when a session of its ends.

use super::authenticator::Authenticator;
use super::claims::{ClaimRules, is_logout};
use super::error::{CredentialError, TokenFault};
use super::json::{self, Json};
use super::keys::Keys;
use super::token;
use crate::config::IssuerSet;

/// Whose session has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// What ended.
    pub subject: LoggedOut,
    /// When the issuer said so, in whole seconds since 1970. Tokens of later count: a repeated logout token, stolen or
    /// sent again, does no harm.
    pub issued_unix_s: u64,
}

/// What ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggedOut {
    /// The session with this `sid`.
    Session(String),
    /// All sessions of this user.
    User(String),
}

impl Authenticator {
    /// Verifies a logout token for one of these clients of the issuer.
    ///
    /// # Errors
    /// The check that it fails.
    pub fn verify_logout(
        &self,
        logout_token: &[u8],
        clients: &[String],
        now_unix_s: u64,
        is_limited: impl FnOnce() -> bool,
    ) -> Result<Logout, CredentialError> {
        if is_limited() && !self.affords_dear() {
            return Err(TokenFault::Unverified.into());
        }
        self.keys().logout(logout_token, clients, now_unix_s)
    }
}

impl Keys {
    fn logout(
        &self,
        logout_token: &[u8],
        clients: &[String],
        now_unix_s: u64,
    ) -> Result<Logout, CredentialError> {
        let signed = self.signed(logout_token, IssuerSet::ALL)?;
        let typ = signed.header.typ.as_deref();
        // Older issuers do not type it; the claim `events` makes it one.
        if !typ.is_none_or(|typ| typ.eq_ignore_ascii_case("logout+jwt") || typ.eq_ignore_ascii_case("JWT")) {
            return Err(TokenFault::Type.into());
        }
        let claims = token::decode(signed.parts.claims)?;
        self.rules_of(signed.key).check_logout(&claims, clients, now_unix_s)
    }
}

impl ClaimRules {
    /// The checks of §2.6, in their order.
    fn check_logout(
        &self,
        claims: &[u8],
        clients: &[String],
        now_unix_s: u64,
    ) -> Result<Logout, CredentialError> {
        let claims = json::object(claims).ok_or(TokenFault::Claims)?;
        if !self.is_issuer(claims.get("iss")) {
            return Err(TokenFault::Issuer.into());
        }
        if !is_among(clients, claims.get("aud")) {
            return Err(TokenFault::Audience.into());
        }
        let leeway_s = self.leeway_s();
        let issued_unix_s = claims.get("iat").and_then(whole_second).ok_or(TokenFault::NoIssuedAt)?;
        let is_old = issued_unix_s + LOGOUT_AGE_MAX_S + leeway_s < now_unix_s;
        let is_over = match claims.get("exp") {
            None => false,
            Some(exp) => whole_second(exp).ok_or(TokenFault::NoExpiry)? + leeway_s <= now_unix_s,
        };
        if is_old || is_over {
            return Err(CredentialError::Expired);
        }
        if issued_unix_s > now_unix_s + leeway_s {
            return Err(TokenFault::NotYetValid.into());
        }
        // An ID token of the same issuer has a nonce and no event: it must not end a session.
        if !is_logout(&claims) || claims.get("nonce").is_some() || text(claims.get("jti")).is_none() {
            return Err(TokenFault::Type.into());
        }
        let subject = match (text(claims.get("sid")), claims.at(self.user_claim())) {
            (Some(sid), _) => LoggedOut::Session(sid.to_owned()),
            (None, Some(Json::String(user))) if is_name(user) => LoggedOut::User(user.clone().into_owned()),
            (None, Some(Json::Whole(number))) => LoggedOut::User(number.to_string()),
            (None, _) => return Err(TokenFault::Subject.into()),
        };
        Ok(Logout { subject, issued_unix_s })
    }
}

fn is_among(clients: &[String], aud: Option<&Json<'_>>) -> bool {
    let is_one = |aud: &Json<'_>| aud.as_str().is_some_and(|aud| clients.iter().any(|client| client == aud));
    match aud {
        Some(Json::Array(many)) => many.iter().any(is_one),
        Some(one) => is_one(one),
        None => false,
    }
}

fn text<'j>(value: Option<&'j Json<'_>>) -> Option<&'j str> {
    value.and_then(Json::as_str).filter(|text| is_name(text))
}

/// What the control stream can name.
fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn whole_second(date: &Json<'_>) -> Option<u64> {
    match date {
        Json::Whole(second) => Some(*second).filter(|second| *second < SECOND_MAX),
        Json::Real(seconds) if *seconds >= 0.0 && *seconds < SECOND_MAX as f64 => Some(*seconds as u64),
        _ => None,
    }
}

/// An issuer tries again for a while; what is older is somebody else's doing. In seconds.
const LOGOUT_AGE_MAX_S: u64 = 600;
const NAME_BYTES_MAX: usize = 256;
/// Seconds of the stream's entries have 32 bits.
const SECOND_MAX: u64 = u32::MAX as u64;
