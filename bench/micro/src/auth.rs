//! Who is asking: a token that the core remembers, and ones that it does not.

use std::hint::black_box;
use std::sync::Arc;

use realchat_gateway::auth::{Authenticator, KeySets, Keys};
use realchat_gateway::config::IssuerSet;

use crate::{Step, stage};

/// It was verified before.
pub fn hit() -> Step {
    let (keys, token) = (keys(), stage::token());
    let authenticator = Authenticator::new(Arc::new(keys), Arc::default(), Arc::default());
    Box::new(move || {
        let verified =
            authenticator.verify(black_box(token.as_bytes()), IssuerSet::ALL, stage::NOW, || false);
        black_box(verified.expect("a valid token"));
    })
}

/// It was not: HS256, and its claims. Remembering it is left out.
pub fn miss() -> Step {
    let (keys, token) = (keys(), stage::token());
    Box::new(move || {
        black_box(
            keys.verify(black_box(token.as_bytes()), IssuerSet::ALL, stage::NOW).expect("a valid token"),
        );
    })
}

/// Its signature is not ours.
pub fn forged() -> Step {
    let (keys, mut token) = (keys(), stage::token().into_bytes());
    // A digit of the signature's first byte: any other is as good.
    let at = token.iter().rposition(|byte| *byte == b'.').expect("three parts") + 1;
    token[at] = if token[at] == b'A' { b'B' } else { b'A' };
    Box::new(move || {
        black_box(keys.verify(black_box(&token), IssuerSet::ALL, stage::NOW).expect_err("an invalid token"));
    })
}

fn keys() -> Keys {
    let jwt = stage::config().jwt.clone();
    Keys::new(&jwt, &KeySets::unavailable(&jwt))
}
