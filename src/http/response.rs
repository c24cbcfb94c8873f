//! A response's head, whatever version of HTTP it came in.

use super::{BodyLength, Field, FieldKind, Span};

/// A response's head as ranges of the bytes that it came in. It is made to be filled again and again: a codec reuses
/// its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status, 100–599.
    pub status: u16,
    /// The reason phrase; often empty, never needed.
    pub reason: Span,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// The length of the body that follows.
    pub body: BodyLength,
    /// The length that the head announces, also where no body follows (HEAD, 304): "A server MAY send a Content-Length
    /// header field in a response to a HEAD request" (RFC 9110 §8.6).
    pub announced: Option<u64>,
    /// The upstream offers to switch to WebSocket: with a 101 the tunnel may begin.
    pub is_websocket: bool,
}

impl Response {
    /// Whether it is a stream of events, which goes on for as long as client and service want. `bytes`: its head.
    pub fn is_event_stream(&self, bytes: &[u8]) -> bool {
        if matches!(self.body, BodyLength::None | BodyLength::Exact(_)) {
            return false;
        }
        let types = self.fields.iter().filter(|field| field.kind == FieldKind::ContentType);
        let is_it = |field: &Field| {
            let essence = field.value.of(bytes).split(|byte| *byte == b';').next().unwrap_or_default();
            essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
        };
        types.into_iter().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use crate::http1::{HeadLimits, ResponseHead};

    #[test]
    fn a_stream_of_events_is_told_by_its_type() {
        for (fields, is_it) in [
            ("content-type: text/event-stream", true),
            ("Content-Type: Text/Event-Stream ; charset=utf-8", true),
            ("content-type: text/event-streams", false),
            ("content-type: text/plain", false),
            ("content-type: text/event-stream\r\ncontent-length: 5", false),
            ("x: text/event-stream", false),
        ] {
            let head = format!("HTTP/1.1 200 x\r\n{fields}\r\n\r\n").into_bytes();
            let mut response = Response::default();
            ResponseHead::parse(&head, &HeadLimits::DEFAULT, Method::Get, &mut response).expect("a head");
            assert_eq!(response.is_event_stream(&head), is_it, "{fields}");
        }
    }
}
