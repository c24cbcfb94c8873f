//! Makes tokens for the `token` subcommand. The gateway itself issues none.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use super::keys::Keys;
use super::user::User;
use crate::config::Jwt;

/// Makes a token for `user`, signed with the first secret, that expires `ttl` (whole seconds) from now.
///
/// # Errors
/// The gateway would refuse the token under the same configuration.
pub fn mint(jwt: &Jwt, user: &str, ttl: Duration, now_unix_s: u64) -> Result<String, MintError> {
    if !User::is_valid(user) {
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
    /// The gateway would refuse the token: it lives less than a second or too long, the secret is not usable, or
    /// the user's claim is one that already has a meaning.
    Unverifiable,
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MintError::User => "a user is 1 to 256 visible ASCII characters",
            MintError::Unverifiable => {
                "the gateway would refuse this token: check its lifetime, the secret and the user's claim"
            }
        })
    }
}

impl std::error::Error for MintError {}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, jwt, verdict};
    use super::*;
    use crate::config::Secret;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_minted_verifies_for_its_life() {
        let jwt = Jwt {
            issuer: Some("https://id.example".to_owned()),
            audience: Some("chat".to_owned()),
            user_claim: "uid".to_owned(),
            secrets: vec![Secret(vec![7; 32]), Secret(vec![8; 32])],
            ..jwt()
        };
        let token = mint(&jwt, "alice", HOUR, NOW).unwrap();
        assert_eq!(verdict(&jwt, &token, NOW + 3599).as_deref(), Ok("alice"));
        assert!(verdict(&jwt, &token, NOW + 3600).is_err());
        let first_alone = Jwt { secrets: jwt.secrets[..1].to_vec(), ..jwt.clone() };
        assert!(verdict(&first_alone, &token, NOW).is_ok());
    }

    #[test]
    fn mints_for_no_user_that_would_not_verify() {
        for user in ["", "al ice", "alice\r\n", "älice", &"a".repeat(257)] {
            assert_eq!(mint(&jwt(), user, HOUR, NOW), Err(MintError::User));
        }
    }

    #[test]
    fn mints_no_token_that_would_be_refused() {
        let refused = |jwt: &Jwt, ttl| assert_eq!(mint(jwt, "alice", ttl, NOW), Err(MintError::Unverifiable));
        refused(&jwt(), Duration::ZERO);
        refused(&jwt(), Duration::from_millis(999));
        refused(&jwt(), Duration::MAX);
        refused(&Jwt { secrets: vec![], ..jwt() }, HOUR);
        refused(&Jwt { secrets: vec![Secret(vec![])], ..jwt() }, HOUR);
        refused(&Jwt { issuer: Some("x".repeat(9000)), ..jwt() }, HOUR);
        for claim in ["exp", "iss"] {
            let jwt = Jwt { user_claim: claim.to_owned(), issuer: Some("us".to_owned()), ..jwt() };
            refused(&jwt, HOUR);
        }
    }
}
