//! Whose tokens are accepted: the issuers, their keys, and what their tokens must say.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::algorithms::AlgorithmSet;
use super::claims::{ClaimPath, WantedClaims};
use crate::limits::ISSUERS_MAX;

/// Whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The issuers, from 1 to [`ISSUERS_MAX`]. The one of the single settings (`JWT_SECRET`, `JWKS_URL`) comes first.
    pub issuers: Vec<Issuer>,
    /// What routes want to know of a token.
    pub claims: WantedClaims,
}

/// Who issues tokens: its keys, and what its tokens must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its name in routes, logs and metrics; no other issuer has it.
    pub name: String,
    /// The required value of `iss`. `None`: not checked.
    pub issuer: Option<String>,
    /// The values of which `aud` must be or contain one. Empty: not checked.
    pub audiences: Vec<String>,
    /// Secrets that it shares with the gateway. The first one signs, all of them verify.
    pub secrets: Vec<Secret>,
    /// Its public keys from a file.
    pub pem: Option<PemFile>,
    /// Where its key set comes from.
    pub key_set: Option<KeySetSource>,
    /// PEM of the authorities that vouch for the server of the key set. `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The algorithms to which its keys are cut. `None`: HS256 for secrets, and all that a public key can do.
    pub algorithms: Option<AlgorithmSet>,
    /// Allowed clock difference for `exp` and `nbf`.
    pub leeway: Duration,
    /// The claim that names the user.
    pub user_claim: ClaimPath,
    /// The longest time from `iat` to `exp`. `None`: any.
    pub lifetime_max: Option<Duration>,
    /// The values of `typ` that are accepted, in lower case and without `application/`. Empty: any but those of other
    /// kinds of tokens.
    pub token_types: Vec<String>,
}

impl Issuer {
    /// The algorithms of its secrets.
    pub fn secret_algorithms(&self) -> AlgorithmSet {
        self.algorithms.unwrap_or(AlgorithmSet::HS256).and(AlgorithmSet::SECRET)
    }

    /// The algorithms to which its public keys are cut.
    pub fn public_algorithms(&self) -> AlgorithmSet {
        self.algorithms.unwrap_or(AlgorithmSet::PUBLIC).and(AlgorithmSet::PUBLIC)
    }
}

/// Where the key set of an issuer comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetSource {
    /// A file that holds the set (RFC 7517 §5).
    File(PathBuf),
    /// The URL of the set.
    Url(KeysUrl),
    /// The issuer's configuration document, whose `jwks_uri` is the URL of the set (OpenID Connect Discovery 1.0 §4).
    /// This is the document's own URL; its `issuer` must be [`Issuer::issuer`].
    Discovery(KeysUrl),
}

/// An `https` or `http` URL with a host, without user, fragment and anything but visible ASCII. Over `http` only to
/// loopback, unless the operator allows more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysUrl(pub(crate) String);

impl KeysUrl {
    /// The URL as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A file with public keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFile {
    /// Its path.
    pub path: PathBuf,
    /// What is in it.
    pub pem: Vec<u8>,
}

/// Some of the issuers of one configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerSet(u16);

impl IssuerSet {
    /// All of them.
    pub const ALL: IssuerSet = IssuerSet(u16::MAX);
    /// None of them.
    pub const NONE: IssuerSet = IssuerSet(0);

    /// Adds the issuer at an index of [`Jwt::issuers`].
    pub fn with(self, index: usize) -> IssuerSet {
        IssuerSet(self.0 | 1 << index)
    }

    /// Whether the issuer at an index is among them.
    pub fn contains(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    /// As a number, one bit for each issuer.
    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    /// The issuers that a number stands for.
    pub(crate) fn of_bits(bits: u16) -> IssuerSet {
        IssuerSet(bits)
    }
}

const _: () = assert!(ISSUERS_MAX <= u16::BITS as usize);

/// Secret bytes. They never appear in a log, an error or `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_issuers_has_those_that_were_added() {
        let some = IssuerSet::NONE.with(0).with(15);
        assert!(some.contains(0) && some.contains(15) && !some.contains(1));
        assert!((0..ISSUERS_MAX).all(|index| IssuerSet::ALL.contains(index)));
    }
}
