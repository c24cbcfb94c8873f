//! The embedded backends and the page of `realchat-gateway demo`: something real behind the gateway on a machine
//! with nothing installed.
//!
//! Five small services on loopback, one thread for all of them, state in memory and bounded ([`bounds`]). They
//! show the gateway; they are no RealChat: passwords are kept as written, and nothing outlives the process.

pub mod backends;
pub mod bounds;
pub mod page;
mod prepare;

pub use prepare::prepare;

mod services;
mod wire;

mod answer;
mod request;

mod auth;
mod conversation;
mod message;
mod profile;

#[cfg(test)]
mod tests;
