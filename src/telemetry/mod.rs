//! Telemetry: metrics, the access log with one line per exchange, and the program's own log.

pub mod access_log;
pub mod access_record;
mod batch;
mod debug_lines;
pub mod heavy;
pub mod log;
mod log_file;
mod log_filter;
pub mod metrics;
pub mod spans;
mod tunnel_end;

pub use access_log::{AccessLog, AccessLogMetrics, AccessLogWriter};
pub use access_record::{AccessRecord, TunnelRecord};
pub use debug_lines::DebugLines;
pub use tunnel_end::TunnelEnd;

/// The upper ends of the buckets in which requests are counted by how long they took, in µs.
pub const DURATIONS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];
/// The classes of HTTP status codes (RFC 9110 §15), from 1xx to 5xx.
pub const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
