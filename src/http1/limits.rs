//! The bounds of one head.

use crate::config::Oddities;
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
    /// What the path of a request may have, because somebody takes it: whoever does decides afterwards.
    pub oddities: Oddities,
}

impl HeadLimits {
    /// The default bounds.
    pub const DEFAULT: HeadLimits = HeadLimits {
        head_bytes: limits::HEAD_BYTES_DEFAULT,
        request_line_bytes: limits::REQUEST_LINE_BYTES_DEFAULT,
        fields: limits::FIELDS_DEFAULT,
        oddities: Oddities { empty_segments: false, encoded_slash: false, parameters: false },
    };
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits::DEFAULT
    }
}
