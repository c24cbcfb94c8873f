//! The algorithms that sign tokens (RFC 7518 §3.1, RFC 8037 §3.1), and sets of them.

use std::fmt;

use super::choice::Choice;

/// An algorithm that signs tokens. `none` is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Their names say everything.
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// The algorithm of this name, byte by byte: names are case-sensitive (RFC 7515 §4.1.1). `Ed25519` is the fully
    /// specified name of `EdDSA` with that curve (RFC 9864 §2.2), the only one here.
    pub fn named(name: &str) -> Option<Algorithm> {
        match name {
            "Ed25519" => Some(Algorithm::EdDsa),
            name => Algorithm::ALL.iter().copied().find(|algorithm| algorithm.word() == name),
        }
    }
}

impl Choice for Algorithm {
    const ALL: &'static [Self] = &[
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A set of algorithms.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// No algorithm.
    pub const NONE: AlgorithmSet = AlgorithmSet(0);
    /// HMAC with SHA-256: what a secret signs and verifies unless something else is written.
    pub const HS256: AlgorithmSet = AlgorithmSet::of(&[Algorithm::Hs256]);
    /// Those of a secret.
    pub const SECRET: AlgorithmSet =
        AlgorithmSet::of(&[Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]);
    /// Those of an RSA key.
    pub const RSA: AlgorithmSet = AlgorithmSet::of(&[
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ]);
    /// That of a key on the curve P-256.
    pub const P256: AlgorithmSet = AlgorithmSet::of(&[Algorithm::Es256]);
    /// That of a key on the curve P-384.
    pub const P384: AlgorithmSet = AlgorithmSet::of(&[Algorithm::Es384]);
    /// That of a key on the curve Ed25519.
    pub const ED25519: AlgorithmSet = AlgorithmSet::of(&[Algorithm::EdDsa]);
    /// Those of public keys of any type.
    pub const PUBLIC: AlgorithmSet =
        AlgorithmSet(Self::RSA.0 | Self::P256.0 | Self::P384.0 | Self::ED25519.0);

    /// A set of these algorithms.
    pub const fn of(algorithms: &[Algorithm]) -> AlgorithmSet {
        let (mut bits, mut nth) = (0, 0);
        while nth < algorithms.len() {
            bits |= 1 << algorithms[nth] as u16;
            nth += 1;
        }
        AlgorithmSet(bits)
    }

    /// Whether an algorithm is in it.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u16) != 0
    }

    /// What is in both.
    pub const fn and(self, other: AlgorithmSet) -> AlgorithmSet {
        AlgorithmSet(self.0 & other.0)
    }

    /// What is in one of the two.
    pub const fn or(self, other: AlgorithmSet) -> AlgorithmSet {
        AlgorithmSet(self.0 | other.0)
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for AlgorithmSet {
    /// The names, as a header spells them: `RS256, PS256`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Algorithm::ALL.iter().filter(|algorithm| self.contains(**algorithm));
        f.write_str(&names.map(|algorithm| algorithm.word()).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_ed25519_is_eddsa() {
        for &algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.word()), Some(algorithm));
            assert_eq!(Algorithm::named(&algorithm.word().to_lowercase()), None);
        }
        assert_eq!(Algorithm::named("Ed25519"), Some(Algorithm::EdDsa));
        for name in ["none", "None", "", "HS256 ", "ES512", "ES256K", "Ed448", "RSA-OAEP", "dir"] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }

    #[test]
    fn families_share_no_algorithm_and_are_all_of_them() {
        let families = [AlgorithmSet::SECRET, AlgorithmSet::RSA, AlgorithmSet::P256, AlgorithmSet::P384];
        let families = families.into_iter().chain([AlgorithmSet::ED25519]);
        let counts =
            Algorithm::ALL.iter().map(|one| families.clone().filter(|set| set.contains(*one)).count());
        assert!(counts.clone().all(|count| count == 1) && counts.count() == 12);
        assert!(AlgorithmSet::SECRET.and(AlgorithmSet::PUBLIC).is_empty());
        assert_eq!(AlgorithmSet::HS256.or(AlgorithmSet::P256).to_string(), "HS256, ES256");
    }
}
