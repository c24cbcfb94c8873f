//! The head of a response, and its trailer section: lines of this gateway become a block of fields.

use memchr::memchr;

use super::hpack::{Out, put_field, put_status};
use crate::http::FieldKind;

/// Writes the block of a response's head. `lines`: the fields, each a line, as HTTP/1 has them.
pub fn put_head(out: &mut impl Out, status: u16, lines: &[u8]) {
    put_status(out, status);
    put_lines(out, lines);
}

/// Writes fields. What is for a connection of HTTP/1 alone is left out: a message that has it is malformed (RFC 9113
/// §8.2.2).
pub fn put_lines(out: &mut impl Out, mut lines: &[u8]) {
    while let Some(end) = memchr(b'\n', lines) {
        let line = lines[..end].strip_suffix(b"\r").unwrap_or(&lines[..end]);
        lines = &lines[end + 1..];
        let Some(colon) = memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let kind = FieldKind::of(name);
        if !kind.is_hop_by_hop() || kind == FieldKind::Trailer {
            put_field(out, name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::hpack::{Decoder, Scratch};

    #[test]
    fn lines_become_fields_in_lower_case_without_those_of_a_connection() {
        let mut block = Vec::new();
        let lines =
            b"Content-Type: text/plain\r\nConnection: close\r\nX-A:  b: c \r\nUpgrade: x\r\nEmpty: \r\n";
        put_head(&mut block, 426, lines);
        let mut fields = Vec::new();
        Decoder::default().decode(&block, &mut Scratch::default(), &mut fields).unwrap();
        let text: Vec<String> = fields
            .iter()
            .map(|(name, value)| {
                format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            })
            .collect();
        assert_eq!(text, [":status=426", "content-type=text/plain", "x-a=b: c", "empty="]);
    }
}
