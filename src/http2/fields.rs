//! What a field of HTTP/2 may be (RFC 9113 §8.2).

use crate::http::{FieldKind, is_token_byte};

/// A message breaks the rules of HTTP/2: its stream is reset (§8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Checks a field that is no pseudo-field. Gives its kind.
///
/// # Errors
/// It may not stand in a message of HTTP/2. What must not stand in any field is refused here as well, because lines are
/// made of the fields.
pub(super) fn check(name: &[u8], value: &[u8]) -> Result<FieldKind, Malformed> {
    let is_name = |&byte: &u8| is_token_byte(byte) && !byte.is_ascii_uppercase();
    if name.is_empty() || !name.iter().all(is_name) {
        return Err(Malformed);
    }
    // "A field value MUST NOT contain the zero value, line feed, or carriage return at any position", and "MUST NOT
    // start or end with an ASCII whitespace character".
    let ends_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
        || ends_blank(value.first())
        || ends_blank(value.last())
    {
        return Err(Malformed);
    }
    match FieldKind::of(name) {
        // §8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields".
        FieldKind::Connection
        | FieldKind::KeepAlive
        | FieldKind::ProxyConnection
        | FieldKind::TransferEncoding
        | FieldKind::Upgrade => Err(Malformed),
        FieldKind::Te if !value.eq_ignore_ascii_case(b"trailers") => Err(Malformed),
        kind => Ok(kind),
    }
}

/// Writes the line of a field that was checked.
pub(super) fn put_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for piece in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(piece);
    }
}

/// What a field takes as a line.
pub(super) fn line_bytes(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + ": \r\n".len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_a_connection_or_no_field_at_all_is_refused() {
        for (name, value) in [
            ("", "x"),
            ("Date", "x"),
            ("a b", "x"),
            ("a:", "x"),
            ("\u{e9}", "x"),
            ("a", "x\r\ny: z"),
            ("a", "\0"),
            ("a", "\n"),
            ("a", " x"),
            ("a", "x\t"),
            ("connection", "close"),
            ("keep-alive", "x"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
        ] {
            assert_eq!(check(name.as_bytes(), value.as_bytes()), Err(Malformed), "{name}: {value:?}");
        }
        for (name, value) in [("te", "trailers"), ("a", ""), ("a", "x y\u{e9}"), ("x_y", "z"), ("a", "\x01")]
        {
            assert!(check(name.as_bytes(), value.as_bytes()).is_ok(), "{name}: {value:?}");
        }
    }
}
