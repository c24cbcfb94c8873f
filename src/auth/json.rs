//! Parses JSON that has only one meaning: a single object, no name twice at any depth, nothing but white space before
//! or after it, which is part of JSON (RFC 8259 §2).
//!
//! A parser that takes the first of two equal names and one that takes the last would read two different
//! tokens. Names are compared as decoded, so `"\u0065xp"` repeats `"exp"`.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads one object. `None`: the bytes are not exactly one object.
///
/// Depth is bounded by serde_json's 128 levels, size by the bound of a token.
pub(super) fn object(bytes: &[u8]) -> Option<Object<'_>> {
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(object)) => Some(object),
        _ => None,
    }
}

/// An object, its members in the order of their names.
#[derive(Debug)]
pub(super) struct Object<'a>(Vec<(Name<'a>, Json<'a>)>);

impl<'a> Object<'a> {
    /// The value below these names, from the outermost.
    pub(super) fn at(&self, names: &[String]) -> Option<&Json<'a>> {
        let (last, outer) = names.split_last()?;
        let mut object = self;
        for name in outer {
            let Json::Object(inner) = object.get(name)? else { return None };
            object = inner;
        }
        object.get(last)
    }

    /// The value of a member.
    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        let at = self.0.binary_search_by(|(other, _)| other.0.as_ref().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }
}

/// A value.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Object(Object<'a>),
    Array(Vec<Json<'a>>),
    /// A string, decoded.
    String(Cow<'a, str>),
    /// A number without sign, fraction and exponent, up to 2^64-1.
    Whole(u64),
    /// Any other number. serde_json refuses what a double cannot hold (`1e400`).
    Real(f64),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl Json<'_> {
    /// The text, if it is a string.
    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members: Vec<(Name<'de>, Json<'de>)> = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        // Sorting keeps this n log n: a header is parsed before its signature is checked, so an attacker may write it.
        members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(A::Error::custom("a name occurs twice in one object"));
        }
        Ok(Json::Object(Object(members)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Real(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Json::Real(number))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }
}
