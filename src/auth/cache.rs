//! The tokens that this core has verified.
//!
//! Two generations, each half of the bound. New and used tokens are in the young one; when that is full it
//! becomes the old one, and what the old one still held, unused since, is forgotten at once.
//!
//! ```text
//! insert ─▶ young ──full──▶ old ──young full again──▶ forgotten
//!             ▲── a hit ─────┘
//! ```

use std::collections::HashMap;
use std::mem;

use super::{User, Verified};
use crate::limits::TOKENS_CACHED_MAX;

/// Verified tokens by their bytes. The map's hash is keyed, so no peer can choose tokens that collide.
pub(super) struct Cache {
    young: Generation,
    old: Generation,
}

type Generation = HashMap<Box<[u8]>, Verified>;

impl Cache {
    /// Reserves room for everything it may hold: a hit never allocates. Pages that are not used stay the
    /// kernel's.
    pub(super) fn new() -> Self {
        Self { young: HashMap::with_capacity(HALF), old: HashMap::with_capacity(HALF) }
    }

    /// The user of a token that was verified before and is valid now. A token whose time is over is not
    /// found: verification says what it is.
    pub(super) fn get(&mut self, token: &[u8], now_unix_s: u64) -> Option<User> {
        if let Some(verified) = self.young.get(token) {
            return user_at(verified, now_unix_s);
        }
        let (token, verified) = self.old.remove_entry(token)?;
        let user = user_at(&verified, now_unix_s)?;
        self.keep(token, verified);
        Some(user)
    }

    /// Remembers what verification said about a token.
    pub(super) fn insert(&mut self, token: &[u8], verified: Verified) {
        self.keep(token.into(), verified);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// Retiring a full generation frees up to [`HALF`] tokens in one go: some 0.1 ms, once per as many
    /// new tokens.
    fn keep(&mut self, token: Box<[u8]>, verified: Verified) {
        if self.young.len() >= HALF {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(token, verified);
    }
}

/// Both ends are checked: the clock may have been set back since the token was verified.
fn user_at(verified: &Verified, now_unix_s: u64) -> Option<User> {
    let valid = (verified.valid_from_unix_s..verified.expires_unix_s).contains(&now_unix_s);
    valid.then(|| verified.user.clone())
}

/// The bound of one generation.
const HALF: usize = TOKENS_CACHED_MAX / 2;
const _: () = assert!(HALF > 0);
