//! TLS towards clients, without its I/O: certificates and what a core needs to answer a handshake with them.
//!
//! [`Termination`] is made on the control thread, from files, and goes to every core as a part of its configuration.

mod certificate;
mod suites;
mod termination;

pub use certificate::Certificate;
pub use termination::Termination;
