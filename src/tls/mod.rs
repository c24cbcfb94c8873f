//! TLS towards clients, without its I/O: certificates and what a core needs to answer a handshake with them.
//!
//! [`Termination`] is made on the control thread, from files, and goes to every core as a part of its configuration.

mod certificate;
pub mod challenges;
pub mod client;
mod facts;
mod material;
mod names;
mod suites;
mod termination;
#[cfg(test)]
mod tests;
mod tickets;

pub use certificate::Certificate;
pub use challenges::Challenges;
pub use facts::Facts;
pub use termination::Termination;
pub use tickets::TicketSecrets;
