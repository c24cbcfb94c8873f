//! The gateway's own answers: which failures there are, the bytes that a client gets for each, and what the gateway
//! answers without an upstream.

pub mod failure;
pub mod local;
mod logout;
mod reason;
pub mod reply;
pub mod routed;
