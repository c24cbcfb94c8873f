//! Values of a TOML file as text: what a number, a boolean or an array would be as a flag.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Unexpected, Visitor};

/// Reads a string, number or boolean as text.
pub(super) fn scalar<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_any(Text::Scalar).map(Some)
}

/// Reads a scalar, or an array of scalars, as text.
pub(super) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_any(Text::List).map(Some)
}

/// Reads a value as text.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D, form: Text) -> Result<String, D::Error> {
    from.deserialize_any(form)
}

/// The values that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// A string, number or boolean.
    Scalar,
    /// A scalar, or an array of scalars, which is joined with commas.
    List,
}

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "a string, number or boolean",
            Self::List => "a string, a number or an array of them",
        })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<String, A::Error> {
        if self == Self::Scalar {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let mut texts = Vec::new();
        while let Some(Item(text)) = items.next_element()? {
            texts.push(text);
        }
        Ok(texts.join(","))
    }
}

/// A string, number or boolean, or an array of them, as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(pub Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrMore)
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, number, boolean or an array of them")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Texts, E> {
        Ok(Texts(vec![value.to_owned()]))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Texts, E> {
        Ok(Texts(vec![value.to_string()]))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Texts, E> {
        Ok(Texts(vec![value.to_string()]))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Texts, E> {
        Ok(Texts(vec![value.to_string()]))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Texts, E> {
        Ok(Texts(vec![value.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(Item(text)) = items.next_element()? {
            texts.push(text);
        }
        Ok(Texts(texts))
    }
}

/// One element of an array.
struct Item(String);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text::Scalar).map(Item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str, form: Text) -> Result<String, String> {
        let value = toml::de::ValueDeserializer::parse(value).expect("TOML");
        text(value, form).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn takes_scalars_as_text() {
        for (value, expected) in [("8081", "8081"), ("2.5", "2.5"), ("true", "true"), ("'5s'", "5s")] {
            assert_eq!(read(value, Text::Scalar).as_deref(), Ok(expected));
            assert_eq!(read(value, Text::List).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn joins_lists_with_commas() {
        assert_eq!(read("[0, 'a']", Text::List).as_deref(), Ok("0,a"));
        assert!(read("[0]", Text::Scalar).is_err() && read("[[0]]", Text::List).is_err());
        let told = read("{a = 1}", Text::List).unwrap_err();
        assert_eq!(told, "invalid type: map, expected a string, a number or an array of them");
    }
}
