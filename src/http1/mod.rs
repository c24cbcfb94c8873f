//! HTTP/1.1 as pure functions over bytes: no I/O, no clock, no memory beyond what the caller lends.
//!
//! A head is found (`HeadScan`), parsed once into types that cannot be wrong (`RequestHead`, `ResponseHead`),
//! and its body is taken apart by `BodyDecoder`. Whatever two parsers could read differently is refused.

mod chunked;
mod compose;
mod connection;
mod declared;
mod error;
mod field;
mod framing;
mod host;
mod method;
mod path;
mod request;
mod response;
mod scan;
mod section;
mod span;
mod target;

pub use chunked::{LAST_CHUNK, encode_size, parse_trailers};
pub use compose::{http_date, push_decimal};
pub use error::HeadError;
pub use field::{Field, FieldKind, is_token, tokens, values};
pub use framing::{BodyDecoder, Framing, Step};
pub use method::Method;
pub use path::canonicalise;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use scan::HeadScan;
pub use span::Span;
pub use target::Target;

use crate::limits;

/// The bounds of one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, its final empty line included.
    pub head_bytes: usize,
    /// Bytes of the request line without its CRLF. Responses have no bound of their own here.
    pub request_line_bytes: usize,
    /// Header fields; never more than `limits::FIELDS_MAX`, whatever stands here.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes: limits::HEAD_BYTES_DEFAULT,
            request_line_bytes: limits::REQUEST_LINE_BYTES_DEFAULT,
            fields: limits::FIELDS_MAX,
        }
    }
}

/// The versions that this gateway speaks as HTTP/1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked bodies, one exchange per connection unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

impl Version {
    /// Reads `HTTP/1.0` or `HTTP/1.1`; anything else is no version of ours.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"HTTP/1.1" => Some(Self::Http11),
            b"HTTP/1.0" => Some(Self::Http10),
            _ => None,
        }
    }
}
