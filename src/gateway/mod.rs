//! The life of a request.

pub mod client;
pub mod cors;
