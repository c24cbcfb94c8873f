//! The tokens of the demo: what the auth backend signs, the gateway verifies.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// How the auth backend signs tokens.
#[derive(Clone)]
pub struct TokenMint {
    /// The HS256 secret.
    pub secret: Vec<u8>,
    /// `iss`, if the gateway checks it.
    pub issuer: Option<String>,
    /// `aud`, if the gateway checks it.
    pub audience: Option<String>,
    /// The names on the way to the claim that names the user, usually `sub` alone.
    pub user_claim: Vec<String>,
    /// The lifetime of a token; whole seconds count.
    pub ttl: Duration,
}

impl TokenMint {
    /// A token for a user.
    pub(super) fn token(&self, user: &str, now: SystemTime) -> jsonwebtoken::errors::Result<String> {
        let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut claims = Map::new();
        claims.insert("iat".into(), now_s.into());
        claims.insert("exp".into(), now_s.saturating_add(self.ttl.as_secs()).into());
        if let Some(issuer) = &self.issuer {
            claims.insert("iss".into(), issuer.as_str().into());
        }
        if let Some(audience) = &self.audience {
            claims.insert("aud".into(), audience.as_str().into());
        }
        if let Some((outermost, inner)) = self.user_claim.split_first() {
            let wrap = |value, name: &String| Value::Object(Map::from_iter([(name.clone(), value)]));
            claims.insert(outermost.clone(), inner.iter().rev().fold(user.into(), wrap));
        }
        let key = jsonwebtoken::EncodingKey::from_secret(&self.secret)?;
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &Value::Object(claims), &key)
    }
}
