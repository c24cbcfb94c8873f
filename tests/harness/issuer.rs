//! An issuer of tokens: its private key, its key set as a file, and what it signs.

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::now;

/// What `iss` says in its tokens.
pub const ISS: &str = "https://id.example/";

/// An issuer's private key on P-256.
pub struct Signer {
    pair: EcdsaKeyPair,
    kid: &'static str,
}

impl Signer {
    pub fn new(kid: &'static str) -> Signer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Signer { pair, kid }
    }

    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": x, "y": y })
    }

    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "kid": self.kid, "typ": "at+jwt" });
        let parts =
            [header.to_string(), claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = self.pair.sign(&SystemRandom::new(), parts.as_bytes()).expect("a signature");
        format!("{parts}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token of ann's for this gateway.
    pub fn good(&self) -> String {
        self.token(&json!({ "sub": "ann", "iss": ISS, "aud": ["chat"], "iat": now(), "exp": now() + 600 }))
    }
}

/// A file in the temporary directory, removed when it is dropped.
pub struct TempFile(pub PathBuf);

impl TempFile {
    pub fn new(name: &str, contents: impl AsRef<[u8]>) -> TempFile {
        let path = std::env::temp_dir().join(format!("realchat-it-{}-{name}", std::process::id()));
        fs::write(&path, contents).expect("a temporary file");
        TempFile(path)
    }

    pub fn set(name: &str, keys: &[Value]) -> TempFile {
        Self::new(name, json!({ "keys": keys }).to_string())
    }

    pub fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
