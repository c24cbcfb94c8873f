//! Spans of traces: what a core keeps of a sampled exchange, the way to who sends them on, and the messages of OTLP
//! (<https://opentelemetry.io/docs/specs/otlp/>).

mod queue;
mod span;
mod traceparent;

pub mod otlp;

pub use queue::{SpanLog, SpanMetrics, SpanQueue};
pub use span::{Attribute, Span, SpanKind};
pub use traceparent::{SpanId, TraceId, TraceParent};
