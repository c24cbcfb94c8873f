//! HTTP/2 connections of clients: one task reads and writes, and each request is a task of its own.

mod connection;
mod protocol;
mod ready;
mod request;
mod stream;

pub use connection::H2Connection;
pub use protocol::Bench;
pub use request::{H2Request, Way};
pub use stream::{H2Checkpoint, H2Responder, H2Stream};
