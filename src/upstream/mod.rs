//! Upstreams: the internal services, their members, and the connections that one core keeps to them.

mod balance;
mod exchange;
mod h1;
mod lease;
mod member;
mod metrics;
mod pool;
pub mod resolve;
mod service;
mod slot;

pub use exchange::{Arrived, Expected, ResponseError, ResponseReader, Terms};
pub use lease::{Lease, Use};
pub use member::Member;
pub use metrics::UpstreamMetrics;
pub use service::{LeaseError, Upstream};
