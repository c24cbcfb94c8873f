//! A response's head, whatever version of HTTP it came in.

use super::{BodyLength, Field, Span};

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
