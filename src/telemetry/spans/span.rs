//! One span, and the message that it becomes.

use super::otlp::{self, KeyValue};
use super::traceparent::{SpanId, TraceId};
use crate::limits::SPAN_TEXT_BYTES_MAX;

/// What a span is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A request of a client.
    Server,
    /// A request to an upstream.
    Client,
}

/// What there is to say of a span: a name of the semantic conventions, and a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute<'a> {
    /// Bytes that should be a text. What is none of it becomes U+FFFD.
    Text(&'static str, &'a [u8]),
    /// A number.
    Number(&'static str, i64),
}

/// A span that is over.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The trace.
    pub trace: TraceId,
    /// Its own id.
    pub id: SpanId,
    /// The span that it is part of.
    pub parent: Option<SpanId>,
    /// The value of `tracestate`; may be empty.
    pub trace_state: &'a [u8],
    /// What it is about.
    pub kind: SpanKind,
    /// What it is called: a method, and a route if there is one.
    pub name: (&'a str, Option<&'a str>),
    /// When it began and ended, in µs since 1970.
    pub unix_us: (u64, u64),
    /// Whether it failed.
    pub is_error: bool,
}

impl Span<'_> {
    /// The message.
    pub(super) fn message(&self, attributes: &[Attribute<'_>]) -> otlp::Span {
        let (method, route) = self.name;
        otlp::Span {
            trace_id: self.trace.bytes().to_vec(),
            span_id: self.id.bytes().to_vec(),
            trace_state: text(self.trace_state),
            parent_span_id: self.parent.map_or_else(Vec::new, |parent| parent.bytes().to_vec()),
            name: route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}")),
            kind: match self.kind {
                SpanKind::Server => 2,
                SpanKind::Client => 3,
            },
            start_time_unix_nano: self.unix_us.0.saturating_mul(1_000),
            end_time_unix_nano: self.unix_us.1.saturating_mul(1_000),
            attributes: attributes.iter().map(Attribute::message).collect(),
            status: self.is_error.then_some(otlp::Status { code: STATUS_ERROR }),
            flags: SAMPLED,
        }
    }
}

impl Attribute<'_> {
    fn message(&self) -> KeyValue {
        match self {
            Attribute::Text(key, value) => KeyValue::text(key, text(value)),
            Attribute::Number(key, value) => KeyValue::number(key, *value),
        }
    }
}

/// The text of these bytes, or the beginning of it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SPAN_TEXT_BYTES_MAX)]).into_owned()
}

const STATUS_ERROR: i32 = 2;
/// The flag of `traceparent`: what is not sampled becomes no span.
const SAMPLED: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_utf_8_and_bounded() {
        assert_eq!(text(b"/a\xffb"), "/a\u{fffd}b");
        let long = text(&vec![b'x'; 10 * SPAN_TEXT_BYTES_MAX]);
        assert_eq!(long.len(), SPAN_TEXT_BYTES_MAX);
    }
}
