//! The keys in force, and the verification of one token with them.

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::claims::Rules;
use super::{Refusal, User, token};
use crate::config::Jwt;

/// What verifies tokens: keys and the rules for claims. Immutable, so every core can share it.
pub struct Keys {
    keys: Vec<Key>,
    rules: Rules,
}

impl Keys {
    /// Prepares the configured keys. All of them verify: the current secret and those before it.
    ///
    /// An empty secret and one that is a PEM are left out, whatever the configuration let through: with the
    /// one anybody can sign, with the other everybody who has the public key.
    pub fn new(jwt: &Jwt) -> Self {
        let usable = jwt.secrets.iter().filter(|secret| !secret.0.is_empty() && !is_pem(&secret.0));
        Self { keys: usable.map(|secret| Key::hs256(&secret.0)).collect(), rules: Rules::new(jwt) }
    }

    /// Verifies one token: shape, header, signature, claims, in this order. Nothing in the claims is parsed
    /// before the signature holds, so only a token of ours can be [`Refusal::Expired`].
    pub fn verify(&self, token: &[u8], now_unix_s: u64) -> Result<Verified, Refusal> {
        let parts = token::split(token)?;
        let algorithm = token::algorithm(&token::decode(parts.header)?)?;
        let signature = token::decode(parts.signature)?;
        if !self.keys.iter().any(|key| key.signed(&algorithm, parts.signed, &signature)) {
            return Err(Refusal::Invalid);
        }
        self.rules.check(&token::decode(parts.claims)?, now_unix_s)
    }
}

/// A token that was found valid, and for how long that stays true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whom it names.
    pub user: User,
    /// The first second at which it is valid, leeway included; 0 without `nbf`.
    pub valid_from_unix_s: u64,
    /// The first second at which it is no longer valid, leeway included.
    pub expires_unix_s: u64,
}

/// One key and the only algorithm that it may be used with.
struct Key {
    algorithm: Algorithm,
    /// `algorithm` as a header spells it. Compared byte by byte: names are case-sensitive (RFC 7515 §4.1.1).
    name: &'static str,
    key: DecodingKey,
}

impl Key {
    fn hs256(secret: &[u8]) -> Self {
        Self { algorithm: Algorithm::HS256, name: "HS256", key: DecodingKey::from_secret(secret) }
    }

    /// Whether this key made the signature. The comparison takes the same time wherever the bytes differ.
    ///
    /// The library's verifier objects cannot be shared between threads, so one is made per call: an
    /// allocation and two SHA-256 blocks, on a path that the cache keeps rare.
    fn signed(&self, algorithm: &str, message: &[u8], signature: &Vec<u8>) -> bool {
        if algorithm != self.name {
            return false;
        }
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key)
            .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

fn is_pem(secret: &[u8]) -> bool {
    secret.trim_ascii_start().starts_with(b"-----BEGIN")
}
