//! What a route asks of the fields of a request.

use std::fmt;

/// A field that a request must have for a route to take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldCondition {
    /// Its name in lower case: letters, digits and `-`.
    pub name: String,
    /// Its value, byte for byte. `None`: whatever it is.
    pub value: Option<String>,
}

impl FieldCondition {
    /// Whether no request meets both.
    pub fn excludes(&self, other: &FieldCondition) -> bool {
        let values = self.value.as_ref().zip(other.value.as_ref());
        self.name == other.name && values.is_some_and(|(one, another)| one != another)
    }
}

impl fmt::Display for FieldCondition {
    /// `x-api-version: 2`, or the name alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: {value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
