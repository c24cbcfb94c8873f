//! An item of `urls`, or of a `members_file`, as it is written.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor, value::MapAccessDeserializer};

use super::file_value::scalar;

/// An item of `urls`: a URL, or a table with its weight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrittenUrl {
    /// `http://host:port`, `https://host:port` or `http+unix://%2Fpath`.
    pub url: String,
    /// Its part of the requests.
    pub weight: Option<String>,
}

impl<'de> Deserialize<'de> for WrittenUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<WrittenUrl, D::Error> {
        struct UrlOrTable;
        impl<'de> Visitor<'de> for UrlOrTable {
            type Value = WrittenUrl;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a URL, or a table with url and weight")
            }

            fn visit_str<E: serde::de::Error>(self, url: &str) -> Result<WrittenUrl, E> {
                Ok(WrittenUrl { url: url.to_owned(), weight: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WrittenUrl, A::Error> {
                let Table { url, weight } = Table::deserialize(MapAccessDeserializer::new(map))?;
                let url = url.ok_or_else(|| A::Error::custom("an item has no key `url`"))?;
                Ok(WrittenUrl { url, weight })
            }
        }
        from.deserialize_any(UrlOrTable)
    }
}

/// An item that is not a URL alone.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    url: Option<String>,
    #[serde(deserialize_with = "scalar")]
    weight: Option<String>,
}
