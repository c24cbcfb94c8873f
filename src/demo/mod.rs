//! The embedded backends and the page of `realchat-gateway demo`: something real behind the gateway on a machine
//! with nothing installed.
//!
//! Five small services on loopback and a page to chat on, one thread for all of them, state in memory and bounded
//! ([`bounds`]). They show the gateway; they are no RealChat: passwords are kept as written, and nothing outlives
//! the process.

pub mod backends;
pub mod bounds;
mod prepare;
mod printed;

pub use page::Page;
pub use prepare::{Site, prepare};

mod page;
mod random;
mod services;
mod wire;

mod answer;
mod request;

mod auth;
mod conversation;
mod message;
mod profile;

mod delivery;
mod frames;
mod outbox;
mod room;
mod socket;

#[cfg(test)]
mod tests;
