//! What the keeper needs of the rest of the control thread: the configuration in force, and a way to put keys in force.

use std::sync::Arc;

use super::states::KeyStates;
use crate::auth::{KeySetState, KeySets};
use crate::config::{Config, Issuer};

/// The keys in force, and the way to others.
pub trait KeyRegistry: Send + Sync {
    /// The configuration in force.
    fn config(&self) -> Arc<Config>;

    /// The key sets in force.
    fn key_sets(&self) -> KeySets;

    /// Puts what is known of the key set of an issuer in force on every core. False: the configuration does not have
    /// the issuer any more, or nothing changes. Blocks until the cores have it, or up to a bound.
    fn renew_keys(&self, issuer: &Issuer, state: KeySetState) -> bool;

    /// What an operator sees of the issuers.
    fn key_states(&self) -> &KeyStates;
}
