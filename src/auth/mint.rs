//! Makes tokens for the `token` subcommand. The gateway itself issues none.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use super::key_sets::KeySets;
use super::keys::Keys;
use super::user::User;
use crate::config::{self, Issuer, IssuerSet, Jwt};

/// Makes a token for `user`, signed with the first secret of the first issuer that has one. It expires `ttl` (whole
/// seconds) from now.
///
/// # Errors
/// The gateway would refuse the token under the same configuration.
pub fn mint(jwt: &Jwt, user: &str, ttl: Duration, now_unix_s: u64) -> Result<String, MintError> {
    if !User::is_valid(user) {
        return Err(MintError::User);
    }
    let issuer = jwt.issuers.iter().find(|issuer| !issuer.secrets.is_empty()).ok_or(MintError::NoSecret)?;
    let secret = issuer.secrets.first().ok_or(MintError::NoSecret)?;
    let algorithm = signing_algorithm(issuer).ok_or(MintError::Unverifiable)?;
    let mut claims = Map::new();
    claims.insert("iat".to_owned(), Value::from(now_unix_s));
    claims.insert("exp".to_owned(), Value::from(now_unix_s.saturating_add(ttl.as_secs())));
    if let Some(name) = &issuer.issuer {
        claims.insert("iss".to_owned(), Value::from(name.as_str()));
    }
    if let Some(audience) = issuer.audiences.first() {
        claims.insert("aud".to_owned(), Value::from(audience.as_str()));
    }
    let (outermost, inner) = issuer.user_claim.names.split_first().ok_or(MintError::Unverifiable)?;
    let wrap = |value, name: &String| Value::Object(Map::from_iter([(name.clone(), value)]));
    claims.insert(outermost.clone(), inner.iter().rev().fold(Value::from(user), wrap));
    let mut header = Header::new(algorithm);
    if let Some(typ) = issuer.token_types.first() {
        header.typ = Some(typ.clone());
    }
    let signed =
        EncodingKey::from_secret(&secret.0).and_then(|key| jsonwebtoken::encode(&header, &claims, &key));
    let token = signed.map_err(|_| MintError::Unverifiable)?;
    let keys = Keys::new(jwt, &KeySets::unavailable(jwt));
    match keys.verify(token.as_bytes(), IssuerSet::ALL, now_unix_s) {
        Ok(accepted) if accepted.verified.user.as_str() == user => Ok(token),
        _ => Err(MintError::Unverifiable),
    }
}

/// The first algorithm of an issuer's secrets.
fn signing_algorithm(issuer: &Issuer) -> Option<Algorithm> {
    let of_secrets = [
        (config::Algorithm::Hs256, Algorithm::HS256),
        (config::Algorithm::Hs384, Algorithm::HS384),
        (config::Algorithm::Hs512, Algorithm::HS512),
    ];
    let usable = issuer.secret_algorithms();
    of_secrets.into_iter().find(|(algorithm, _)| usable.contains(*algorithm)).map(|(_, algorithm)| algorithm)
}

/// Why no token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MintError {
    /// The user is empty, over 256 bytes, or has a byte outside visible ASCII.
    User,
    /// No issuer has a secret. Whoever has only public keys cannot sign.
    NoSecret,
    /// The gateway would refuse the token: it lives less than a second or too long, the secret is not usable, or
    /// the user's claim is one that already has a meaning.
    Unverifiable,
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MintError::User => "a user is 1 to 256 visible ASCII characters",
            MintError::NoSecret => "no issuer has a secret to sign with (JWT_SECRET)",
            MintError::Unverifiable => {
                "the gateway would refuse this token: check its lifetime, the secret and the user's claim"
            }
        })
    }
}

impl std::error::Error for MintError {}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, jwt, verdict, with};
    use super::*;
    use crate::config::{AlgorithmSet, ClaimPath, Secret};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_minted_verifies_for_its_life() {
        let both = vec![Secret(vec![7; 32]), Secret(vec![8; 32])];
        let jwt = with(|issuer| {
            issuer.issuer = Some("https://id.example".to_owned());
            issuer.audiences = vec!["chat".to_owned(), "mail".to_owned()];
            issuer.user_claim = ClaimPath::parse("user.id").unwrap();
            issuer.secrets = both.clone();
            issuer.algorithms = Some(AlgorithmSet::of(&[config::Algorithm::Hs512, config::Algorithm::Rs256]));
            issuer.token_types = vec!["at+jwt".to_owned()];
        });
        let token = mint(&jwt, "alice", HOUR, NOW).unwrap();
        assert_eq!(verdict(&jwt, &token, NOW + 3599).as_deref(), Ok("alice"));
        assert!(verdict(&jwt, &token, NOW + 3600).is_err());
        let mut first_alone = jwt.clone();
        first_alone.issuers[0].secrets = both[..1].to_vec();
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
        refused(&with(|issuer| issuer.secrets = vec![Secret(vec![])]), HOUR);
        refused(&with(|issuer| issuer.issuer = Some("x".repeat(9000))), HOUR);
        refused(&with(|issuer| issuer.lifetime_max = Some(HOUR)), HOUR + Duration::from_secs(1));
        for claim in ["exp", "iss", "exp.a"] {
            let jwt = with(|issuer| {
                issuer.user_claim = ClaimPath::parse(claim).unwrap();
                issuer.issuer = Some("us".to_owned());
            });
            refused(&jwt, HOUR);
        }
        let none = with(|issuer| issuer.secrets = vec![]);
        assert_eq!(mint(&none, "alice", HOUR, NOW), Err(MintError::NoSecret));
    }
}
