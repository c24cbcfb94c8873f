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

#[cfg(test)]
mod tests {
    use super::super::testing::{CLAIMS, NOW, issuer};
    use super::super::tests::signers::Signer;
    use super::super::{CredentialError, KeySets, Keys};
    use super::*;
    use crate::config::{Algorithm, Choice, Issuer, IssuerSet, Jwt, PemFile, WantedClaims};

    #[test]
    fn the_keys_of_a_file_verify_whatever_name_a_token_gives() {
        let signers = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa]
            .map(|algorithm| (algorithm, Signer::of(algorithm, "k")));
        let file: String = signers.iter().map(|(_, signer)| format!("A comment\n{}", signer.pem())).collect();
        let pem = Some(PemFile { path: "/keys.pem".into(), pem: file.into_bytes() });
        let jwt = Jwt {
            issuers: vec![Issuer { pem, secrets: Vec::new(), ..issuer() }],
            claims: WantedClaims::default(),
        };
        let keys = Keys::new(&jwt, &KeySets::unavailable(&jwt));
        for (algorithm, signer) in &signers {
            for kid in ["", r#","kid":"any""#] {
                let token =
                    signer.token(&format!(r#"{{"alg":"{}"{kid}}}"#, algorithm.word()), CLAIMS, *algorithm);
                let verified = keys.verify(token.as_bytes(), IssuerSet::ALL, NOW);
                assert!(verified.is_ok(), "{algorithm:?}");
            }
            let other =
                Signer::of(Algorithm::Es256, "k").token(r#"{"alg":"ES256"}"#, CLAIMS, Algorithm::Es256);
            let refused = keys.verify(other.as_bytes(), IssuerSet::ALL, NOW).unwrap_err();
            assert_eq!(CredentialError::cause(refused), "signature");
        }
    }

    #[test]
    fn each_wrong_file_has_its_reason() {
        let pem = Signer::of(Algorithm::Es256, "k").pem();
        let body = pem.lines().nth(1).unwrap();
        let pem_of =
            |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        for (file, why) in [
            (String::new(), "has no PUBLIC KEY (openssl pkey -in private.pem -pubout)"),
            ("hello".to_owned(), "has no PUBLIC KEY (openssl pkey -in private.pem -pubout)"),
            (pem_of("PRIVATE KEY", body), "has no PUBLIC KEY (openssl pkey -in private.pem -pubout)"),
            (pem_of("PUBLIC KEY", "AAAA"), "has a PUBLIC KEY that is broken"),
            (pem_of("PUBLIC KEY", body), "has a PUBLIC KEY that is broken"),
            (pem_of("PUBLIC KEY", "!!!!"), "is not a PEM"),
            (pem.repeat(5), "has over 4 keys"),
            (
                pem_of("PUBLIC KEY", "MCowBQYDK2VuAyEACQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="),
                "has a PUBLIC KEY that is none of RSA, P-256, P-384 and Ed25519",
            ),
        ] {
            assert_eq!(parse(file.as_bytes()).unwrap_err(), why, "{file}");
        }
    }
}
