//! The embedded backends and the page of `realchat-gateway demo`: real upstreams for the gateway on a machine with
//! nothing installed.
//!
//! There are five small services on loopback and a page to chat on, in a process of their own ([`household`]), where
//! one thread serves all of them; their state is in memory and bounded ([`bounds`]). They show what the gateway does
//! and are not RealChat: passwords are plain text, and nothing outlives the demo.

pub mod backends;
pub mod bounds;
mod certificate;
mod entrance;
pub mod household;
mod prepare;
mod printed;

pub use entrance::Entrance;
pub use household::Household;
pub use page::Page;
pub use prepare::{Site, prepare};

mod page;
mod random;
mod backend;
mod services;
mod wire;

mod answer;
mod identity;
mod request;

mod auth;
mod mint;
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
