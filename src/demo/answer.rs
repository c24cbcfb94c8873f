//! What the backends answer, and how it becomes bytes.

use std::io;

use bytes::BytesMut;
use http::StatusCode;
use monoio_codec::Encoder;
use serde::Serialize;
use serde_json::json;

/// An answer with a JSON body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    content_type: &'static str,
    field: Option<(&'static str, &'static str)>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
        // Strings, numbers and maps with string keys: there is nothing in them that could fail.
        let body = serde_json::to_vec(value).unwrap_or_default();
        Answer { status, content_type: "application/json", field: None, body }
    }

    /// RFC 9457.
    pub(super) fn problem(status: StatusCode, detail: &str) -> Answer {
        let title = status.canonical_reason().unwrap_or_default();
        let body =
            json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
        Answer { content_type: "application/problem+json", ..Answer::json(status, &body) }
    }

    pub(super) fn not_allowed(methods: &'static str) -> Answer {
        Answer::problem(StatusCode::METHOD_NOT_ALLOWED, "not with this method").with_field("allow", methods)
    }

    pub(super) fn with_field(self, name: &'static str, value: &'static str) -> Answer {
        Answer { field: Some((name, value)), ..self }
    }
}

/// What goes out.
pub(super) enum Outgoing {
    /// `100 Continue`.
    Continue,
    /// An answer, then the next request.
    Answer(Answer),
    /// The head that the same GET would get.
    HeadOnly(Answer),
    /// The connection's last answer.
    Last(Answer),
    /// Its last one, to a HEAD.
    LastHeadOnly(Answer),
}

/// Writes what goes out: monoio-http's encoder can do neither HEAD nor 100.
pub(super) struct AnswerEncoder;

impl Encoder<Outgoing> for AnswerEncoder {
    type Error = io::Error;

    fn encode(&mut self, outgoing: Outgoing, out: &mut BytesMut) -> io::Result<()> {
        let (answer, connection, with_body) = match outgoing {
            Outgoing::Continue => {
                out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                return Ok(());
            }
            Outgoing::Answer(answer) => (answer, "", true),
            Outgoing::HeadOnly(answer) => (answer, "", false),
            Outgoing::Last(answer) => (answer, "connection: close\r\n", true),
            Outgoing::LastHeadOnly(answer) => (answer, "connection: close\r\n", false),
        };
        let Answer { status, content_type, field, body } = answer;
        let reason = status.canonical_reason().unwrap_or_default();
        let field = field.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n{field}{connection}\r\n",
            status.as_u16(),
            body.len(),
        );
        out.extend_from_slice(head.as_bytes());
        if with_body {
            out.extend_from_slice(&body);
        }
        Ok(())
    }
}
