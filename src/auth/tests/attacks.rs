//! Attacks on the keys of issuers, one table for each kind of trick, for every algorithm.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use super::signers::{Signer, set_of};
use crate::auth::testing::{CLAIMS, NOW, encode, issuer};
use crate::auth::{CredentialError, KeySetState, KeySets, Keys, TokenFault};
use crate::config::{Algorithm, AlgorithmSet, Choice, Issuer, IssuerSet, Jwt, KeySetSource, WantedClaims};

/// An issuer whose key set is in a file, without secrets.
fn with_set(name: &str) -> Issuer {
    let key_set = Some(KeySetSource::File("/keys.json".into()));
    Issuer { name: name.to_owned(), secrets: Vec::new(), key_set, ..issuer() }
}

/// Issuers with these keys in their sets, in their order.
fn keys_of(issuers: Vec<(Issuer, &[&Signer])>) -> Keys {
    let jwt = Jwt {
        issuers: issuers.iter().map(|(issuer, _)| issuer.clone()).collect(),
        claims: WantedClaims::default(),
    };
    let mut sets = KeySets::unavailable(&jwt);
    for (index, (_, signers)) in issuers.iter().enumerate() {
        if !signers.is_empty() {
            sets.set(index, KeySetState::Available(set_of(signers)));
        }
    }
    Keys::new(&jwt, &sets)
}

fn one(signer: &Signer) -> Keys {
    keys_of(vec![(with_set("a"), &[signer])])
}

fn verdict(keys: &Keys, token: &str) -> Result<String, CredentialError> {
    verdict_of(keys, token, IssuerSet::ALL)
}

fn verdict_of(keys: &Keys, token: &str, issuers: IssuerSet) -> Result<String, CredentialError> {
    let accepted = keys.verify(token.as_bytes(), issuers, NOW)?;
    Ok(accepted.verified.user.as_str().to_owned())
}

fn cause(keys: &Keys, token: &str) -> &'static str {
    verdict(keys, token).map_or_else(CredentialError::cause, |_| "valid")
}

/// Every algorithm of public keys, with a key of its type.
fn all() -> Vec<(Algorithm, Signer)> {
    let public = Algorithm::ALL.iter().filter(|algorithm| AlgorithmSet::PUBLIC.contains(**algorithm));
    public.map(|algorithm| (*algorithm, Signer::of(*algorithm, "k"))).collect()
}

fn header(algorithm: &str, rest: &str) -> String {
    format!(r#"{{"alg":"{algorithm}"{rest}}}"#)
}

#[test]
fn every_algorithm_verifies_what_its_key_has_signed_and_nothing_that_was_changed() {
    for (algorithm, signer) in all() {
        let name = algorithm.word();
        let keys = one(&signer);
        let token = signer.token(&header(name, r#","kid":"k""#), CLAIMS, algorithm);
        assert_eq!(verdict(&keys, &token).as_deref(), Ok("alice"), "{name}");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (head, claims) = message.split_once('.').unwrap();
        let bytes = crate::auth::token::decode(signature.as_bytes()).unwrap();
        let mut tricks = vec![
            format!("{head}.{}.{signature}", encode(r#"{"sub":"mallory","exp":1800000060}"#)),
            format!("{}.{claims}.{signature}", encode(header(name, r#","kid":"k","x":1"#))),
            format!("{message}.{}", encode([&bytes[..], &[0]].concat())),
            format!("{message}.{}", encode([&[0], &bytes[..]].concat())),
            format!("{message}.{}", encode([&bytes[..], &bytes].concat())),
            format!("{message}.{}", encode(vec![0; bytes.len()])),
            format!("{message}.{}", encode(vec![255; bytes.len()])),
            format!("{message}.{}", encode(vec![1; 8000 * 3 / 4 - message.len()])),
        ];
        tricks.extend((1..bytes.len()).map(|end| format!("{message}.{}", encode(&bytes[..end]))));
        for at in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            tricks.push(format!("{message}.{}", encode(flipped)));
        }
        for trick in tricks {
            assert_eq!(cause(&keys, &trick), "signature", "{name}: {trick}");
        }
    }
}

#[test]
fn a_public_key_is_no_secret_in_any_of_its_forms() {
    for (algorithm, signer) in all() {
        let keys = one(&signer);
        for form in signer.public_forms() {
            for (name, hash) in
                [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
            {
                let message = format!("{}.{}", encode(header(name, r#","kid":"k""#)), encode(CLAIMS));
                let mac = hmac::sign(&hmac::Key::new(hash, &form), message.as_bytes());
                assert_eq!(cause(&keys, &format!("{message}.{}", encode(mac))), "algorithm");
                // The same under the name of the key's own algorithm.
                let head = header(algorithm.word(), r#","kid":"k""#);
                let message = format!("{}.{}", encode(head), encode(CLAIMS));
                let mac = hmac::sign(&hmac::Key::new(hash, &form), message.as_bytes());
                assert_eq!(cause(&keys, &format!("{message}.{}", encode(mac))), "signature");
            }
        }
    }
}

#[test]
fn no_key_and_no_place_of_keys_comes_from_a_token() {
    let (ours, theirs) = (Signer::of(Algorithm::Es256, "k"), Signer::of(Algorithm::Es256, "k"));
    let keys = one(&ours);
    for rest in [
        format!(r#","jwk":{}"#, theirs.jwk()),
        format!(r#","kid":"k","jwk":{}"#, theirs.jwk()),
        r#","kid":"k","jku":"https://evil.example/keys""#.to_owned(),
        r#","kid":"k","x5u":"https://evil.example/cert""#.to_owned(),
        r#","kid":"k","x5c":["MIIB"]"#.to_owned(),
    ] {
        let head = header("ES256", &rest);
        assert_eq!(cause(&keys, &theirs.token(&head, CLAIMS, Algorithm::Es256)), "signature", "{rest}");
        assert_eq!(cause(&keys, &ours.token(&head, CLAIMS, Algorithm::Es256)), "valid", "{rest}");
    }
}

#[test]
fn a_key_verifies_only_the_algorithms_of_its_type_and_of_its_own_alg() {
    for (algorithm, signer) in all() {
        for other in Algorithm::ALL.iter().filter(|other| **other != algorithm) {
            // Signed by what the key can do, named as something else.
            let token = signer.token(&header(other.word(), r#","kid":"k""#), CLAIMS, algorithm);
            assert!(verdict(&one(&signer), &token).is_err(), "{algorithm:?} as {other:?}");
        }
    }
    let rsa = Signer::of(Algorithm::Rs256, "k");
    let all = [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512, Algorithm::Ps256, Algorithm::Ps512];
    for own in all {
        let cut = keys_of(vec![(with_set("a"), &[&rsa.with_alg(own.word())])]);
        for used in all {
            let token = rsa.token(&header(used.word(), r#","kid":"k""#), CLAIMS, used);
            assert_eq!(verdict(&cut, &token).is_ok(), own == used, "{own:?} {used:?}");
            assert!(verdict(&one(&rsa), &token).is_ok(), "without alg");
        }
        let algorithms = Some(AlgorithmSet::of(&[own]));
        let cut = keys_of(vec![(Issuer { algorithms, ..with_set("a") }, &[&rsa])]);
        for used in all {
            let token = rsa.token(&header(used.word(), ""), CLAIMS, used);
            assert_eq!(verdict(&cut, &token).is_ok(), own == used, "{own:?} {used:?}");
        }
    }
}

#[test]
fn eddsa_has_two_names_and_no_other_curve() {
    let signer = Signer::of(Algorithm::EdDsa, "k");
    for (name, expected) in
        [("EdDSA", "valid"), ("Ed25519", "valid"), ("Ed448", "algorithm"), ("eddsa", "algorithm")]
    {
        let token = signer.token(&header(name, r#","kid":"k""#), CLAIMS, Algorithm::EdDsa);
        assert_eq!(cause(&one(&signer), &token), expected, "{name}");
    }
}

/// "r || s" is the only form (RFC 7518 §3.4). DER, which other protocols use, would give one signature two spellings.
#[test]
fn an_ecdsa_signature_in_der_is_refused() {
    let signer = Signer::of(Algorithm::Es256, "k");
    let message = format!("{}.{}", encode(header("ES256", r#","kid":"k""#)), encode(CLAIMS));
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &signer.pkcs8()).unwrap();
    let der = pair.sign(&aws_lc_rs::rand::SystemRandom::new(), message.as_bytes()).unwrap();
    assert_eq!(cause(&one(&signer), &format!("{message}.{}", encode(der.as_ref()))), "signature");
}

/// Of an ECDSA signature (r, s) anybody can make (r, n - s), which is right too, and JWS does not forbid it. It is
/// harmless: the message is the same, and the cache knows tokens by all of their bytes, so the other spelling is
/// verified and remembered for itself. What takes tokens out of force must not name them by their signature.
#[test]
fn the_other_spelling_of_an_ecdsa_signature_is_the_same_token() {
    let signer = Signer::of(Algorithm::Es256, "k");
    let token = signer.token(&header("ES256", r#","kid":"k""#), CLAIMS, Algorithm::Es256);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = crate::auth::token::decode(signature.as_bytes()).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(P256_ORDER[at]) - i16::from(bytes[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        bytes[32 + at] = difference.rem_euclid(256) as u8;
    }
    let other = format!("{message}.{}", encode(&bytes));
    assert_ne!(other, token);
    assert_eq!(verdict(&one(&signer), &other).as_deref(), Ok("alice"));
    // Not so the numbers beyond the order, nor zero.
    for (r, s) in [
        (&bytes[..32], &P256_ORDER[..]),
        (&P256_ORDER[..], &bytes[32..]),
        (&[0; 32][..], &bytes[32..]),
        (&bytes[..32], &[0; 32][..]),
        (&[0; 32][..], &[0; 32][..]),
    ] {
        let trick = format!("{message}.{}", encode([r, s].concat()));
        assert_eq!(cause(&one(&signer), &trick), "signature");
    }
}

/// The number S of a signature is below the order of the group (RFC 8032 §5.1.7): S + L would be a second spelling.
#[test]
fn an_ed25519_signature_has_one_spelling() {
    let signer = Signer::of(Algorithm::EdDsa, "k");
    let token = signer.token(&header("EdDSA", r#","kid":"k""#), CLAIMS, Algorithm::EdDsa);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = crate::auth::token::decode(signature.as_bytes()).unwrap();
    let mut carry = 0;
    for at in 0..32 {
        let sum = u16::from(bytes[32 + at]) + u16::from(ED25519_ORDER[at]) + carry;
        bytes[32 + at] = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert_eq!(cause(&one(&signer), &format!("{message}.{}", encode(bytes))), "signature");
}

#[test]
fn a_key_belongs_to_its_issuer_and_no_token_passes_for_another() {
    let (a, b) = (Signer::of(Algorithm::Es256, "k"), Signer::of(Algorithm::Es256, "k"));
    let named = |name: &str| Issuer { issuer: Some(format!("https://{name}.example")), ..with_set(name) };
    // Both have a key of the same name.
    let keys = keys_of(vec![(named("a"), &[&a]), (named("b"), &[&b])]);
    let claims = |iss: &str| format!(r#"{{"sub":"alice","exp":1800000060,"iss":"https://{iss}.example"}}"#);
    let (only_a, only_b) = (IssuerSet::NONE.with(0), IssuerSet::NONE.with(1));
    for (signer, iss, of_all, of_a, of_b) in [
        (&a, "a", "valid", "valid", "signature"),
        (&b, "b", "valid", "signature", "valid"),
        (&a, "b", "issuer", "issuer", "signature"),
        (&b, "a", "issuer", "signature", "issuer"),
    ] {
        let token = signer.token(&header("ES256", r#","kid":"k""#), claims(iss), Algorithm::Es256);
        for (issuers, expected) in [(IssuerSet::ALL, of_all), (only_a, of_a), (only_b, of_b)] {
            let found = verdict_of(&keys, &token, issuers).map_or_else(CredentialError::cause, |_| "valid");
            assert_eq!(found, expected, "{iss}");
        }
        assert_eq!(verdict_of(&keys, &token, IssuerSet::NONE).unwrap_err(), TokenFault::Algorithm.into());
    }
}

#[test]
fn the_name_of_a_key_is_only_compared() {
    let signer = Signer::of(Algorithm::Es256, "k");
    let keys = one(&signer);
    let long = "k".repeat(300);
    for kid in [
        "../../../dev/null",
        "k' OR '1'='1",
        "k\\u0000",
        "k ",
        "K",
        "",
        "\\u212a",
        "k\\n",
        "$(id)",
        "https://evil.example/",
        &long,
    ] {
        let token = signer.token(&header("ES256", &format!(r#","kid":"{kid}""#)), CLAIMS, Algorithm::Es256);
        assert_eq!(cause(&keys, &token), "unknown_key", "{kid}");
    }
    for kid in ["1", "null", r#"["k"]"#, r#"{"k":1}"#, "true"] {
        let token = signer.token(&header("ES256", &format!(r#","kid":{kid}"#)), CLAIMS, Algorithm::Es256);
        assert_eq!(cause(&keys, &token), "header", "{kid}");
    }
    let twice = header("ES256", r#","kid":"k","kid":"k""#);
    assert_eq!(cause(&keys, &signer.token(&twice, CLAIMS, Algorithm::Es256)), "header");
}

#[test]
fn a_token_that_names_no_key_is_tried_with_few_keys() {
    let signers: Vec<Signer> = (0..9).map(|n| Signer::of(Algorithm::Es256, &format!("k{n}"))).collect();
    let refs: Vec<&Signer> = signers.iter().collect();
    let token = |n: usize, rest: &str| signers[n].token(&header("ES256", rest), CLAIMS, Algorithm::Es256);
    let eight = keys_of(vec![(with_set("a"), &refs[..8])]);
    assert_eq!(cause(&eight, &token(7, "")), "valid");
    assert_eq!(cause(&eight, &token(8, "")), "signature");
    let nine = keys_of(vec![(with_set("a"), &refs[..])]);
    assert_eq!(cause(&nine, &token(8, "")), "many_keys");
    assert_eq!(cause(&nine, &token(8, r#","kid":"k8""#)), "valid");
    // Issuers choose the names of their keys without knowing of each other.
    let same: Vec<Signer> = (0..6).map(|_| Signer::of(Algorithm::Es256, "k")).collect();
    let issuers = same.iter().enumerate().map(|(n, _)| with_set(&format!("i{n}")));
    let lists: Vec<[&Signer; 1]> = same.iter().map(|signer| [signer]).collect();
    let keys = keys_of(issuers.zip(&lists).map(|(issuer, list)| (issuer, &list[..])).collect());
    assert_eq!(keys.left_out(), [""; 0]);
    let of = |n: usize| same[n].token(&header("ES256", r#","kid":"k""#), CLAIMS, Algorithm::Es256);
    assert!((0..6).all(|n| cause(&keys, &of(n)) == "valid"));
}

#[test]
fn a_token_whose_key_may_be_in_a_set_that_is_not_there_is_not_refused() {
    let (here, gone) = (Signer::of(Algorithm::Es256, "k"), Signer::of(Algorithm::Rs256, "r"));
    let rsa = Issuer { algorithms: Some(AlgorithmSet::RSA), ..with_set("b") };
    let keys = keys_of(vec![(with_set("a"), &[&here]), (rsa, &[])]);
    let (a, b) = (IssuerSet::NONE.with(0), IssuerSet::NONE.with(1));
    let rs256 = gone.token(&header("RS256", r#","kid":"r""#), CLAIMS, Algorithm::Rs256);
    let unnamed = gone.token(&header("RS256", ""), CLAIMS, Algorithm::Rs256);
    for (token, issuers, expected) in [
        (&rs256, IssuerSet::ALL, "keys_unavailable"),
        (&unnamed, b, "keys_unavailable"),
        (&rs256, a, "unknown_key"),
        (&unnamed, a, "algorithm"),
        (&here.token(&header("ES256", r#","kid":"k""#), CLAIMS, Algorithm::Es256), IssuerSet::ALL, "valid"),
        // Its key is known, and its signature wrong: no set changes that.
        (
            &gone.token(&header("ES256", r#","kid":"k""#), CLAIMS, Algorithm::Rs256),
            IssuerSet::ALL,
            "signature",
        ),
        // No public key is a secret.
        (
            &gone.token(&header("HS256", r#","kid":"x""#), CLAIMS, Algorithm::Rs256),
            IssuerSet::ALL,
            "algorithm",
        ),
        (&gone.token(&header("ES256", r#","kid":"x""#), CLAIMS, Algorithm::Rs256), b, "algorithm"),
    ] {
        let found = verdict_of(&keys, token, issuers).map_or_else(CredentialError::cause, |_| "valid");
        assert_eq!(found, expected, "{token}");
    }
    let Err(CredentialError::UnknownKey(unknown)) = verdict_of(&keys, &rs256, a) else { panic!("unknown") };
    assert_eq!(unknown.issuers, a);
}

/// Not a check but a measurement: `cargo test --release --lib auth -- --ignored --nocapture cost`.
#[test]
#[ignore = "prints what one verification costs"]
fn cost_of_one_verification() {
    let print = |name: &str, keys: &Keys, token: &str| {
        let once = || {
            let begun = std::time::Instant::now();
            (0..200)
                .for_each(|_| drop(std::hint::black_box(keys.verify(token.as_bytes(), IssuerSet::ALL, NOW))));
            begun.elapsed() / 200
        };
        let best = std::iter::repeat_with(once).take(9).min().unwrap_or_default();
        println!("{name}: {best:?}");
    };
    let secret = crate::auth::testing::keys(&crate::auth::testing::jwt());
    print("HS256", &secret, &crate::auth::testing::token(r#"{"alg":"HS256"}"#, CLAIMS));
    for (algorithm, signer) in all() {
        let token = signer.token(&header(algorithm.word(), r#","kid":"k""#), CLAIMS, algorithm);
        print(algorithm.word(), &one(&signer), &token);
        print("  of an unknown key", &one(&Signer::of(algorithm, "other")), &token);
    }
}

/// The order of the group of P-256 (SEC 2 §2.4.2), big-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// The order of the group of Ed25519 (RFC 8032 §5.1), little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
