//! A value of `headers` of a route, as it is written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// What a field must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenCondition {
    /// There, with any value: `true`.
    Present,
    /// There with this value.
    Value(String),
}

impl<'de> Deserialize<'de> for WrittenCondition {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<WrittenCondition, D::Error> {
        from.deserialize_any(TrueOrText)
    }
}

struct TrueOrText;

impl Visitor<'_> for TrueOrText {
    type Value = WrittenCondition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true (the field is there), or its value as a string or a number")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<WrittenCondition, E> {
        match value {
            true => Ok(WrittenCondition::Present),
            false => Err(E::invalid_value(Unexpected::Bool(false), &self)),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<WrittenCondition, E> {
        Ok(WrittenCondition::Value(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<WrittenCondition, E> {
        Ok(WrittenCondition::Value(value.to_owned()))
    }
}
