//! The answers of the backends, and their bytes.

use std::borrow::Cow;
use std::io;

use bytes::BytesMut;
use http::StatusCode;
use monoio_codec::Encoder;
use serde::Serialize;
use serde_json::json;

/// An answer with a body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    content_type: &'static str,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
        // Strings, numbers and maps with string keys cannot fail.
        let body = serde_json::to_vec(value).unwrap_or_default();
        Answer { status, content_type: "application/json", fields: Vec::new(), body }
    }

    pub(super) fn html(text: String) -> Answer {
        let content_type = "text/html; charset=utf-8";
        Answer { status: StatusCode::OK, content_type, fields: Vec::new(), body: text.into_bytes() }
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

    /// Neither may hold a line break.
    pub(super) fn with_field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Answer {
        self.fields.push((name, value.into()));
        self
    }
}

/// What a connection sends.
pub(super) enum Outgoing {
    /// `100 Continue`.
    Continue,
    /// An answer, then the next request.
    Answer(Answer),
    /// The head of the answer to the same GET.
    HeadOnly(Answer),
    /// The connection's last answer.
    Last(Answer),
    /// The connection's last answer, to a HEAD.
    LastHeadOnly(Answer),
    /// Raw bytes: the head of a 101, or frames.
    Bytes(Vec<u8>),
}

/// Encodes what is sent. The encoder of monoio-http supports neither HEAD nor 100.
pub(super) struct AnswerEncoder;

impl Encoder<Outgoing> for AnswerEncoder {
    type Error = io::Error;

    fn encode(&mut self, outgoing: Outgoing, out: &mut BytesMut) -> io::Result<()> {
        let (answer, connection, with_body) = match outgoing {
            Outgoing::Continue => {
                out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                return Ok(());
            }
            Outgoing::Bytes(bytes) => {
                out.extend_from_slice(&bytes);
                return Ok(());
            }
            Outgoing::Answer(answer) => (answer, "", true),
            Outgoing::HeadOnly(answer) => (answer, "", false),
            Outgoing::Last(answer) => (answer, "connection: close\r\n", true),
            Outgoing::LastHeadOnly(answer) => (answer, "connection: close\r\n", false),
        };
        let Answer { status, content_type, fields, body } = answer;
        let reason = status.canonical_reason().unwrap_or_default();
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n{fields}{connection}\r\n",
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
