//! Telemetry: metrics, the access log with one line per exchange, and the program's own log.

pub mod access_log;
pub mod access_record;
mod batch;
mod debug_lines;
pub mod log;
mod log_file;
mod log_filter;
pub mod metrics;
mod tunnel_end;

pub use access_log::{AccessLog, AccessLogMetrics, AccessLogWriter};
pub use access_record::{AccessRecord, TunnelRecord};
pub use debug_lines::DebugLines;
pub use tunnel_end::TunnelEnd;

/// The classes of HTTP status codes (RFC 9110 §15), from 1xx to 5xx.
pub const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
