//! `request_headers` and `response_headers` of a route, as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What changes in the fields of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenEdits {
    /// What is written in the place of what is there.
    pub set: Option<BTreeMap<String, String>>,
    /// What is written beside what is there.
    pub add: Option<BTreeMap<String, String>>,
    /// What is left out.
    pub remove: Option<Vec<String>>,
}
