//! Authentication: turns the credential of a request into a verified user. CPU only, no I/O.
//!
//! A request passes these files in this order: [`credentials`] finds the token, `bearer` takes it out of the field,
//! `authenticator` looks it up among the tokens that are verified already (`cache`), `token` checks its shape, [`keys`]
//! finds the key that signed it, `claims` checks what it says, `kept` takes out what routes want to know of that, and
//! `identity` decides whether the user may use the route. Only this module makes an [`Identity`], so code that asks for
//! one runs after all of these checks.
//!
//! Keys come from secrets, from PEM files ([`pem`]) and from key sets ([`jwks`]); [`key_sets`] holds the sets that are
//! known, and [`keys`] makes of all of them what the cores use.

mod authenticator;
mod bearer;
mod cache;
mod claims;
pub mod credentials;
pub mod cross_site;
mod error;
mod holder;
mod identity;
mod inherited_sets;
mod json;
pub mod jwks;
mod kept;
mod key;
mod key_counters;
pub mod key_sets;
pub mod keys;
mod logout;
mod metrics;
pub mod mint;
pub mod pem;
pub mod public_key;
pub mod report;
mod revocations;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token;
pub mod token_fields;
mod unknown;
mod user;

pub use authenticator::Authenticator;
pub use bearer::bearer;
pub use error::{CredentialError, TokenFault, UnknownKey};
pub use holder::{Holder, Mark, Subject};
pub use identity::{Identity, Refusal, authorize};
pub use inherited_sets::InheritedSets;
pub use kept::KeptClaims;
pub use key::KeyId;
pub use key_counters::{KeyCounters, KeyLabel, KeyMetrics};
pub use key_sets::mistakes;
pub use key_sets::{KeySetState, KeySets};
pub use keys::{Accepted, Keys};
pub use logout::{LoggedOut, Logout};
pub use metrics::AuthMetrics;
pub use mint::{MintError, mint};
pub use revocations::{Full, Revocation, Revocations, TokenLifetime};
pub use unknown::{KeyRequests, Standing, Waiter};
pub use user::{User, Verified};
