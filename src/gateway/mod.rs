//! The life of a request: a connection, its exchanges, bodies, answers, records.

pub mod answer;
pub mod client_address;
pub mod connection;
pub mod core;
pub mod cors;
pub mod downstream;
pub mod exchange;
pub mod forward;
mod future_pool;
pub mod pipeline;
pub mod record;
pub mod websocket;

pub use self::core::{ActiveCore, Core, Replacement};
pub use connection::server;
