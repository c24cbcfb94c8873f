//! The life of a request: a connection, its exchanges, and the steps of each from head to record.

pub mod admission;
pub mod answer;
pub mod connection;
pub mod core;
pub mod cors;
pub mod exchange;
pub mod forward;
pub mod pipeline;
pub mod plan;
pub mod record;
pub mod websocket;
