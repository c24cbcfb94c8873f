//! Sends spans to a collector: OTLP over HTTP, in protobuf (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! ```text
//! core 0: spans ─┐ bounded queue
//! core 1: spans ─┴──────────────▶ thread `traces` ── one POST at a time ──▶ collector
//! ```
//!
//! The thread alone waits for the collector. While it does, the queue fills, and then the cores drop spans and count
//! them.

mod answer;
mod exporter;
mod post;

pub use exporter::{TraceExporter, TraceFigures};
