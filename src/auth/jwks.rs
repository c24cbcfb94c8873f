//! Reads a key set (RFC 7517 §5), key by key: an odd key is left out, and the others are used.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::public_key::{KeyFault, PublicKey};
use crate::config::{Algorithm, AlgorithmSet};
use crate::limits::{KEY_NAME_BYTES_MAX, KEY_SET_BYTES_MAX, KEY_SET_KEYS_MAX};

/// The keys of one issuer, as its key set has them; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

impl KeySet {
    /// The keys, in the order of the set.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The names of the keys, as a log shows them.
    pub fn names(&self) -> String {
        let name =
            |key: &PublicKey| key.kid.as_ref().map_or("(unnamed)".to_owned(), |kid| format!("{kid:?}"));
        self.keys.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// Why a set as a whole is not used. The keys of before stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksError {
    /// Over [`KEY_SET_BYTES_MAX`].
    TooLong,
    /// Not JSON.
    NotJson,
    /// Not an object with an array `keys`.
    NoKeys,
    /// No key that can be used; why each of them cannot.
    NoUsableKey(Vec<Skipped>),
}

/// A key of a set that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its place in the set, from 0.
    pub index: usize,
    /// Its name, if it has one.
    pub kid: Option<String>,
    /// Why.
    pub reason: SkipReason,
}

/// Why a key of a set is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// Not an object.
    NotAnObject,
    /// No `kty`, or none of `RSA`, `EC` and `OKP`.
    KeyType,
    /// A secret (`oct`), which a set must not publish: whoever reads it could sign.
    Secret,
    /// A private key: whoever reads the set can sign with it.
    Private,
    /// Its `use` is not `sig`, or its `key_ops` have no `verify`.
    Use,
    /// Its `alg` is not one that its type verifies.
    Algorithm,
    /// A curve that is not supported.
    Curve,
    /// This member is absent or not strict base64url.
    Member(&'static str),
    /// Its `kid` is not a string, or over [`KEY_NAME_BYTES_MAX`].
    Name,
    /// Another key of the set has this `kid` and an algorithm of this one.
    NameTaken,
    /// The set has the same key before.
    Repeated,
    /// The set has [`KEY_SET_KEYS_MAX`] keys before; nor are those behind it looked at.
    TooMany,
    /// The key itself is not sound.
    Unsound(KeyFault),
}

/// Reads a set. Every key that can be used is in it; the others are listed, at most one more than
/// [`KEY_SET_KEYS_MAX`].
///
/// # Errors
/// What is read is no key set, or has no key that can be used.
pub fn parse(body: &[u8]) -> Result<(KeySet, Vec<Skipped>), JwksError> {
    if body.len() > KEY_SET_BYTES_MAX {
        return Err(JwksError::TooLong);
    }
    let set: Value = serde_json::from_slice(body).map_err(|_| JwksError::NotJson)?;
    let written = set.get("keys").and_then(Value::as_array).ok_or(JwksError::NoKeys)?;
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (index, key) in written.iter().enumerate() {
        let judged = match index {
            0..KEY_SET_KEYS_MAX => judge(key).and_then(|key| is_new(&keys, &key).map(|()| key)),
            _ => Err(SkipReason::TooMany),
        };
        match judged {
            Ok(key) => keys.push(key),
            Err(reason) => {
                let is_last = reason == SkipReason::TooMany;
                let kid = key.get("kid").and_then(Value::as_str).map(str::to_owned);
                skipped.push(Skipped { index, kid, reason });
                if is_last {
                    break;
                }
            }
        }
    }
    if keys.is_empty() {
        return Err(JwksError::NoUsableKey(skipped));
    }
    Ok((KeySet { keys }, skipped))
}

/// Two keys of one name would make it a matter of luck which one counts.
fn is_new(keys: &[PublicKey], key: &PublicKey) -> Result<(), SkipReason> {
    for other in keys.iter().filter(|other| other.kid == key.kid) {
        if other.is_same_key(key) && other.algorithms == key.algorithms {
            return Err(SkipReason::Repeated);
        }
        if key.kid.is_some() && !other.algorithms.and(key.algorithms).is_empty() {
            return Err(SkipReason::NameTaken);
        }
    }
    Ok(())
}

fn judge(key: &Value) -> Result<PublicKey, SkipReason> {
    let key = key.as_object().ok_or(SkipReason::NotAnObject)?;
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let kind = text("kty").ok_or(SkipReason::KeyType)?;
    if kind == "oct" {
        return Err(SkipReason::Secret);
    }
    if ["d", "p", "q"].iter().any(|name| key.contains_key(*name)) {
        return Err(SkipReason::Private);
    }
    if !is_for_signatures(key) {
        return Err(SkipReason::Use);
    }
    let mut public = match (kind, text("crv")) {
        ("RSA", _) => PublicKey::rsa(&number(key, "n")?, &number(key, "e")?),
        ("EC", Some("P-256")) => PublicKey::p256(&number(key, "x")?, &number(key, "y")?),
        ("EC", Some("P-384")) => PublicKey::p384(&number(key, "x")?, &number(key, "y")?),
        ("OKP", Some("Ed25519")) => PublicKey::ed25519(&number(key, "x")?),
        ("EC" | "OKP", _) => return Err(SkipReason::Curve),
        _ => return Err(SkipReason::KeyType),
    }
    .map_err(SkipReason::Unsound)?;
    public.algorithms = algorithms(key, public.algorithms)?;
    public.kid = name(key)?;
    Ok(public)
}

/// `use` and `key_ops` are optional; what they say counts (RFC 7517 §4.2, §4.3).
fn is_for_signatures(key: &Map<String, Value>) -> bool {
    let verifies = |ops: &Value| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"));
    key.get("use").is_none_or(|usage| usage == "sig") && key.get("key_ops").is_none_or(verifies)
}

/// `alg` cuts a key to one algorithm. Without it, the key has all of its type.
fn algorithms(key: &Map<String, Value>, of_type: AlgorithmSet) -> Result<AlgorithmSet, SkipReason> {
    let Some(written) = key.get("alg") else { return Ok(of_type) };
    let algorithm =
        written.as_str().and_then(Algorithm::named).filter(|algorithm| of_type.contains(*algorithm));
    Ok(AlgorithmSet::of(&[algorithm.ok_or(SkipReason::Algorithm)?]))
}

fn name(key: &Map<String, Value>) -> Result<Option<Box<str>>, SkipReason> {
    let Some(written) = key.get("kid") else { return Ok(None) };
    let name = written.as_str().filter(|name| name.len() <= KEY_NAME_BYTES_MAX).ok_or(SkipReason::Name)?;
    Ok(Some(name.into()))
}

fn number(key: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, SkipReason> {
    let text = key.get(name).and_then(Value::as_str).ok_or(SkipReason::Member(name))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| SkipReason::Member(name))
}

impl fmt::Display for Skipped {
    /// `key 2 ("a"): is a secret`. The name is the issuer's text: escaped, and cut.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.index)?;
        if let Some(kid) = &self.kid {
            let shown: String = kid.chars().take(NAME_SHOWN_CHARS).collect();
            write!(f, " ({shown:?})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::NotAnObject => f.write_str("is not an object"),
            SkipReason::KeyType => f.write_str("has no kty of RSA, EC or OKP"),
            SkipReason::Secret => f.write_str("is a secret, which is no public key"),
            SkipReason::Private => f.write_str("is a private key, which is known to everybody now"),
            SkipReason::Use => f.write_str("is not for verifying signatures"),
            SkipReason::Algorithm => f.write_str("has an alg that its type does not verify"),
            SkipReason::Curve => f.write_str("is on a curve other than P-256, P-384 and Ed25519"),
            SkipReason::Member(name) => write!(f, "has no {name} in base64url"),
            SkipReason::Name => write!(f, "has a kid that is no string of up to {KEY_NAME_BYTES_MAX} bytes"),
            SkipReason::NameTaken => f.write_str("has the kid of another key"),
            SkipReason::Repeated => f.write_str("occurs twice"),
            SkipReason::TooMany => write!(f, "is over {KEY_SET_KEYS_MAX} keys"),
            SkipReason::Unsound(fault) => write!(f, "{fault}"),
        }
    }
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JwksError::TooLong => write!(f, "is over {KEY_SET_BYTES_MAX} bytes"),
            JwksError::NotJson => f.write_str("is not JSON"),
            JwksError::NoKeys => f.write_str("is not a key set: an object with an array \"keys\""),
            JwksError::NoUsableKey(skipped) => {
                f.write_str("has no key that can be used")?;
                skipped.iter().take(SKIPPED_SHOWN).try_for_each(|skipped| write!(f, "; {skipped}"))
            }
        }
    }
}

impl std::error::Error for JwksError {}

/// Characters of a key's name in a log line.
const NAME_SHOWN_CHARS: usize = 64;
/// Keys of which one line says why they are left out.
const SKIPPED_SHOWN: usize = 4;
