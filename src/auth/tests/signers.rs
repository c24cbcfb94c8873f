//! Shared by the tests of this module: issuers' private keys, and what they sign.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::auth::jwks::{self, KeySet};
use crate::auth::testing::encode;
use crate::config::{Algorithm, AlgorithmSet};

/// A private key.
pub(crate) struct Signer {
    pkcs8: Vec<u8>,
    kind: Kind,
    jwk: Value,
}

#[derive(Clone, Copy)]
enum Kind {
    Rsa,
    Ec(&'static EcdsaSigningAlgorithm),
    Ed25519,
}

impl Signer {
    /// A key for an algorithm, named so. There is one RSA key, because making one takes long; others are new.
    pub(crate) fn of(algorithm: Algorithm, kid: &str) -> Signer {
        match algorithm {
            Algorithm::Es256 => Self::ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", kid),
            Algorithm::Es384 => Self::ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", kid),
            Algorithm::EdDsa => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref().to_vec();
                let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).unwrap();
                let x = encode(pair.public_key());
                Signer {
                    pkcs8,
                    kind: Kind::Ed25519,
                    jwk: json!({"kty":"OKP","crv":"Ed25519","x":x,"kid":kid}),
                }
            }
            rsa => {
                assert!(AlgorithmSet::RSA.contains(rsa));
                let pkcs8 = rsa_pkcs8().to_vec();
                let public = RsaKeyPair::from_pkcs8(&pkcs8).unwrap().public_key().clone();
                let (n, e) = (public.modulus(), public.exponent());
                let (n, e) = (
                    encode(n.big_endian_without_leading_zero()),
                    encode(e.big_endian_without_leading_zero()),
                );
                Signer { pkcs8, kind: Kind::Rsa, jwk: json!({"kty":"RSA","n":n,"e":e,"kid":kid}) }
            }
        }
    }

    fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &str, kid: &str) -> Signer {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap().as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8).unwrap();
        let both = &pair.public_key().as_ref()[1..];
        let (x, y) = both.split_at(both.len() / 2);
        let jwk = json!({"kty":"EC","crv":curve,"x":encode(x),"y":encode(y),"kid":kid});
        Signer { pkcs8, kind: Kind::Ec(algorithm), jwk }
    }

    /// The same key, whose set says which algorithm it is for.
    pub(crate) fn with_alg(&self, alg: &str) -> Signer {
        let mut jwk = self.jwk.clone();
        jwk["alg"] = alg.into();
        Signer { pkcs8: self.pkcs8.clone(), kind: self.kind, jwk }
    }

    /// Its public part.
    pub(crate) fn jwk(&self) -> &Value {
        &self.jwk
    }

    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        self.pkcs8.clone()
    }

    /// A token of any header and claims, signed by an algorithm of this key.
    pub(crate) fn token(&self, header: &str, claims: impl AsRef<[u8]>, algorithm: Algorithm) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let random = SystemRandom::new();
        let signature = match self.kind {
            Kind::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding(algorithm), &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Kind::Ec(curve) => {
                let pair = EcdsaKeyPair::from_pkcs8(curve, &self.pkcs8).unwrap();
                pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec()
            }
            Kind::Ed25519 => {
                Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap().sign(message.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{message}.{}", encode(signature))
    }

    /// The public key as DER (SubjectPublicKeyInfo).
    pub(crate) fn der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match self.kind {
            Kind::Rsa => RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap().public_key().as_der().unwrap(),
            Kind::Ec(curve) => {
                EcdsaKeyPair::from_pkcs8(curve, &self.pkcs8).unwrap().public_key().as_der().unwrap()
            }
            Kind::Ed25519 => Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap().public_key().as_der().unwrap(),
        };
        der.as_ref().to_vec()
    }

    /// The public key as PEM, in lines of 64 characters.
    pub(crate) fn pem(&self) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(self.der());
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// The public key in every form in which somebody may take it for a secret.
    pub(crate) fn public_forms(&self) -> Vec<Vec<u8>> {
        let text = |name: &str| self.jwk[name].as_str().map(|text| text.as_bytes().to_vec());
        let mut forms = vec![
            self.der(),
            self.pem().into_bytes(),
            self.pem().trim_end().as_bytes().to_vec(),
            self.jwk.to_string().into_bytes(),
            vec![0; 32],
        ];
        forms.extend(["n", "x", "y"].iter().filter_map(|name| text(name)));
        forms.extend(
            ["n", "x"]
                .iter()
                .filter_map(|name| text(name))
                .map(|text| crate::auth::token::decode(&text).unwrap()),
        );
        forms
    }
}

/// The key set of some signers.
pub(crate) fn set_of(signers: &[&Signer]) -> Arc<KeySet> {
    let keys: Vec<&Value> = signers.iter().map(|signer| signer.jwk()).collect();
    let (set, skipped) = jwks::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    assert_eq!(skipped, []);
    Arc::new(set)
}

fn rsa_pkcs8() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let der: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        der.as_ref().to_vec()
    })
}

fn encoding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        other => panic!("{other:?} is not of RSA"),
    }
}
