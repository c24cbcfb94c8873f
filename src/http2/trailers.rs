//! The trailer section of a body: its fields become the lines that HTTP/1 has for them.

use super::fields::{self, Malformed};
use super::hpack::Fields;
use crate::limits::TRAILER_BYTES_MAX;

/// The lines of a trailer section.
#[derive(Debug, Default)]
pub struct TrailerLines {
    lines: Vec<u8>,
    is_malformed: bool,
}

impl TrailerLines {
    /// Whole lines.
    ///
    /// # Errors
    /// A field that may not stand there, or more than a section may have.
    pub fn finish(self) -> Result<Vec<u8>, Malformed> {
        if self.is_malformed { Err(Malformed) } else { Ok(self.lines) }
    }
}

impl Fields for TrailerLines {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        let bytes = self.lines.len() + fields::line_bytes(name, value);
        // §8.1: "Trailers MUST NOT include pseudo-header fields", whose names are no tokens.
        self.is_malformed |= bytes > TRAILER_BYTES_MAX || fields::check(name, value).is_err();
        if !self.is_malformed {
            fields::put_line(&mut self.lines, name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(fields: &[(&[u8], &[u8])]) -> Result<Vec<u8>, Malformed> {
        let mut lines = TrailerLines::default();
        fields.iter().for_each(|(name, value)| lines.field(name, value));
        lines.finish()
    }

    #[test]
    fn a_section_is_lines() {
        assert_eq!(finished(&[(b"a", b"b"), (b"c", b"")]), Ok(b"a: b\r\nc: \r\n".to_vec()));
        assert_eq!(finished(&[]), Ok(Vec::new()));
    }

    #[test]
    fn no_pseudo_fields_no_other_lines_and_no_more_than_the_bound() {
        assert_eq!(finished(&[(b"a", b"b"), (b":path", b"/")]), Err(Malformed));
        assert_eq!(finished(&[(b"a", b"b\r\nc: d")]), Err(Malformed));
        assert_eq!(finished(&[(b"a", &[b'x'; 5_000]), (b"b", &[b'x'; 5_000])]), Err(Malformed));
    }
}
