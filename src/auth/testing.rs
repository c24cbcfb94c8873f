//! Shared by the tests of this module: a configuration, and tokens that a JWT library would not make.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;

use super::{CredentialError, KeySets, Keys};
use crate::config::{ClaimPath, Issuer, IssuerSet, Jwt, Secret, WantedClaims};

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const SECRET: &[u8] = b"a secret of no less than thirty-two bytes";
pub(super) const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
pub(super) const CLAIMS: &str = r#"{"sub":"alice","exp":1800000060}"#;

/// The codes of the three answers.
pub(super) const MISSING: &str = "token_missing";
pub(super) const INVALID: &str = "token_invalid";
pub(super) const EXPIRED: &str = "token_expired";

/// One secret, no issuer, no audience, no leeway.
pub(super) fn jwt() -> Jwt {
    Jwt { issuers: vec![issuer()], claims: WantedClaims::default() }
}

/// The same with its issuer changed.
pub(super) fn with(change: impl FnOnce(&mut Issuer)) -> Jwt {
    let mut jwt = jwt();
    change(&mut jwt.issuers[0]);
    jwt
}

pub(super) fn issuer() -> Issuer {
    Issuer {
        name: "default".to_owned(),
        issuer: None,
        audiences: Vec::new(),
        secrets: vec![Secret(SECRET.to_vec())],
        pem: None,
        key_set: None,
        ca: None,
        algorithms: None,
        leeway: Duration::ZERO,
        user_claim: ClaimPath::parse("sub").unwrap(),
        lifetime_max: None,
        token_types: Vec::new(),
    }
}

/// The keys of a configuration, without key sets.
pub(super) fn keys(jwt: &Jwt) -> Keys {
    Keys::new(jwt, &KeySets::unavailable(jwt))
}

/// A correctly signed token of any header and claims, JSON or not.
pub(super) fn token(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    sealed(&format!("{}.{}", encode(header), encode(claims)))
}

/// A message with its HS256 signature.
pub(super) fn sealed(message: &str) -> String {
    signed_by(message, SECRET, Algorithm::HS256)
}

/// A message with its HMAC, by any secret: the library takes no empty one.
pub(super) fn signed_by(message: &str, secret: &[u8], algorithm: Algorithm) -> String {
    let hash = match algorithm {
        Algorithm::HS384 => hmac::HMAC_SHA384,
        Algorithm::HS512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let signature = hmac::sign(&hmac::Key::new(hash, secret), message.as_bytes());
    format!("{message}.{}", encode(signature))
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The verdict of a configuration on a token: the user's name, or the code of the answer.
pub(super) fn verdict(jwt: &Jwt, token: impl AsRef<[u8]>, now_unix_s: u64) -> Result<String, &'static str> {
    let accepted = keys(jwt).verify(token.as_ref(), IssuerSet::ALL, now_unix_s);
    let verified = accepted.map_err(CredentialError::code)?.verified;
    assert!((verified.valid_from_unix_s..verified.expires_unix_s).contains(&now_unix_s));
    Ok(verified.user.as_str().to_owned())
}
