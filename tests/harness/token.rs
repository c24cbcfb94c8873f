//! Tokens: valid ones, and any forgery a test can spell.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The secret that every gateway under test gets.
pub const SECRET: &str = "a secret for tests, longer than thirty-two bytes";

/// A valid token of this user, good for an hour.
pub fn token(user: &str) -> String {
    let claims = serde_json::json!({ "sub": user, "exp": now() + 3600 });
    token_with(claims.to_string(), r#"{"alg":"HS256","typ":"JWT"}"#, SECRET)
}

/// An HS256 signature over whatever is given as claims and header, JSON or not.
pub fn token_with(claims: impl AsRef<[u8]>, header: impl AsRef<[u8]>, secret: &str) -> String {
    sign(&format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)), secret)
}

/// The signed form of two parts that are encoded already.
pub fn sign(parts: &str, secret: &str) -> String {
    // Not `jsonwebtoken`, which signs with no empty secret: an attacker does.
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), parts.as_bytes());
    format!("{parts}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}
