//! Shared by the tests of this module: a configuration, and tokens that a JWT library would not make.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};

use super::{CredentialError, Keys};
use crate::config::{Jwt, Secret};

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
    Jwt {
        secrets: vec![Secret(SECRET.to_vec())],
        issuer: None,
        audience: None,
        leeway: Duration::ZERO,
        user_claim: "sub".to_owned(),
    }
}

/// A correctly signed token of any header and claims, JSON or not.
pub(super) fn token(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    sealed(&format!("{}.{}", encode(header), encode(claims)))
}

/// A message with its HS256 signature.
pub(super) fn sealed(message: &str) -> String {
    signed_by(message, SECRET, Algorithm::HS256)
}

pub(super) fn signed_by(message: &str, secret: &[u8], algorithm: Algorithm) -> String {
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The verdict of a configuration on a token: the user's name, or the code of the answer.
pub(super) fn verdict(jwt: &Jwt, token: impl AsRef<[u8]>, now_unix_s: u64) -> Result<String, &'static str> {
    let verified = Keys::new(jwt).verify(token.as_ref(), now_unix_s).map_err(CredentialError::code)?;
    assert!((verified.valid_from_unix_s..verified.expires_unix_s).contains(&now_unix_s));
    Ok(verified.user.as_str().to_owned())
}
