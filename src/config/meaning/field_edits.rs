//! What a route changes in the fields of its requests and responses.

use std::fmt;

/// What a route changes in the fields of one kind of messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Written in the place of every field of that name.
    pub set: Vec<FixedField>,
    /// Written beside the fields of that name.
    pub add: Vec<FixedField>,
    /// Names of what is left out.
    pub remove: Vec<String>,
}

/// A field that is always the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedField {
    /// Its name as written: letters, digits and `-`.
    pub name: String,
    /// Its value: visible ASCII, with spaces in between.
    pub value: String,
}

impl FieldEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// The names of the fields that do not pass as they are.
    pub fn dropped(&self) -> impl Iterator<Item = &str> {
        self.set.iter().map(|field| &*field.name).chain(self.remove.iter().map(|name| &**name))
    }

    /// The fields that are written.
    pub fn written(&self) -> impl Iterator<Item = &FixedField> {
        self.set.iter().chain(&self.add)
    }
}

impl fmt::Display for FieldEdits {
    /// `set X-Frame-Options: DENY, add Vary: X-Beta, remove Server`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field =
            |word: &'static str| move |field: &FixedField| format!("{word} {}: {}", field.name, field.value);
        let removed = self.remove.iter().map(|name| format!("remove {name}"));
        let all = self.set.iter().map(field("set")).chain(self.add.iter().map(field("add"))).chain(removed);
        f.write_str(&all.collect::<Vec<_>>().join(", "))
    }
}
