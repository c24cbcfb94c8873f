//! Key sets for a successor process: an upgrade while an issuer is away costs nobody a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::jwks;
use super::key_sets::{KeySetState, KeySets};
use crate::config::{Issuer, Jwt, KeySetSource};

/// Key sets by the URL that they come from, as they came.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct InheritedSets(BTreeMap<String, String>);

impl InheritedSets {
    /// Those that came from URLs.
    pub fn of(jwt: &Jwt, sets: &KeySets) -> InheritedSets {
        let set = |(index, issuer): (usize, &Issuer)| {
            let KeySetState::Available(set) = sets.get(index) else { return None };
            Some((url(issuer)?.to_owned(), String::from_utf8(set.written().to_vec()).ok()?))
        };
        InheritedSets(jwt.issuers.iter().enumerate().filter_map(set).collect())
    }

    /// For the successor. `None`: there is none.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.0.is_empty() { None } else { serde_json::to_vec(&self.0).ok() }
    }

    /// Of the predecessor. What cannot be read is fetched.
    pub fn from_bytes(bytes: &[u8]) -> InheritedSets {
        InheritedSets(serde_json::from_slice(bytes).unwrap_or_default())
    }

    /// Fills in the sets that are not known. They are fetched all the same, and judged by the rules of this version.
    pub fn give(&self, jwt: &Jwt, sets: &mut KeySets) {
        for (index, issuer) in jwt.issuers.iter().enumerate() {
            let written = url(issuer).and_then(|url| self.0.get(url));
            let set = written.and_then(|written| jwks::parse(written.as_bytes()).ok());
            if let (Some((set, _)), KeySetState::Unavailable) = (set, sets.get(index)) {
                sets.set(index, KeySetState::Available(Arc::new(set)));
            }
        }
    }
}

fn url(issuer: &Issuer) -> Option<&str> {
    match issuer.key_set.as_ref()? {
        KeySetSource::Url(url) | KeySetSource::Discovery(url) => Some(url.as_str()),
        KeySetSource::File(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::super::tests::signers::{Signer, set_of};
    use super::*;
    use crate::config::testing::keys_url;
    use crate::config::{Algorithm, WantedClaims};

    fn jwt(issuers: impl Into<Vec<Issuer>>) -> Jwt {
        Jwt { issuers: issuers.into(), claims: WantedClaims::default() }
    }

    fn of_url(url: &str) -> Issuer {
        Issuer { secrets: Vec::new(), key_set: Some(KeySetSource::Url(keys_url(url))), ..testing::issuer() }
    }

    #[test]
    fn a_successor_knows_the_sets_of_the_urls_that_it_has_too() {
        let (one, other) = ("https://a.example/keys", "https://b.example/keys");
        let before = jwt([of_url(one)]);
        let mut sets = KeySets::unavailable(&before);
        assert_eq!(InheritedSets::of(&before, &sets).to_bytes(), None, "there is nothing to hand over");
        let set = set_of(&[&Signer::of(Algorithm::Es256, "k")]);
        sets.set(0, KeySetState::Available(set.clone()));
        let bytes = InheritedSets::of(&before, &sets).to_bytes().expect("a set");
        let after = jwt([of_url(other), of_url(one)]);
        let mut sets = KeySets::unavailable(&after);
        InheritedSets::from_bytes(&bytes).give(&after, &mut sets);
        assert_eq!([sets.get(0), sets.get(1)], [&KeySetState::Unavailable, &KeySetState::Available(set)]);
    }

    #[test]
    fn nonsense_is_nothing() {
        for bytes in [&b""[..], b"[]", b"{\"https://a.example/keys\":\"{}\"}", b"\xff"] {
            let jwt = jwt([of_url("https://a.example/keys")]);
            let mut sets = KeySets::unavailable(&jwt);
            InheritedSets::from_bytes(bytes).give(&jwt, &mut sets);
            assert_eq!(sets, KeySets::unavailable(&jwt));
        }
    }
}
