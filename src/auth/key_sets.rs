//! The key sets of all issuers, as far as they are known.

use std::path::Path;
use std::sync::Arc;

use super::jwks::{self, KeySet, Skipped};
use super::pem;
use crate::config::{self, Issuer, Jwt, KeySetSource};

/// What is known of the key set of each issuer, in the order of [`Jwt::issuers`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySets {
    states: Vec<KeySetState>,
}

/// What is known of the key set of one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetState {
    /// The issuer has no key set: its keys are in the configuration.
    None,
    /// The set has not been read yet. The issuer's tokens can be neither accepted nor refused.
    Unavailable,
    /// The set that is in force.
    Available(Arc<KeySet>),
}

impl KeySets {
    /// No set is known yet.
    pub fn unavailable(jwt: &Jwt) -> KeySets {
        let state = |issuer: &Issuer| match issuer.key_set {
            None => KeySetState::None,
            Some(_) => KeySetState::Unavailable,
        };
        KeySets { states: jwt.issuers.iter().map(state).collect() }
    }

    /// Those that are in files. Blocks: the files are read.
    ///
    /// # Errors
    /// A line for each file that is not used.
    pub fn of_files(jwt: &Jwt) -> Result<(KeySets, Vec<String>), Vec<String>> {
        let (mut sets, mut warnings, mut mistakes) = (KeySets::unavailable(jwt), Vec::new(), Vec::new());
        for (index, issuer) in jwt.issuers.iter().enumerate() {
            let Some(KeySetSource::File(path)) = &issuer.key_set else { continue };
            let subject = format!("issuer {}", issuer.name);
            match read(path) {
                Ok((set, skipped)) => {
                    warnings
                        .extend(skipped.iter().map(|key| format!("{subject}: {}: {key}", path.display())));
                    sets.set(index, KeySetState::Available(Arc::new(set)));
                }
                Err(why) => mistakes.push(format!("{subject}: {why}")),
            }
        }
        if mistakes.is_empty() { Ok((sets, warnings)) } else { Err(mistakes) }
    }

    /// Takes over what was known before of the sets that have to be fetched, where the issuer is the same.
    pub fn keep(&mut self, jwt: &Jwt, known: &KeySets, of: &Jwt) {
        for (index, issuer) in jwt.issuers.iter().enumerate() {
            let before = of.issuers.iter().position(|before| before == issuer);
            if let (KeySetState::Unavailable, Some(before)) = (self.get(index), before) {
                self.set(index, known.get(before).clone());
            }
        }
    }

    /// What is known of the set of the issuer at an index.
    pub fn get(&self, index: usize) -> &KeySetState {
        self.states.get(index).unwrap_or(&KeySetState::None)
    }

    /// Replaces what is known of the set of the issuer at an index. One that is not there is left alone.
    pub fn set(&mut self, index: usize, state: KeySetState) {
        if let Some(known) = self.states.get_mut(index) {
            *known = state;
        }
    }
}

/// What is wrong with the files of keys: a line for each. Blocks: they are read.
pub fn mistakes(jwt: &Jwt) -> Vec<String> {
    let of_sets = KeySets::of_files(jwt).err().unwrap_or_default();
    let pems = jwt.issuers.iter().filter_map(|issuer| Some((issuer, issuer.pem.as_ref()?)));
    let of_pems = pems.filter_map(|(issuer, file)| {
        let why = pem::parse(&file.pem).err()?;
        Some(format!("issuer {}: {} {why}", issuer.name, file.path.display()))
    });
    of_pems.chain(of_sets).collect()
}

/// Reads the key set of a file. Blocks.
///
/// # Errors
/// Why it is not used: a sentence with the file's path.
pub fn read(path: &Path) -> Result<(KeySet, Vec<Skipped>), String> {
    let body = config::read_secret_file(path)?;
    jwks::parse(&body).map_err(|error| format!("{} {error}", path.display()))
}
