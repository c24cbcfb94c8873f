//! The Redis client of one core: calls of a few scripts, pipelined over one connection. A circuit breaker
//! keeps requests from waiting for a Redis that does not answer.
//!
//! ```text
//! callers ─ call ─→ out: bytes ───one write per turn───→ Redis
//!    ↑               queue: calls, in order                │
//!    └── woken ←── replies, matched in order ←──one read───┘
//! ```
//!
//! A call appends its command and wakes the connection's task. That task runs after the tasks that are ready already,
//! so the commands of all of them leave in one write. A call needs no timer of its own: the connection has one precise
//! sleep, until the earliest deadline.

mod backoff;
mod bell;
pub mod breaker;
mod call;
mod client;
mod cluster;
mod connection;
mod error_reply;
mod handshake;
mod metrics;
mod node;
mod pipeline;
mod queue;
pub mod reply;
pub mod script;
mod server;
mod settings;
pub mod slots;
mod window;
#[cfg(test)]
mod tests;

pub use bell::Bell;
pub use breaker::BreakerState;
pub use call::Unavailable;
pub use client::Redis;
pub use metrics::{NodeMetrics, OutageMetrics, RedisMetrics};
pub use node::{Home, HomeTls, Node};
pub use script::{Arg, CallWriter};
pub use settings::{Arrangement, Settings};
