//! Reads the public keys of a PEM file.

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::public_key::PublicKey;
use crate::limits::KEYS_OF_ONE_NAME_MAX;

/// The keys of a file (`-----BEGIN PUBLIC KEY-----`, RFC 7468 §13). They have no names.
///
/// # Errors
/// Why the file is not used: a sentence without its subject.
pub fn parse(pem: &[u8]) -> Result<Vec<PublicKey>, String> {
    let mut keys = Vec::new();
    for found in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
        let der = found.map_err(|_| "is not a PEM".to_owned())?;
        keys.push(public_key(&der)?);
    }
    match keys.len() {
        0 => Err("has no PUBLIC KEY (openssl pkey -in private.pem -pubout)".to_owned()),
        1..=KEYS_OF_ONE_NAME_MAX => Ok(keys),
        _ => Err(format!("has over {KEYS_OF_ONE_NAME_MAX} keys")),
    }
}

fn public_key(der: &[u8]) -> Result<PublicKey, String> {
    let broken = || "has a PUBLIC KEY that is broken".to_owned();
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| broken())?;
    if !rest.is_empty() || info.subject_public_key.unused_bits != 0 {
        return Err(broken());
    }
    let bytes = info.subject_public_key.data.as_ref();
    let kind = info.algorithm.algorithm.to_id_string();
    let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let curve = curve.map(|oid| oid.to_id_string());
    let coordinates = || match bytes {
        [4, both @ ..] if both.len() % 2 == 0 => Ok(both.split_at(both.len() / 2)),
        _ => Err(broken()),
    };
    let key = match (kind.as_str(), curve.as_deref()) {
        (RSA, _) => {
            let (rest, numbers) =
                x509_parser::public_key::RSAPublicKey::from_der(bytes).map_err(|_| broken())?;
            if !rest.is_empty() {
                return Err(broken());
            }
            PublicKey::rsa(numbers.modulus, numbers.exponent)
        }
        (EC, Some(P256)) => coordinates().map(|(x, y)| PublicKey::p256(x, y))?,
        (EC, Some(P384)) => coordinates().map(|(x, y)| PublicKey::p384(x, y))?,
        (ED25519, _) => PublicKey::ed25519(bytes),
        _ => return Err("has a PUBLIC KEY that is none of RSA, P-256, P-384 and Ed25519".to_owned()),
    };
    key.map_err(|fault| format!("has a PUBLIC KEY that {fault}"))
}

/// Object identifiers (RFC 3279 §2.3, RFC 5480 §2.1.1, RFC 8410 §3).
const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const ED25519: &str = "1.3.101.112";
