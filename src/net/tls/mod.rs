//! TLS: a session over a socket, in the core's borrowed buffers, and the pace of handshakes.

mod agreed;
mod client;
mod fault;
mod gate;
mod hello;
mod machine;
mod record;
mod session;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use agreed::Agreed;
pub use client::secure;
pub use fault::{CertificateFault, Fault};
pub use gate::{Gate, InFlight, Step};
pub use stream::{Detached, Handshake, TlsStream};
