//! The bounds of one head.

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

impl HeadLimits {
    /// The default bounds.
    pub const DEFAULT: HeadLimits = HeadLimits {
        head_bytes: limits::HEAD_BYTES_DEFAULT,
        request_line_bytes: limits::REQUEST_LINE_BYTES_DEFAULT,
        fields: limits::FIELDS_MAX,
    };
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits::DEFAULT
    }
}
