//! Field lines, as they stand in heads and in trailer sections.

use memchr::memchr;

use crate::http::{Field, FieldKind, ProtocolError, Span, is_token, trim};
use crate::limits::{FIELDS_DEFAULT, FIELDS_MAX};

/// Fields of nearly every head. More cost a second pass with room for `FIELDS_MANY`, or another one for `FIELDS_MAX`.
const FIELDS_USUAL: usize = 32;
/// Fields of every head within the default bound.
const FIELDS_MANY: usize = FIELDS_DEFAULT;

/// Reads the fields of a head. `start` is where the first field line begins; the head ends with its empty
/// line.
///
/// httparse splits and checks the bytes, many at a time. It is laxer than we are about line ends, so every
/// field is placed again where it must stand, and any disagreement is a refusal.
pub(super) fn read(
    head: &[u8],
    start: usize,
    fields_max: usize,
    fields: &mut Vec<Field>,
) -> Result<(), ProtocolError> {
    let fields_max = fields_max.min(FIELDS_MAX);
    let mut usual = [httparse::EMPTY_HEADER; FIELDS_USUAL];
    match httparse::parse_headers(&head[start..], &mut usual) {
        Ok(httparse::Status::Complete((length, found))) if found.len() <= fields_max => {
            place(head, start, length, found, fields)
        }
        Ok(httparse::Status::Complete(_)) => Err(ProtocolError::TooManyFields),
        Ok(httparse::Status::Partial) => Err(ProtocolError::HeadIncomplete),
        Err(httparse::Error::TooManyHeaders) if fields_max > FIELDS_USUAL => {
            match read_many::<FIELDS_MANY>(head, start, fields_max, fields) {
                Err(ProtocolError::TooManyFields) if fields_max > FIELDS_MANY => {
                    read_many::<FIELDS_MAX>(head, start, fields_max, fields)
                }
                read => read,
            }
        }
        Err(error) => Err(name_error(&head[start..], error)),
    }
}

#[cold]
#[inline(never)]
fn read_many<const ROOM: usize>(
    head: &[u8],
    start: usize,
    fields_max: usize,
    fields: &mut Vec<Field>,
) -> Result<(), ProtocolError> {
    let mut many = [httparse::EMPTY_HEADER; ROOM];
    match httparse::parse_headers(&head[start..], &mut many[..fields_max.min(ROOM)]) {
        Ok(httparse::Status::Complete((length, found))) => place(head, start, length, found, fields),
        Ok(httparse::Status::Partial) => Err(ProtocolError::HeadIncomplete),
        Err(error) => Err(name_error(&head[start..], error)),
    }
}

/// ```text
/// Name:  value \r\n
/// ^at   ^colon
/// ```
fn place(
    head: &[u8],
    start: usize,
    length: usize,
    found: &[httparse::Header<'_>],
    fields: &mut Vec<Field>,
) -> Result<(), ProtocolError> {
    // httparse lends pieces of the head: where they lie tells as much as what they say, and costs less to compare.
    let place_of = |piece: &[u8]| piece.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
    let mut at = start;
    for header in found {
        let colon = at + header.name.len();
        if place_of(header.name.as_bytes()) != at || head.get(colon) != Some(&b':') {
            return Err(ProtocolError::BareLf);
        }
        let value = colon + 1 + spaces(&head[colon + 1..]);
        let header_value = trim(header.value);
        if !header_value.is_empty() && place_of(header_value) != value {
            return Err(ProtocolError::BareLf);
        }
        let value_end = value + header_value.len();
        let end = value_end + spaces(&head[value_end..]);
        if !head[end..].starts_with(b"\r\n") {
            return Err(ProtocolError::BareLf);
        }
        let name = Span::new(at, colon);
        let kind = FieldKind::of(name.of(head));
        fields.push(Field { name, value: Span::new(value, value_end), kind, nominated: false });
        at = end + 2;
    }
    let ends = head[at..].starts_with(b"\r\n") && at + 2 == head.len() && start + length == head.len();
    if ends { Ok(()) } else { Err(ProtocolError::HeadIncomplete) }
}

/// Takes one field line (without its CRLF) apart, byte by byte: where the colon stands. It names what is
/// wrong, which httparse does not, and it reads trailers, which are rare.
pub(super) fn check_line(line: &[u8]) -> Result<usize, ProtocolError> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(ProtocolError::ObsFold);
    }
    check_bytes(line)?;
    let colon = memchr(b':', line).ok_or(ProtocolError::InvalidFieldName)?;
    match &line[..colon] {
        [] => Err(ProtocolError::EmptyFieldName),
        [.., b' ' | b'\t'] => Err(ProtocolError::SpaceBeforeColon),
        name if !is_token(name) => Err(ProtocolError::InvalidFieldName),
        _ => Ok(colon),
    }
}

/// Refuses every control byte but HTAB. Bytes from 0x80 are obs-text and pass (RFC 9110 §5.5).
pub(super) fn check_bytes(line: &[u8]) -> Result<(), ProtocolError> {
    match line.iter().find(|&&byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
        Some(b'\r') => Err(ProtocolError::BareCr),
        Some(b'\n') => Err(ProtocolError::BareLf),
        Some(_) => Err(ProtocolError::ControlByte),
        None => Ok(()),
    }
}

/// Each line of a section without its CRLF; each must have one.
pub(super) fn lines(section: &[u8]) -> impl Iterator<Item = Result<&[u8], ProtocolError>> {
    section
        .split_inclusive(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r\n").ok_or(ProtocolError::BareLf))
}

#[cold]
fn name_error(section: &[u8], error: httparse::Error) -> ProtocolError {
    if error == httparse::Error::TooManyHeaders {
        return ProtocolError::TooManyFields;
    }
    for line in lines(section) {
        match line {
            Err(error) => return error,
            Ok([]) => break,
            Ok(line) => {
                if let Err(error) = check_line(line) {
                    return error;
                }
            }
        }
    }
    ProtocolError::InvalidFieldName
}

fn spaces(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(section: &str) -> Result<Vec<(String, String)>, ProtocolError> {
        let (mut fields, head) = (Vec::new(), section.as_bytes());
        read(head, 0, FIELDS_DEFAULT, &mut fields)?;
        let text = |span: Span| String::from_utf8_lossy(span.of(head)).into_owned();
        Ok(fields.iter().map(|field| (text(field.name), text(field.value))).collect())
    }

    #[test]
    fn values_lose_the_white_space_around_them() {
        let fields = read_all("A: \t x y\t \r\nB:\r\nC:   \t\r\nD:z\r\n\r\n").unwrap();
        let expected = [("A", "x y"), ("B", ""), ("C", ""), ("D", "z")];
        assert!(fields.iter().zip(expected).all(|((n, v), (en, ev))| n == en && v == ev), "{fields:?}");
    }

    #[test]
    fn every_malformed_line_has_its_name() {
        for (line, error) in [
            ("A : b", ProtocolError::SpaceBeforeColon),
            ("A\t: b", ProtocolError::SpaceBeforeColon),
            (": b", ProtocolError::EmptyFieldName),
            (" A: b", ProtocolError::ObsFold),
            ("\tA: b", ProtocolError::ObsFold),
            ("A b", ProtocolError::InvalidFieldName),
            ("A(b): c", ProtocolError::InvalidFieldName),
            ("A\u{e9}: c", ProtocolError::InvalidFieldName),
            ("A: b\0", ProtocolError::ControlByte),
            ("A: b\x0bc", ProtocolError::ControlByte),
            ("A: b\x7f", ProtocolError::ControlByte),
            ("A\0: b", ProtocolError::ControlByte),
            ("A: b\rc", ProtocolError::BareCr),
            ("A: b\r", ProtocolError::BareCr),
            ("A: b\nC: d", ProtocolError::BareLf),
            ("A: b\r\n c", ProtocolError::ObsFold),
            ("A: b\r\n\tc: d", ProtocolError::ObsFold),
        ] {
            for section in [format!("{line}\r\n\r\n"), format!("X: y\r\n{line}\r\nZ: a\r\n\r\n")] {
                assert_eq!(read_all(&section), Err(error), "{section:?}");
            }
        }
    }

    #[test]
    fn the_head_ends_with_its_empty_line_and_nowhere_else() {
        assert_eq!(read_all("A: b\r\n"), Err(ProtocolError::HeadIncomplete));
        assert_eq!(read_all("A: b\r\n\r\nC: d\r\n\r\n"), Err(ProtocolError::HeadIncomplete));
        assert!(matches!(read_all("A: b\r\n\n"), Err(ProtocolError::BareLf | ProtocolError::HeadIncomplete)));
        assert!(read_all("\r\n").unwrap().is_empty());
    }

    #[test]
    fn as_many_fields_as_allowed_and_no_more() {
        let section = |count: usize| "A: b\r\n".repeat(count) + "\r\n";
        for count in [0, 1, 31, 32, 33, 99, 100] {
            assert_eq!(read_all(&section(count)).unwrap().len(), count);
        }
        assert_eq!(read_all(&section(101)), Err(ProtocolError::TooManyFields));
        for count in [100, 101, 999, 1000] {
            let (section, mut fields) = (section(count), Vec::new());
            assert_eq!(read(section.as_bytes(), 0, usize::MAX, &mut fields), Ok(()), "{count}");
            assert_eq!(fields.len(), count);
        }
        for (max, count) in [(3, 4), (32, 33), (40, 41), (100, 101), (150, 151), (usize::MAX, 1001)] {
            let found = read(section(count).as_bytes(), 0, max, &mut Vec::new());
            assert_eq!(found, Err(ProtocolError::TooManyFields), "{max}");
        }
    }
}
