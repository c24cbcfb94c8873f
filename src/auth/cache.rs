//! A cache of the tokens that this core has verified.
//!
//! There are two generations, each of half the bound. New and used tokens are in the young generation. When it is
//! full, it becomes the old one, and the tokens that were still in the old one, unused since, are dropped.
//!
//! ```text
//! insert ─▶ young ──full──▶ old ──young full again──▶ forgotten
//!             ▲── a hit ─────┘
//! ```

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};
use std::mem;

use super::keys::{Accepted, Keys};
use super::user::Verified;
use crate::config::IssuerSet;
use crate::limits::TOKENS_CACHED_MAX;

/// Verified tokens by their bytes. The map's hash is keyed, so a client cannot choose tokens that collide.
pub(super) struct Cache {
    young: Generation,
    old: Generation,
}

type Generation = HashMap<Box<[u8]>, Accepted, ByTail>;

/// Hashes the end of a token, which is most of its signature: that alone tells verified tokens apart. A forged token
/// may have the end of a verified one; the map then compares the two byte by byte, and they differ.
#[derive(Default)]
struct ByTail(RandomState);

struct TailHasher(DefaultHasher);

impl BuildHasher for ByTail {
    type Hasher = TailHasher;

    fn build_hasher(&self) -> TailHasher {
        TailHasher(self.0.build_hasher())
    }
}

impl Hasher for TailHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
    }

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

impl Cache {
    /// Reserves memory for every token it may hold, so a hit never allocates. The kernel provides a page when it is
    /// first used.
    pub(super) fn new() -> Self {
        Self { young: generation(), old: generation() }
    }

    /// A token of one of these issuers that was verified before and is valid now. An expired one counts as not found,
    /// and verification then says that it has expired.
    pub(super) fn get(&mut self, token: &[u8], issuers: IssuerSet, now_unix_s: u64) -> Option<Verified> {
        if let Some(accepted) = self.young.get(token) {
            return usable(accepted, issuers, now_unix_s);
        }
        let (token, accepted) = self.old.remove_entry(token)?;
        if !is_valid_at(&accepted, now_unix_s) {
            return None;
        }
        let usable = usable(&accepted, issuers, now_unix_s);
        self.keep(token, accepted);
        usable
    }

    /// Remembers a verified token.
    pub(super) fn insert(&mut self, token: &[u8], accepted: Accepted) {
        self.keep(token.into(), accepted);
    }

    /// Forgets the tokens whose key is not among these: a look at each token, some 0.1 ms in all.
    pub(super) fn retain_signed_by(&mut self, keys: &Keys) {
        for generation in [&mut self.young, &mut self.old] {
            generation.retain(|_, accepted| keys.has(accepted.key));
        }
    }

    /// Begins a new generation before the young one is full. The table of the dropped one goes with its tokens: its
    /// pages are free again.
    pub(super) fn turn(&mut self) {
        self.old = mem::replace(&mut self.young, generation());
    }

    /// Drops a whole generation when it is full: up to [`HALF`] tokens, about 0.1 ms, once per [`HALF`] new tokens.
    fn keep(&mut self, token: Box<[u8]>, accepted: Accepted) {
        if self.young.len() >= HALF {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(token, accepted);
    }
}

fn generation() -> Generation {
    HashMap::with_capacity_and_hasher(HALF, ByTail::default())
}

fn usable(accepted: &Accepted, issuers: IssuerSet, now_unix_s: u64) -> Option<Verified> {
    let is_usable = issuers.contains(accepted.issuer) && is_valid_at(accepted, now_unix_s);
    is_usable.then(|| accepted.verified.clone())
}

/// Both ends are checked, because the clock may have been set back since the token was verified.
fn is_valid_at(accepted: &Accepted, now_unix_s: u64) -> bool {
    let Verified { valid_from_unix_s, expires_unix_s, .. } = accepted.verified;
    (valid_from_unix_s..expires_unix_s).contains(&now_unix_s)
}

/// Bytes at the end of a token that are hashed: 144 bits of its signature in base64url.
const TAIL_BYTES: usize = 24;
/// The bound of one generation.
const HALF: usize = TOKENS_CACHED_MAX / 2;
const _: () = assert!(HALF > 0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::kept::KeptClaims;
    use crate::auth::key::KeyId;
    use crate::auth::{Holder, User};

    const ALL: IssuerSet = IssuerSet::ALL;

    fn verified(valid_from_unix_s: u64, expires_unix_s: u64) -> Accepted {
        let (user, claims) = (User::parse("alice").unwrap(), KeptClaims::default());
        Accepted {
            verified: Verified {
                holder: Holder::someone("alice", 0).into(),
                user,
                valid_from_unix_s,
                expires_unix_s,
                claims,
            },
            key: KeyId::default(),
            issuer: 3,
        }
    }

    fn name(n: usize) -> [u8; 8] {
        n.to_be_bytes()
    }

    #[test]
    fn a_token_that_ends_as_a_verified_one_is_not_it() {
        let mut cache = Cache::new();
        let signature = "s".repeat(43);
        let token = |claims: &str| format!("{claims}.{signature}").into_bytes();
        cache.insert(&token("alice"), verified(0, 99));
        assert!(cache.get(&token("alice"), ALL, 50).is_some());
        assert!(
            cache.get(&token("mallory"), ALL, 50).is_none()
                && cache.get(signature.as_bytes(), ALL, 50).is_none()
        );
    }

    #[test]
    fn an_entry_never_outlives_its_token() {
        for retired in [false, true] {
            let found = |now| {
                let mut cache = Cache::new();
                cache.insert(b"token", verified(10, 20));
                (0..HALF * usize::from(retired)).for_each(|n| cache.insert(&name(n), verified(0, 99)));
                assert_eq!(cache.old.contains_key(&b"token"[..]), retired);
                cache.get(b"token", ALL, now).is_some()
            };
            assert_eq!([9, 10, 19, 20, 21, u64::MAX].map(found), [false, true, true, false, false, false]);
        }
    }

    #[test]
    fn only_the_whole_token_is_the_key() {
        let mut cache = Cache::new();
        cache.insert(b"token", verified(0, 20));
        for other in [&b"toke"[..], b"token ", b"tokeN", b"", b"xtoken"] {
            assert!(cache.get(other, ALL, 10).is_none());
        }
    }

    #[test]
    fn a_turn_forgets_what_was_not_used_since_the_last_one() {
        let mut cache = Cache::new();
        cache.insert(b"used", verified(0, 20));
        cache.insert(b"unused", verified(0, 20));
        cache.turn();
        assert!(cache.get(b"used", ALL, 10).is_some());
        cache.turn();
        assert!(cache.get(b"unused", ALL, 10).is_none() && cache.get(b"used", ALL, 10).is_some());
        assert!(cache.young.capacity() >= HALF && cache.old.capacity() >= HALF, "a hit never allocates");
    }

    #[test]
    fn the_bound_holds_under_a_flood_and_no_table_grows() {
        let mut cache = Cache::new();
        let room = cache.young.capacity();
        for n in 0..3 * TOKENS_CACHED_MAX {
            cache.insert(&name(n), verified(0, 20));
            if n % 3 == 0 {
                cache.get(&name(n / 2), ALL, 10);
            }
            assert!(cache.young.len() + cache.old.len() <= TOKENS_CACHED_MAX);
        }
        assert_eq!((cache.young.capacity(), cache.old.capacity()), (room, room));
    }

    #[test]
    fn a_token_in_use_survives_the_flood_and_an_unused_one_does_not() {
        let mut cache = Cache::new();
        cache.insert(b"used", verified(0, 20));
        cache.insert(b"unused", verified(0, 20));
        for n in 0..2 * TOKENS_CACHED_MAX {
            cache.insert(&name(n), verified(0, 20));
            assert!(cache.get(b"used", ALL, 10).is_some());
        }
        assert!(cache.get(b"unused", ALL, 10).is_none());
    }
}
