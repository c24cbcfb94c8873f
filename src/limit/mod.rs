//! Rate limiting: charges every bucket that applies to a request, before the request reaches an upstream.
//!
//! A request ([`LimitedRequest`]) is charged to several token buckets ([`Charges`]), to all of them or to none. The
//! buckets are in this process ([`MemoryLimiter`]) or in Redis ([`SharedLimiter`]); `arithmetic` and `bucket.lua`
//! compute the same [`Decision`]. An admitted request gets a [`Permit`], which only this module makes.

mod apart;
pub mod arithmetic;
pub mod bucket;
pub mod charge;
mod known_empty;
mod limiter;
pub mod memory;
mod metrics;
mod parts;
mod permit;
mod shard;
pub mod shared;
mod store;
#[cfg(test)]
mod testing;

pub use arithmetic::{Decision, Limit};
pub use bucket::{Bucket, Client, KeyBuf};
pub use charge::{Charge, Charges, LimitId, LimitedRequest};
pub use limiter::Limiter;
pub use memory::MemoryLimiter;
pub use metrics::{LimitDecisions, LimitMetrics, LimitOutcome};
pub use permit::{Denied, Limited, Permit, Quota};
pub use shared::SharedLimiter;
pub use store::Store;

/// The Lua script that Redis runs: `arithmetic` in another language.
pub const SCRIPT: &str = include_str!("bucket.lua");
