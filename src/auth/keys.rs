//! The configured keys, and the verification of one token with them.

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::claims::ClaimRules;
use super::error::{CredentialError, TokenFault};
use super::token;
use super::user::Verified;
use crate::config::Jwt;

/// The keys that verify tokens, and the rules for claims. Immutable, so all cores can share them.
pub struct Keys {
    keys: Vec<Key>,
    rules: ClaimRules,
}

impl Keys {
    /// Prepares the configured keys. All of them verify: the current secret and the previous ones.
    ///
    /// An empty secret is left out, because anyone can sign with it. So is a PEM, because anyone who has the public
    /// key can. This holds even if the configuration accepts them.
    pub fn new(jwt: &Jwt) -> Self {
        let usable = jwt.secrets.iter().filter(|secret| !secret.0.is_empty() && !is_pem(&secret.0));
        Self { keys: usable.map(|secret| Key::hs256(&secret.0)).collect(), rules: ClaimRules::new(jwt) }
    }

    /// Verifies one token: shape, signature, header, claims, in this order. Nothing is parsed before the signature is
    /// known to be right: what anybody can write costs one look at its bytes for each key, and only a token that one of
    /// the keys signed can be [`CredentialError::Expired`].
    ///
    /// # Errors
    /// The first check that the token fails.
    pub fn verify(&self, token: &[u8], now_unix_s: u64) -> Result<Verified, CredentialError> {
        let parts = token::split(token)?;
        let signature = token::decode(parts.signature)?;
        let signer = self.keys.iter().find(|key| key.signed(parts.signed, &signature));
        let signer = signer.ok_or(TokenFault::Signature)?;
        if token::algorithm(&token::decode(parts.header)?)? != signer.name {
            return Err(TokenFault::Algorithm.into());
        }
        self.rules.check(&token::decode(parts.claims)?, now_unix_s)
    }
}

/// One key and the only algorithm that it is used with.
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
    fn signed(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key)
            .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

fn is_pem(secret: &[u8]) -> bool {
    secret.trim_ascii_start().starts_with(b"-----BEGIN")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{
        CLAIMS, EXPIRED, HEADER, INVALID, NOW, encode, jwt, sealed, signed_by, token, verdict,
    };
    use super::*;
    use crate::config::Secret;

    fn with_secrets(secrets: &[&[u8]]) -> Jwt {
        Jwt { secrets: secrets.iter().map(|secret| Secret(secret.to_vec())).collect(), ..jwt() }
    }

    fn token_by(secret: &[u8]) -> String {
        signed_by(&format!("{}.{}", encode(HEADER), encode(CLAIMS)), secret, Algorithm::HS256)
    }

    #[test]
    fn the_previous_secret_verifies_as_long_as_it_is_configured() {
        let (new, previous, older) = (&[1; 32][..], &[2; 32][..], &[3; 32][..]);
        let both = with_secrets(&[new, previous]);
        assert!(verdict(&both, token_by(new), NOW).is_ok());
        assert!(verdict(&both, token_by(previous), NOW).is_ok());
        assert_eq!(verdict(&both, token_by(older), NOW), Err(INVALID));
        assert_eq!(verdict(&with_secrets(&[new]), token_by(previous), NOW), Err(INVALID));
    }

    #[test]
    fn an_empty_secret_and_a_pem_are_no_hmac_keys() {
        let pem = b"\n-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n";
        for secret in [&b""[..], pem] {
            assert_eq!(verdict(&with_secrets(&[secret]), token_by(secret), NOW), Err(INVALID));
        }
        assert_eq!(verdict(&with_secrets(&[]), token_by(b""), NOW), Err(INVALID));
    }

    #[test]
    fn claims_are_not_looked_at_before_the_signature_holds() {
        let expired = format!("{}.{}", encode(HEADER), encode(r#"{"sub":"alice","exp":1}"#));
        assert_eq!(verdict(&jwt(), sealed(&expired), NOW), Err(EXPIRED));
        assert_eq!(verdict(&jwt(), signed_by(&expired, b"other", Algorithm::HS256), NOW), Err(INVALID));
    }

    #[test]
    fn says_for_how_long_a_token_is_valid() {
        let keys = Keys::new(&Jwt { leeway: std::time::Duration::from_millis(1500), ..jwt() });
        let token = token(HEADER, r#"{"sub":"alice","exp":1800000060,"nbf":1800000000}"#);
        let verified = keys.verify(token.as_bytes(), NOW).unwrap();
        assert_eq!((verified.valid_from_unix_s, verified.expires_unix_s), (1_799_999_999, 1_800_000_062));
    }

    #[test]
    fn every_core_can_share_the_keys() {
        fn shared<T: Send + Sync>() {}
        shared::<Keys>();
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_verify(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(verdict(&jwt(), bytes, NOW), Err(INVALID));
        }

        #[test]
        fn random_parts_with_a_forged_signature_never_verify(
            header in prop_oneof![Just(HEADER.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..60)],
            claims in prop::collection::vec(any::<u8>(), 0..60),
            signature in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let token = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
            prop_assert_eq!(verdict(&jwt(), token, NOW), Err(INVALID));
        }

        #[test]
        fn random_signed_claims_never_panic(exp in any::<f64>(), now: u64, rest in "[{}\\[\\]\",:0-9a-z\\\\ ]{0,40}") {
            let claims = format!(r#"{{"sub":"alice","exp":{exp:?},"x":{rest}}}"#);
            let _ = verdict(&jwt(), token(HEADER, claims), now);
            let claims = format!(r#"{{"sub":"alice","exp":{exp:?}}}"#);
            let valid = verdict(&jwt(), token(HEADER, claims), now).is_ok();
            prop_assert!(!valid || (exp > now as f64 || exp == now as f64 && now > 1 << 53));
        }
    }

    /// Not a check but a measurement: `cargo test --release --lib auth -- --ignored --nocapture cost`.
    #[test]
    #[ignore = "prints what one verification costs"]
    fn cost_of_one_verification() {
        let (keys, token) = (Keys::new(&jwt()), token(HEADER, CLAIMS));
        let started = std::time::Instant::now();
        (0..100_000).for_each(|_| drop(std::hint::black_box(keys.verify(token.as_bytes(), NOW))));
        println!("{:?} per token", started.elapsed() / 100_000);
    }
}
