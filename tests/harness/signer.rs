//! An issuer's signing key, and tokens signed with it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::now;

/// What `iss` says in a good token.
pub const ISS: &str = "https://id.example/";

/// An ES256 key with a name.
pub struct Signer {
    kid: String,
    key: EcdsaKeyPair,
}

impl Signer {
    /// A new key.
    pub fn new(kid: &str) -> Signer {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Signer { kid: kid.to_owned(), key }
    }

    /// Its public half (RFC 7517).
    pub fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": x, "y": y })
    }

    /// A token of this issuer and user, good for an hour.
    pub fn token(&self, issuer: &str, user: &str) -> String {
        let claims = json!({ "iss": issuer, "sub": user, "iat": now(), "exp": now() + 3600 });
        self.signed(&json!({ "alg": "ES256", "kid": self.kid }), &claims)
    }

    /// A token of ann's for the audience `chat`, issued by [`ISS`].
    pub fn good(&self) -> String {
        self.claiming(&json!({ "sub": "ann", "iss": ISS, "aud": ["chat"], "iat": now(), "exp": now() + 600 }))
    }

    /// A token with these claims.
    pub fn claiming(&self, claims: &Value) -> String {
        self.signed(&json!({ "alg": "ES256", "kid": self.kid, "typ": "at+jwt" }), claims)
    }

    /// A token with this header and these claims.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("a signature");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A key set of these keys.
pub fn key_set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}
