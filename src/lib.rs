//! The RealChat gateway: one entry point for all external traffic of a realtime chat platform.
//!
//! The modules in the order in which a request meets them; each uses only what stands below it.

pub mod config;
pub mod http1;
pub mod limits;
pub mod telemetry;
