//! The keys of all issuers, and the verification of one token with them.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::claims::ClaimRules;
use super::error::{CredentialError, TokenFault, UnknownKey};
use super::key::{Key, KeyId};
use super::key_counters::KeyLabel;
use super::key_sets::{KeySetState, KeySets};
use super::pem;
use super::token::{self, Header, Parts};
use super::user::Verified;
use crate::config::{Algorithm, AlgorithmSet, Issuer, IssuerSet, Jwt};
use crate::limits::{KEYS_OF_NAME_TRIED_MAX, KEYS_OF_ONE_NAME_MAX, KEYS_TRIED_MAX};

/// The keys that verify tokens, and what each issuer's tokens must say. Immutable, so all cores can share them.
pub struct Keys {
    /// In the order of their names: those without a name first, and those of one name in the order of their issuers.
    keys: Vec<Key>,
    issuers: Vec<Rules>,
    /// The key sets that they are made of.
    sets: KeySets,
    left_out: Vec<String>,
    /// The identities of the keys, in order.
    ids: Vec<KeyId>,
}

/// What is known of one issuer.
struct Rules {
    name: String,
    claims: ClaimRules,
    /// The algorithms that keys of its key set may have; none if it has no key set.
    of_key_set: AlgorithmSet,
    is_available: bool,
}

/// A token that was found to be valid.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// What it says.
    pub verified: Verified,
    /// The key that signed it.
    pub key: KeyId,
    /// The index of its issuer.
    pub issuer: usize,
}

/// A token whose signature is right.
pub(super) struct Signed<'t, 'k> {
    pub(super) parts: Parts<'t>,
    pub(super) header: Header,
    pub(super) key: &'k Key,
}

impl Keys {
    /// Prepares the keys of a configuration, and of the key sets that are known.
    pub fn new(jwt: &Jwt, sets: &KeySets) -> Self {
        let (mut keys, mut left_out) = (Vec::new(), Vec::new());
        for (index, issuer) in jwt.issuers.iter().enumerate() {
            for key in of_issuer(index, issuer, sets.get(index)) {
                let is_rival = |other: &&Key| {
                    other.issuer == key.issuer && other.kid == key.kid && shares_algorithm(other, &key)
                };
                match &key.kid {
                    Some(kid) if keys.iter().filter(is_rival).count() >= KEYS_OF_ONE_NAME_MAX => {
                        left_out.push(format!(
                            "issuer {}: the key {kid:?} is left out: {KEYS_OF_ONE_NAME_MAX} others have its name",
                            issuer.name
                        ));
                    }
                    _ => keys.push(key),
                }
            }
        }
        keys.sort_by(|one, other| one.kid.cmp(&other.kid));
        let rules = |(index, issuer): (usize, &Issuer)| Rules {
            name: issuer.name.clone(),
            claims: ClaimRules::new(issuer, &jwt.claims),
            of_key_set: issuer.key_set.as_ref().map_or(AlgorithmSet::NONE, |_| issuer.public_algorithms()),
            is_available: *sets.get(index) != KeySetState::Unavailable,
        };
        let mut ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
        ids.sort_unstable();
        let issuers = jwt.issuers.iter().enumerate().map(rules).collect();
        Self { keys, ids, issuers, sets: sets.clone(), left_out }
    }

    /// The key sets that they are made of.
    pub fn sets(&self) -> &KeySets {
        &self.sets
    }

    /// The keys of `before` whose issuer has no key of their name any more.
    pub(super) fn withdrawn_since<'k>(&'k self, before: &'k Keys) -> impl Iterator<Item = UnknownKey> + 'k {
        before.keys.iter().filter_map(|key| {
            let kid = key.kid.as_deref()?;
            let is_gone = self.of_name(Some(kid)).iter().all(|kept| kept.issuer != key.issuer);
            is_gone.then(|| UnknownKey { kid: hash_of(kid), issuers: IssuerSet::NONE.with(key.issuer) })
        })
    }

    /// The keys that are left out because too many have their name: a line for each.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// What each key is called in metrics, in the order of [`Keys::place`].
    pub(super) fn labels(&self) -> Vec<KeyLabel> {
        let label = |key: &Key| KeyLabel {
            issuer: self.issuers[key.issuer].name.clone(),
            key: key.kid.as_deref().unwrap_or(key.kind).to_owned(),
        };
        let of = |id: &KeyId| self.keys.iter().find(|key| key.id == *id).map(label);
        self.ids.iter().filter_map(of).collect()
    }

    /// The place of a key in the list of labels.
    pub(super) fn place(&self, id: KeyId) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    /// Whether a key is among them.
    pub fn has(&self, id: KeyId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// Verifies one token of one of these issuers: shape, header, signature, claims, in this order. What anybody can
    /// write costs one look at a short header and one at its bytes for each key that may have signed them; claims are
    /// parsed only when the signature is known to be right, so only a token that one of the keys signed can be
    /// [`CredentialError::Expired`].
    ///
    /// # Errors
    /// The first check that the token fails.
    pub fn verify(
        &self,
        token: &[u8],
        issuers: IssuerSet,
        now_unix_s: u64,
    ) -> Result<Accepted, CredentialError> {
        let signed = self.signed(token, issuers)?;
        self.judge(&signed, now_unix_s)
    }

    /// The first half of [`Keys::verify`]: up to the signature.
    pub(super) fn signed<'t>(
        &self,
        token: &'t [u8],
        issuers: IssuerSet,
    ) -> Result<Signed<'t, '_>, CredentialError> {
        let parts = token::split(token)?;
        let header = token::header(&token::decode(parts.header)?)?;
        let signature = token::decode(parts.signature)?;
        let key = self.signer(&header, issuers, parts.signed, &signature)?;
        Ok(Signed { parts, header, key })
    }

    /// The second half: what the token says.
    pub(super) fn judge(
        &self,
        Signed { parts, header, key }: &Signed<'_, '_>,
        now_unix_s: u64,
    ) -> Result<Accepted, CredentialError> {
        let rules = &self.issuers[key.issuer].claims;
        rules.check_type(header.typ.as_deref())?;
        let verified = rules.check(&token::decode(parts.claims)?, now_unix_s)?;
        Ok(Accepted { verified, key: key.id, issuer: key.issuer })
    }

    /// What the issuer of a key says of its tokens.
    pub(super) fn rules_of(&self, key: &Key) -> &ClaimRules {
        &self.issuers[key.issuer].claims
    }

    /// Each key: the index of its issuer, its name, its algorithms.
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, Option<&str>, AlgorithmSet)> {
        self.keys.iter().map(|key| (key.issuer, key.kid.as_deref(), key.algorithms))
    }

    /// Whether a token asks for a signature that takes much longer to check than one by a secret.
    pub(super) fn is_dear(token: &[u8]) -> bool {
        let header = token::split(token).and_then(|parts| token::header(&token::decode(parts.header)?));
        let algorithm = header.ok().and_then(|header| header.algorithm);
        algorithm.is_some_and(|algorithm| AlgorithmSet::PUBLIC.contains(algorithm))
    }

    /// The key that made a signature. Only keys of the algorithm that the header names are tried: those of its key
    /// name, then those without a name. Nothing that is not verified yet decides whose keys these are: a key knows its
    /// issuer, and the issuer's rules then say what the token must contain.
    fn signer(
        &self,
        header: &Header,
        issuers: IssuerSet,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> Result<&Key, CredentialError> {
        let algorithm = header.algorithm.ok_or(TokenFault::Algorithm)?;
        let is_candidate = |key: &&Key| key.algorithms.contains(algorithm) && issuers.contains(key.issuer);
        let kid = header.kid.as_deref();
        let (named, others) = match kid {
            Some(_) => (self.of_name(kid), self.of_name(None)),
            None => (&[][..], &self.keys[..]),
        };
        let is_known = named.iter().any(|key| is_candidate(&key));
        let candidates = named.iter().chain(others).filter(is_candidate);
        let tried_max = if kid.is_some() { KEYS_OF_NAME_TRIED_MAX } else { KEYS_TRIED_MAX };
        if candidates.clone().count() > tried_max {
            return Err(TokenFault::ManyKeys.into());
        }
        match candidates.clone().find(|key| key.signed(algorithm, message, signature)) {
            Some(signer) => Ok(signer),
            None if is_known => Err(TokenFault::Signature.into()),
            None => Err(self.no_signer(algorithm, kid, issuers)),
        }
    }

    /// The keys of one name, which stand together.
    fn of_name(&self, kid: Option<&str>) -> &[Key] {
        let begin = self.keys.partition_point(|key| key.kid.as_deref() < kid);
        let length = self.keys[begin..].partition_point(|key| key.kid.as_deref() == kid);
        &self.keys[begin..begin + length]
    }

    /// What is wrong with a token whose key is not there.
    fn no_signer(&self, algorithm: Algorithm, kid: Option<&str>, issuers: IssuerSet) -> CredentialError {
        let mut asked = IssuerSet::NONE;
        for (index, rules) in self.issuers.iter().enumerate() {
            if !issuers.contains(index) || !rules.of_key_set.contains(algorithm) {
                continue;
            }
            if !rules.is_available {
                return CredentialError::KeysUnavailable;
            }
            asked = asked.with(index);
        }
        let is_algorithm = |key: &Key| key.algorithms.contains(algorithm) && issuers.contains(key.issuer);
        match kid {
            Some(kid) if asked != IssuerSet::NONE => {
                CredentialError::UnknownKey(UnknownKey { kid: hash_of(kid), issuers: asked })
            }
            _ if self.keys.iter().any(is_algorithm) => TokenFault::Signature.into(),
            _ => TokenFault::Algorithm.into(),
        }
    }
}

/// All keys of an issuer: secrets, those of its PEM file, those of its key set.
fn of_issuer(index: usize, issuer: &Issuer, set: &KeySetState) -> Vec<Key> {
    let secrets = issuer.secrets.iter().enumerate();
    let secrets = secrets.filter_map(|(nth, secret)| Key::of_secret(index, issuer, nth, &secret.0));
    let of_file = issuer.pem.as_ref().and_then(|file| pem::parse(&file.pem).ok()).unwrap_or_default();
    let of_set = match set {
        KeySetState::Available(set) => set.keys(),
        KeySetState::None | KeySetState::Unavailable => &[],
    };
    let public = of_file.iter().chain(of_set).filter_map(|key| Key::of_public(index, issuer, key));
    secrets.chain(public).collect()
}

fn shares_algorithm(one: &Key, other: &Key) -> bool {
    !one.algorithms.and(other.algorithms).is_empty()
}

/// Names are compared by this where they are counted, and it decides about no token.
fn hash_of(kid: &str) -> u64 {
    let mut hash = DefaultHasher::new();
    kid.hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;
    use proptest::prelude::*;

    use super::super::testing::{
        CLAIMS, EXPIRED, HEADER, INVALID, NOW, encode, jwt, keys, sealed, signed_by, token, verdict, with,
    };
    use super::*;
    use crate::config::{IssuerSet, Secret};

    fn with_secrets(secrets: &[&[u8]]) -> Jwt {
        with(|issuer| issuer.secrets = secrets.iter().map(|secret| Secret(secret.to_vec())).collect())
    }

    fn token_by(secret: &[u8]) -> String {
        signed_by(&format!("{}.{}", encode(HEADER), encode(CLAIMS)), secret, Algorithm::HS256)
    }

    #[test]
    fn the_previous_secret_verifies_as_long_as_it_is_configured() {
        let (new, previous, older) = (&[1; 32][..], &[2; 32][..], &[3; 32][..]);
        let both = with_secrets(&[new, previous]);
        assert!(verdict(&both, token_by(new), NOW).is_ok());
        assert!(verdict(&both, token_by(previous), NOW).is_ok());
        assert_eq!(verdict(&both, token_by(older), NOW), Err(INVALID));
        assert_eq!(verdict(&with_secrets(&[new]), token_by(previous), NOW), Err(INVALID));
    }

    #[test]
    fn an_empty_secret_and_a_pem_are_no_hmac_keys() {
        let pem = b"\n-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n";
        for secret in [&b""[..], pem] {
            assert_eq!(verdict(&with_secrets(&[secret]), token_by(secret), NOW), Err(INVALID));
        }
        assert_eq!(verdict(&with_secrets(&[]), token_by(b""), NOW), Err(INVALID));
    }

    #[test]
    fn claims_are_not_looked_at_before_the_signature_holds() {
        let expired = format!("{}.{}", encode(HEADER), encode(r#"{"sub":"alice","exp":1}"#));
        assert_eq!(verdict(&jwt(), sealed(&expired), NOW), Err(EXPIRED));
        assert_eq!(verdict(&jwt(), signed_by(&expired, b"other", Algorithm::HS256), NOW), Err(INVALID));
    }

    #[test]
    fn says_for_how_long_a_token_is_valid() {
        let keys = keys(&with(|issuer| issuer.leeway = std::time::Duration::from_millis(1500)));
        let token = token(HEADER, r#"{"sub":"alice","exp":1800000060,"nbf":1800000000}"#);
        let verified = keys.verify(token.as_bytes(), IssuerSet::ALL, NOW).unwrap().verified;
        assert_eq!((verified.valid_from_unix_s, verified.expires_unix_s), (1_799_999_999, 1_800_000_062));
    }

    #[test]
    fn every_core_can_share_the_keys() {
        fn shared<T: Send + Sync>() {}
        shared::<Keys>();
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_never_verify(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(verdict(&jwt(), bytes, NOW), Err(INVALID));
        }

        #[test]
        fn random_parts_with_a_forged_signature_never_verify(
            header in prop_oneof![Just(HEADER.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..60)],
            claims in prop::collection::vec(any::<u8>(), 0..60),
            signature in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let token = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
            prop_assert_eq!(verdict(&jwt(), token, NOW), Err(INVALID));
        }

        #[test]
        fn random_signed_claims_never_panic(exp in any::<f64>(), now: u64, rest in "[{}\\[\\]\",:0-9a-z\\\\ ]{0,40}") {
            let claims = format!(r#"{{"sub":"alice","exp":{exp:?},"x":{rest}}}"#);
            let _ = verdict(&jwt(), token(HEADER, claims), now);
            let claims = format!(r#"{{"sub":"alice","exp":{exp:?}}}"#);
            let valid = verdict(&jwt(), token(HEADER, claims), now).is_ok();
            prop_assert!(!valid || (exp > now as f64 || exp == now as f64 && now > 1 << 53));
        }
    }
}
