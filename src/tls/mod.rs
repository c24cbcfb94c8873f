//! TLS without its I/O: certificates, whom to trust, and what a core needs for a handshake, as server or as client.
//!
//! [`Termination`] (towards clients) and [`Origination`] (towards an upstream) are made on the control thread, from
//! files, and go to every core as a part of its configuration.

mod certificate;
pub mod challenges;
pub mod client;
mod facts;
mod material;
mod names;
mod origination;
mod suites;
mod termination;
#[cfg(test)]
mod tests;
mod tickets;
mod trust;

pub use certificate::Certificate;
pub use challenges::Challenges;
pub use facts::Facts;
pub use origination::{Origination, Originations, REDIS};
pub use termination::Termination;
pub use tickets::TicketSecrets;
