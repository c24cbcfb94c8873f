//! What a core tells about itself: counters, and one access-log line per exchange.

pub mod access_log;
pub mod access_record;
mod access_sink;
pub mod counters;
pub mod log;
pub mod prometheus;
mod tunnel_end;

pub use access_log::{AccessLog, AccessLogWriter};
pub use access_record::{AccessRecord, TunnelRecord};
pub use counters::{Counter, Counters};
pub use tunnel_end::TunnelEnd;
