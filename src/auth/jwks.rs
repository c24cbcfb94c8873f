//! Reads a key set (RFC 7517 §5), key by key: an odd key is left out, and the others are used.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::public_key::{KeyFault, PublicKey};
use crate::config::{Algorithm, AlgorithmSet};
use crate::limits::{KEY_NAME_BYTES_MAX, KEY_SET_BYTES_MAX, KEY_SET_KEYS_MAX};

/// The keys of one issuer, as its key set has them; never empty.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<PublicKey>,
    /// The set as it came.
    written: Box<[u8]>,
}

impl PartialEq for KeySet {
    /// Other spaces or members that nobody looks at make no other set.
    fn eq(&self, other: &KeySet) -> bool {
        self.keys == other.keys
    }
}

impl Eq for KeySet {}

impl KeySet {
    /// The keys, in the order of the set.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The set as it came.
    pub fn written(&self) -> &[u8] {
        &self.written
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
    Ok((KeySet { keys, written: body.into() }, skipped))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::signers::Signer;
    use super::*;

    fn set(keys: &[Value]) -> Result<(KeySet, Vec<Skipped>), JwksError> {
        parse(json!({ "keys": keys, "other": 1 }).to_string().as_bytes())
    }

    fn with(signer: &Signer, member: &str, value: Value) -> Value {
        let mut jwk = signer.jwk().clone();
        jwk[member] = value;
        jwk
    }

    fn without(signer: &Signer, member: &str) -> Value {
        let mut jwk = signer.jwk().clone();
        jwk.as_object_mut().unwrap().remove(member);
        jwk
    }

    #[test]
    fn an_odd_key_is_left_out_for_its_reason_and_the_others_are_used() {
        let good = Signer::of(Algorithm::EdDsa, "good");
        let (rsa, p256) = (Signer::of(Algorithm::Rs256, "r"), Signer::of(Algorithm::Es256, "e"));
        let p384 = Signer::of(Algorithm::Es384, "f");
        let short = encode(&[0xff; 64]);
        let long = "k".repeat(KEY_NAME_BYTES_MAX + 1);
        for (odd, reason) in [
            (Value::Null, SkipReason::NotAnObject),
            (json!(7), SkipReason::NotAnObject),
            (json!([]), SkipReason::NotAnObject),
            (json!({}), SkipReason::KeyType),
            (without(&rsa, "kty"), SkipReason::KeyType),
            (with(&rsa, "kty", json!(1)), SkipReason::KeyType),
            (with(&rsa, "kty", json!("rsa")), SkipReason::KeyType),
            (json!({"kty":"oct","k":"c2VjcmV0","kid":"s"}), SkipReason::Secret),
            (with(&rsa, "d", json!("AQAB")), SkipReason::Private),
            (with(&p256, "d", json!("AQAB")), SkipReason::Private),
            (with(&rsa, "use", json!("enc")), SkipReason::Use),
            (with(&rsa, "use", json!(null)), SkipReason::Use),
            (with(&rsa, "key_ops", json!(["encrypt"])), SkipReason::Use),
            (with(&rsa, "alg", json!("RSA-OAEP")), SkipReason::Algorithm),
            (with(&rsa, "alg", json!("ES256")), SkipReason::Algorithm),
            (with(&rsa, "alg", json!("HS256")), SkipReason::Algorithm),
            (with(&rsa, "alg", json!("none")), SkipReason::Algorithm),
            (with(&p256, "alg", json!("ES384")), SkipReason::Algorithm),
            (with(&rsa, "alg", json!(256)), SkipReason::Algorithm),
            (with(&p256, "crv", json!("P-521")), SkipReason::Curve),
            (with(&p256, "crv", json!("secp256k1")), SkipReason::Curve),
            (without(&p256, "crv"), SkipReason::Curve),
            (with(&good, "crv", json!("Ed448")), SkipReason::Curve),
            (with(&good, "crv", json!("X25519")), SkipReason::Curve),
            (without(&rsa, "n"), SkipReason::Member("n")),
            (with(&rsa, "e", json!("AQAB=")), SkipReason::Member("e")),
            (with(&rsa, "e", json!(65537)), SkipReason::Member("e")),
            (with(&p256, "x", json!("+/+/")), SkipReason::Member("x")),
            (with(&rsa, "kid", json!(7)), SkipReason::Name),
            (with(&rsa, "kid", json!(long)), SkipReason::Name),
            (with(&rsa, "n", json!(short)), SkipReason::Unsound(KeyFault::RsaBits(512))),
            (with(&rsa, "e", json!("AQ")), SkipReason::Unsound(KeyFault::RsaNumbers)),
            (with(&rsa, "e", json!("AQAA")), SkipReason::Unsound(KeyFault::RsaNumbers)),
            (with(&p256, "x", p384.jwk()["x"].clone()), SkipReason::Unsound(KeyFault::Point)),
            (with(&p256, "crv", json!("P-384")), SkipReason::Unsound(KeyFault::Point)),
            (with(&p256, "x", p256.jwk()["y"].clone()), SkipReason::Unsound(KeyFault::Point)),
            (with(&good, "x", json!(encode(&[0; 32]))), SkipReason::Unsound(KeyFault::Ed25519)),
            (good.jwk().clone(), SkipReason::Repeated),
            (with(&p256, "kid", json!("good")), SkipReason::NameTaken),
        ] {
            let taken = match reason {
                // Another type with another algorithm may have the name.
                SkipReason::NameTaken => {
                    vec![Signer::of(Algorithm::Es256, "good").jwk().clone(), odd.clone()]
                }
                _ => vec![good.jwk().clone(), odd.clone()],
            };
            let (set, skipped) = set(&taken).unwrap();
            assert_eq!(set.keys().len(), 1, "{odd}");
            let [one] = &skipped[..] else { panic!("{odd}: {skipped:?}") };
            assert_eq!((one.index, &one.reason), (1, &reason), "{odd}");
            assert!(one.to_string().len() < 200 && one.to_string().starts_with("key 1"), "{one}");
        }
    }

    #[test]
    fn keys_as_real_issuers_publish_them_are_taken() {
        let rsa = Signer::of(Algorithm::Rs256, "r");
        // Without `alg` (Entra), with certificates and members that nobody knows (Auth0), without a name.
        let mut entra = rsa.jwk().clone();
        entra["x5c"] = json!(["MIIC"]);
        entra["issuer"] = json!("https://login.example/{tenantid}/v2.0");
        entra["use"] = json!("sig");
        let (found, skipped) =
            set(&[entra, with(&rsa, "key_ops", json!(["verify"])), without(&rsa, "kid")]).unwrap();
        assert_eq!(found.keys()[0].algorithms, AlgorithmSet::RSA);
        assert_eq!((found.keys().len(), skipped.len()), (2, 1), "the second is the first again");
        assert_eq!(found.keys()[1].kid, None);
        let named = with(&Signer::of(Algorithm::EdDsa, "x"), "alg", json!("Ed25519"));
        assert_eq!(set(&[named]).unwrap().0.keys()[0].algorithms, AlgorithmSet::ED25519);
        // One key, once for each of two algorithms.
        let both = [with(&rsa, "alg", json!("RS256")), with(&rsa, "alg", json!("PS256"))];
        assert_eq!(set(&both).unwrap().0.keys().len(), 2);
    }

    #[test]
    fn what_is_no_key_set_is_an_error() {
        for (body, error) in [
            ("", JwksError::NotJson),
            ("<html>", JwksError::NotJson),
            ("{\"keys\":[}", JwksError::NotJson),
            ("[]", JwksError::NoKeys),
            ("{}", JwksError::NoKeys),
            (r#"{"keys":{}}"#, JwksError::NoKeys),
            (r#"{"error":"unavailable"}"#, JwksError::NoKeys),
            (r#"{"keys":[]}"#, JwksError::NoUsableKey(Vec::new())),
        ] {
            assert_eq!(parse(body.as_bytes()), Err(error), "{body}");
        }
        let deep = format!(r#"{{"keys":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        assert_eq!(parse(deep.as_bytes()), Err(JwksError::NotJson));
        assert_eq!(parse(&vec![b' '; KEY_SET_BYTES_MAX + 1]), Err(JwksError::TooLong));
        let none = set(&[Value::Null, json!({"kty":"oct"})]).unwrap_err();
        assert_eq!(
            none.to_string(),
            "has no key that can be used; key 0: is not an object; key 1: is a secret, which is no public key"
        );
    }

    #[test]
    fn keys_over_the_bound_are_left_out_and_told_once() {
        let signer = Signer::of(Algorithm::Es256, "k");
        let keys: Vec<Value> =
            (0..KEY_SET_KEYS_MAX + 6).map(|n| with(&signer, "kid", json!(format!("k{n}")))).collect();
        let (found, skipped) = set(&keys).unwrap();
        assert_eq!(found.keys().len(), KEY_SET_KEYS_MAX);
        let [one] = &skipped[..] else { panic!("{skipped:?}") };
        assert_eq!((one.index, &one.reason), (KEY_SET_KEYS_MAX, &SkipReason::TooMany));
        // Many odd ones do not make a long list.
        let (_, skipped) = set(&[vec![signer.jwk().clone()], vec![Value::Null; 5000]].concat()).unwrap();
        assert_eq!(skipped.len(), KEY_SET_KEYS_MAX);
    }

    #[test]
    fn a_name_in_a_log_line_is_escaped_and_cut() {
        let kid = Some(format!("a\n{}", "\u{202e}".repeat(200)));
        let line = Skipped { index: 3, kid, reason: SkipReason::Secret }.to_string();
        assert!(line.starts_with(r#"key 3 ("a\n\u{202e}"#) && line.is_ascii() && line.len() < 700, "{line}");
    }

    fn encode(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }
}
