//! One key of one issuer, ready to verify.

use aws_lc_rs::digest::{Context, SHA256};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use super::public_key::PublicKey;
use crate::config::{Algorithm, AlgorithmSet, Issuer};

/// A key and what it is used for.
pub(super) struct Key {
    /// The index of its issuer.
    pub(super) issuer: usize,
    /// Its name. `None`: it is tried for a token of any name.
    pub(super) kid: Option<Box<str>>,
    /// The algorithms that it verifies, never empty. All are of one family, which the key's type has decided.
    pub(super) algorithms: AlgorithmSet,
    /// What tells it from every other key of every configuration.
    pub(super) id: KeyId,
    /// What it is called where it has no name.
    pub(super) kind: &'static str,
    key: DecodingKey,
}

/// Identifies a key: a hash of its issuer, name, algorithms and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct KeyId([u8; 16]);

impl Key {
    /// `None`: the secret must not verify anything. Anyone can sign with an empty one, and anyone who has the public
    /// key can sign with a PEM. This holds even if the configuration accepts them.
    pub(super) fn of_secret(index: usize, issuer: &Issuer, nth: usize, secret: &[u8]) -> Option<Key> {
        let algorithms = issuer.secret_algorithms();
        if secret.trim_ascii_start().starts_with(b"-----BEGIN") || algorithms.is_empty() {
            return None;
        }
        let key = DecodingKey::from_secret(secret).ok()?;
        let id = KeyId::new(issuer, None, algorithms, &[secret]);
        let kind = if nth == 0 { "secret" } else { "secret_previous" };
        Some(Key { issuer: index, kid: None, algorithms, id, kind, key })
    }

    /// `None`: its issuer uses none of its algorithms.
    pub(super) fn of_public(index: usize, issuer: &Issuer, public: &PublicKey) -> Option<Key> {
        let algorithms = public.algorithms.and(issuer.public_algorithms());
        if algorithms.is_empty() {
            return None;
        }
        let id = KeyId::new(issuer, public.kid.as_deref(), algorithms, &public.parts());
        let (kid, key) = (public.kid.clone(), public.decoding_key());
        Some(Key { issuer: index, kid, algorithms, id, kind: "public_key", key })
    }

    /// Whether this key made the signature by this algorithm. A comparison of bytes takes the same time wherever they
    /// differ.
    ///
    /// The library's verifier objects cannot be shared between threads, so one is made per call, on a path that the
    /// cache keeps rare.
    pub(super) fn signed(&self, algorithm: Algorithm, message: &[u8], signature: &Vec<u8>) -> bool {
        self.algorithms.contains(algorithm)
            && (DEFAULT_PROVIDER.verifier_factory)(&of_library(algorithm), &self.key)
                .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

impl KeyId {
    fn new(issuer: &Issuer, kid: Option<&str>, algorithms: AlgorithmSet, parts: &[&[u8]]) -> KeyId {
        let mut hash = Context::new(&SHA256);
        let algorithms = algorithms.to_string();
        let head = [issuer.name.as_bytes(), kid.map_or(b"", str::as_bytes), algorithms.as_bytes()];
        for part in head.iter().chain(parts) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finish().as_ref()[..16]);
        KeyId(id)
    }
}

fn of_library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Library;
    match algorithm {
        Algorithm::Hs256 => Library::HS256,
        Algorithm::Hs384 => Library::HS384,
        Algorithm::Hs512 => Library::HS512,
        Algorithm::Rs256 => Library::RS256,
        Algorithm::Rs384 => Library::RS384,
        Algorithm::Rs512 => Library::RS512,
        Algorithm::Ps256 => Library::PS256,
        Algorithm::Ps384 => Library::PS384,
        Algorithm::Ps512 => Library::PS512,
        Algorithm::Es256 => Library::ES256,
        Algorithm::Es384 => Library::ES384,
        Algorithm::EdDsa => Library::EdDSA,
    }
}
