//! What an operator sees of the issuers: the keeper writes it, the admin listener reads it.

use std::sync::{Mutex, PoisonError};

use crate::admin::IssuerRow;
use crate::auth::jwks::KeySet;
use crate::clock;
use crate::config::{Issuer, KeySetSource};

/// What is known of each issuer with a key set.
#[derive(Debug, Default)]
pub struct KeyStates(Mutex<Vec<KeyState>>);

/// What is known of one.
#[derive(Debug, Clone)]
pub(super) struct KeyState {
    pub(super) row: IssuerRow,
    /// When the key set was had last, by the coarse clock.
    pub(super) had_ms: Option<u64>,
}

impl KeyState {
    /// Nothing but where its key set comes from.
    pub(super) fn new(issuer: &Issuer) -> KeyState {
        let source = match &issuer.key_set {
            Some(KeySetSource::File(path)) => path.display().to_string(),
            Some(KeySetSource::Url(url) | KeySetSource::Discovery(url)) => url.as_str().to_owned(),
            None => String::new(),
        };
        let row = IssuerRow {
            name: issuer.name.clone(),
            source,
            keys: String::new(),
            key_count: 0,
            age_s: None,
            successes: 0,
            failures: 0,
            error: None,
        };
        KeyState { row, had_ms: None }
    }

    /// Whether the key set was had the last time.
    pub(super) fn is_fresh(&self) -> bool {
        self.had_ms.is_some() && self.row.error.is_none()
    }

    /// The key set was known from the beginning.
    pub(super) fn inherit(&mut self, set: &KeySet, now_ms: u64) {
        self.had_ms = Some(now_ms);
        self.row.keys = set.names();
        self.row.key_count = set.keys().len() as u64;
    }

    /// The key set was had.
    pub(super) fn had(&mut self, set: &KeySet, now_ms: u64) {
        self.inherit(set, now_ms);
        self.row.successes += 1;
        self.row.error = None;
    }

    /// It was not.
    pub(super) fn failed(&mut self, why: &str) {
        self.row.failures += 1;
        self.row.error = Some(why.to_owned());
    }

    /// It is not used any more.
    pub(super) fn dropped(&mut self) {
        self.row.keys.clear();
        self.row.key_count = 0;
    }
}

impl KeyStates {
    /// What is known now.
    pub fn rows(&self) -> Vec<IssuerRow> {
        let now_ms = clock::now_ms();
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |state: &KeyState| IssuerRow {
            age_s: state.had_ms.map(|had_ms| now_ms.saturating_sub(had_ms) / 1_000),
            ..state.row.clone()
        };
        states.iter().map(row).collect()
    }

    /// Replaces what is known.
    pub(super) fn set(&self, states: Vec<KeyState>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = states;
    }
}
