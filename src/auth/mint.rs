//! Making tokens: for the `token` subcommand and the demo. The gateway itself issues none.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use super::claims::is_user;
use super::keys::Keys;
use crate::config::Jwt;

/// A token for `user`, signed with the first secret, that lives `ttl` (whole seconds) from now on.
///
/// Whatever the gateway would refuse under the same configuration is refused here.
pub fn mint(jwt: &Jwt, user: &str, ttl: Duration, now_unix_s: u64) -> Result<String, MintError> {
    if !is_user(user) {
        return Err(MintError::User);
    }
    let secret = jwt.secrets.first().ok_or(MintError::Unverifiable)?;
    let mut claims = Map::new();
    claims.insert("iat".to_owned(), Value::from(now_unix_s));
    claims.insert("exp".to_owned(), Value::from(now_unix_s.saturating_add(ttl.as_secs())));
    if let Some(issuer) = &jwt.issuer {
        claims.insert("iss".to_owned(), Value::from(issuer.as_str()));
    }
    if let Some(audience) = &jwt.audience {
        claims.insert("aud".to_owned(), Value::from(audience.as_str()));
    }
    claims.insert(jwt.user_claim.clone(), Value::from(user));
    let key = EncodingKey::from_secret(&secret.0);
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|_| MintError::Unverifiable)?;
    match Keys::new(jwt).verify(token.as_bytes(), now_unix_s) {
        Ok(verified) if verified.user.as_str() == user => Ok(token),
        _ => Err(MintError::Unverifiable),
    }
}

/// Why no token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MintError {
    /// The user is empty, over 256 bytes, or has a byte outside visible ASCII.
    User,
    /// The gateway would refuse the token: it lives no second or ends too far ahead, the secret cannot be
    /// used, or the user's claim is one that already has a meaning.
    Unverifiable,
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MintError::User => "a user is 1 to 256 visible ASCII characters",
            MintError::Unverifiable => {
                "the gateway would refuse this token: look at its life, the secret and the user's claim"
            }
        })
    }
}

impl std::error::Error for MintError {}
