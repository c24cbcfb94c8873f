//! The slots of a Redis cluster: which keys are in which slot, which master has which slots, and what a node says of
//! others.

mod seat;
mod slot;
mod topology;

pub use seat::{Elsewhere, Peers, Seat};
pub use slot::{SLOTS, slot};
pub use topology::{Master, Topology, probe_key};
