//! The chunked coding (RFC 9112 §7.1): size lines, the last chunk, trailers.

use memchr::memchr;

use super::section::{check_bytes, check_line, lines};
use crate::http::{Field, FieldKind, ProtocolError, Span, trim};
use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX};

/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes a size line, hex digits and CRLF, and gives its length.
pub fn encode_size(length: u64, out: &mut [u8; 18]) -> usize {
    let digits = (64 - length.leading_zeros()).div_ceil(4).max(1) as usize;
    for (at, byte) in out[..digits].iter_mut().enumerate() {
        let nibble = (length >> (4 * (digits - 1 - at))) & 0xf;
        *byte = b"0123456789abcdef"[nibble as usize];
    }
    out[digits..digits + 2].copy_from_slice(b"\r\n");
    digits + 2
}

/// Reads a trailer section: whole field lines, with or without the final empty line. Fields are put behind
/// what `fields` has; their spans are of `section`.
pub fn parse_trailers(section: &[u8], fields: &mut Vec<Field>) -> Result<(), ProtocolError> {
    if section.len() > TRAILER_BYTES_MAX {
        return Err(ProtocolError::TrailerTooLarge);
    }
    each_trailer(section, |at, colon, line| {
        let value = trim(&line[colon + 1..]);
        let blank = line[colon + 1..].iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        let value_start = if value.is_empty() { at + line.len() } else { at + colon + 1 + blank };
        fields.push(Field {
            name: Span::new(at, at + colon),
            value: Span::new(value_start, value_start + value.len()),
            kind: FieldKind::of(&line[..colon]),
            nominated: false,
        });
    })
}

/// Refuses a trailer section that `parse_trailers` would refuse.
pub(super) fn check_trailers(section: &[u8]) -> Result<(), ProtocolError> {
    each_trailer(section, |_, _, _| {})
}

/// Where each line begins, where its colon is, and the line without CRLF.
fn each_trailer(section: &[u8], mut visit: impl FnMut(usize, usize, &[u8])) -> Result<(), ProtocolError> {
    let (mut at, mut count) = (0, 0);
    for line in lines(section) {
        let line = line.map_err(|_| ProtocolError::TrailerInvalid)?;
        let is_last = at + line.len() + 2 == section.len();
        if line.is_empty() {
            return if is_last { Ok(()) } else { Err(ProtocolError::TrailerInvalid) };
        }
        count += 1;
        if count > TRAILER_FIELDS_MAX {
            return Err(ProtocolError::TrailerTooLarge);
        }
        let colon = check_line(line).map_err(|_| ProtocolError::TrailerInvalid)?;
        visit(at, colon, line);
        at += line.len() + 2;
    }
    Ok(())
}

/// Reads a size line at the start of `bytes`: its length with CRLF and the size; `None` while it is not
/// complete. Extensions are checked and forgotten (RFC 9112 §7.1.1 allows it).
pub(super) fn parse_size_line(bytes: &[u8]) -> Result<Option<(usize, u64)>, ProtocolError> {
    let seen = &bytes[..bytes.len().min(CHUNK_LINE_BYTES_MAX)];
    let Some(end) = memchr(b'\n', seen) else {
        let digits = seen.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        // Sixteen digits may still be followed by an extension or by CRLF; nothing else may be.
        let hopeless = digits > 16 || !matches!(seen.get(digits), None | Some(b';' | b'\r'));
        return match seen.len() {
            _ if hopeless || (digits == 0 && !seen.is_empty()) => Err(ProtocolError::ChunkSize),
            CHUNK_LINE_BYTES_MAX => Err(ProtocolError::ChunkExtensionTooLong),
            _ => Ok(None),
        };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(ProtocolError::ChunkSize)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let extension = &line[digits..];
    if !(1..=16).contains(&digits) || !matches!(extension.first(), None | Some(b';')) {
        return Err(ProtocolError::ChunkSize);
    }
    check_bytes(extension).map_err(|_| ProtocolError::ChunkExtension)?;
    let add = |size: u64, digit: &u8| size << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or(0));
    let size = line[..digits].iter().fold(0, add);
    if size > i64::MAX as u64 { Err(ProtocolError::ChunkSize) } else { Ok(Some((end + 1, size))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_line_is_read_as_it_is_written() {
        for size in [0, 1, 9, 10, 15, 16, 255, 256, 0xdead_beef, i64::MAX as u64] {
            let mut line = [0; 18];
            let length = encode_size(size, &mut line);
            assert_eq!(&line[..length], format!("{size:x}\r\n").as_bytes());
            assert_eq!(parse_size_line(&line[..length]), Ok(Some((length, size))));
        }
        let mut line = [0; 18];
        assert_eq!(encode_size(u64::MAX, &mut line), 18);
    }

    #[test]
    fn every_malformed_size_is_refused() {
        for line in [
            "",
            " 5",
            "5 ",
            "5\t",
            "+5",
            "-5",
            "0x5",
            "5_0",
            "g",
            "5g",
            "00000000000000005",
            "8000000000000000",
            "ffffffffffffffff",
            ";a",
            "5 ;a",
            "5\u{a0}",
            "\u{665}",
            "5,5",
            "5\r",
        ] {
            assert_eq!(
                parse_size_line(format!("{line}\r\n").as_bytes()),
                Err(ProtocolError::ChunkSize),
                "{line:?}"
            );
        }
        assert_eq!(parse_size_line(b"5\n"), Err(ProtocolError::ChunkSize), "bare LF");
        assert_eq!(parse_size_line(b"5;a\n"), Err(ProtocolError::ChunkSize), "bare LF after an extension");
        assert_eq!(parse_size_line(b"7fffffffffffffff\r\n"), Ok(Some((18, i64::MAX as u64))));
        assert_eq!(parse_size_line(b"000000000000000A\r\n"), Ok(Some((18, 10))));
    }

    #[test]
    fn what_cannot_become_a_size_is_refused_before_its_line_ends() {
        for bytes in ["x", " ", "5 ", "00000000000000000", "GET / HTTP/1.1"] {
            assert_eq!(parse_size_line(bytes.as_bytes()), Err(ProtocolError::ChunkSize), "{bytes:?}");
        }
        for bytes in ["", "5", "5\r", "0000000000000000", "5;abc"] {
            assert_eq!(parse_size_line(bytes.as_bytes()), Ok(None), "{bytes:?}");
        }
    }

    #[test]
    fn extensions_are_bounded_and_clean() {
        assert_eq!(parse_size_line(b"5;a=\"b c\";d\r\n"), Ok(Some((13, 5))));
        let line = |length: usize| format!("5;{}\r\n", "a".repeat(length - 4));
        assert_eq!(parse_size_line(line(256).as_bytes()), Ok(Some((256, 5))));
        assert_eq!(parse_size_line(line(257).as_bytes()), Err(ProtocolError::ChunkExtensionTooLong));
        for extension in [";a\0", ";a\rb", ";\x7f", ";a\r"] {
            let line = format!("5{extension}\r\n");
            assert_eq!(parse_size_line(line.as_bytes()), Err(ProtocolError::ChunkExtension), "{extension:?}");
        }
    }

    #[test]
    fn trailers_are_fields_and_nothing_else() {
        for section in ["A: b\r\nHost:  c \r\nD: \r\n", "A: b\r\nHost:  c \r\nD: \r\n\r\n"] {
            let mut fields = Vec::new();
            parse_trailers(section.as_bytes(), &mut fields).unwrap();
            let values: Vec<_> = fields.iter().map(|field| field.value.of(section.as_bytes())).collect();
            assert_eq!(values, [b"b".as_slice(), b"c", b""]);
            assert!(fields[0].kind.may_be_trailer() && !fields[1].kind.may_be_trailer());
        }
        for section in [
            "A\r\n",
            "A: b\n",
            "A: b",
            " A: b\r\n",
            "A : b\r\n",
            "A: \0\r\n",
            ": b\r\n",
            "\r\nA: b\r\n",
            "A: b\rc\r\n",
        ] {
            let found = parse_trailers(section.as_bytes(), &mut Vec::new());
            assert_eq!(found, Err(ProtocolError::TrailerInvalid), "{section:?}");
        }
        let many = "A: b\r\n".repeat(101);
        assert_eq!(parse_trailers(many.as_bytes(), &mut Vec::new()), Err(ProtocolError::TrailerTooLarge));
    }
}
