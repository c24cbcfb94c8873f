//! Who is asking: tokens of issuers with public keys, one for each algorithm. The private keys were thrown away.

use std::hint::black_box;
use std::sync::Arc;

use realchat_gateway::auth::{Authenticator, KeySetState, KeySets, Keys, jwks};
use realchat_gateway::config::{Issuer, IssuerSet, Jwt, KeySetSource, WantedClaims};

use crate::{Step, stage};

/// It was verified before.
pub fn hit() -> Step {
    let authenticator = Authenticator::new(Arc::new(keys()), Arc::default(), Arc::default());
    Box::new(move || {
        let token = black_box(ES256.trim_end().as_bytes());
        let verified = authenticator.verify(token, IssuerSet::ALL, stage::NOW, || false);
        black_box(verified.expect("a valid token"));
    })
}

pub fn rs256() -> Step {
    miss(include_str!("tokens/rs256.jwt"))
}

pub fn rs256_4096() -> Step {
    miss(include_str!("tokens/rs256_4096.jwt"))
}

pub fn ps256() -> Step {
    miss(include_str!("tokens/ps256.jwt"))
}

pub fn es256() -> Step {
    miss(ES256)
}

pub fn es384() -> Step {
    miss(include_str!("tokens/es384.jwt"))
}

pub fn eddsa() -> Step {
    miss(include_str!("tokens/eddsa.jwt"))
}

/// No key has its name.
pub fn unknown_key() -> Step {
    let keys = keys_of(include_str!("tokens/other.json"));
    Box::new(move || {
        let token = black_box(ES256.trim_end().as_bytes());
        black_box(keys.verify(token, IssuerSet::ALL, stage::NOW).expect_err("an unknown key"));
    })
}

/// It was not verified before: its signature and its claims. Remembering it is left out.
fn miss(token: &'static str) -> Step {
    let (keys, token) = (keys(), token.trim_end().as_bytes());
    Box::new(move || {
        black_box(keys.verify(black_box(token), IssuerSet::ALL, stage::NOW).expect("a valid token"));
    })
}

fn keys() -> Keys {
    keys_of(include_str!("tokens/keys.json"))
}

fn keys_of(set: &str) -> Keys {
    let jwt = Jwt { issuers: vec![issuer()], claims: WantedClaims::default() };
    let (set, _) = jwks::parse(set.as_bytes()).expect("a key set");
    let mut sets = KeySets::unavailable(&jwt);
    sets.set(0, KeySetState::Available(Arc::new(set)));
    Keys::new(&jwt, &sets)
}

fn issuer() -> Issuer {
    let single = stage::config().jwt.issuers.remove(0);
    Issuer {
        issuer: Some("https://id.example".to_owned()),
        audiences: vec!["chat".to_owned()],
        secrets: Vec::new(),
        key_set: Some(KeySetSource::File("keys.json".into())),
        ..single
    }
}

const ES256: &str = include_str!("tokens/es256.jwt");
