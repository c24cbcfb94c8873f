//! What `Content-Length` and `Transfer-Encoding` say about a body.

use super::{Framing, Version};
use crate::http::{Field, FieldKind, ProtocolError, tokens, values};

/// A request's framing. Anything that another parser could read differently is refused.
pub(super) fn of_request(head: &[u8], fields: &[Field], version: Version) -> Result<Framing, ProtocolError> {
    if let Some(chunked) = encoding(head, fields, version)? {
        return Ok(chunked);
    }
    let mut lengths = values(head, fields, FieldKind::ContentLength);
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(Framing::None),
        (Some(length), None) => Ok(Framing::Length(parse_length(length)?)),
        (Some(_), Some(_)) => Err(ProtocolError::ContentLengthDuplicate),
    }
}

/// What a response declares; `UntilClose` where it declares nothing. Equal lengths in two fields are one
/// length: upstreams do that, and there is only one way to read it.
pub(super) fn of_response(head: &[u8], fields: &[Field], version: Version) -> Result<Framing, ProtocolError> {
    if let Some(chunked) = encoding(head, fields, version)? {
        return Ok(chunked);
    }
    let mut declared = Framing::UntilClose;
    for length in values(head, fields, FieldKind::ContentLength) {
        let length = Framing::Length(parse_length(length)?);
        if declared != Framing::UntilClose && declared != length {
            return Err(ProtocolError::ContentLengthDuplicate);
        }
        declared = length;
    }
    Ok(declared)
}

/// `Some(Chunked)`, or `None` without Transfer-Encoding.
fn encoding(head: &[u8], fields: &[Field], version: Version) -> Result<Option<Framing>, ProtocolError> {
    let mut encodings = values(head, fields, FieldKind::TransferEncoding);
    let Some(encoding) = encodings.next() else { return Ok(None) };
    // RFC 9112 §6.1: "A sender MUST NOT send a Content-Length header field in any message that contains a
    // Transfer-Encoding header field."
    if fields.iter().any(|field| field.kind == FieldKind::ContentLength) {
        return Err(ProtocolError::LengthAndEncoding);
    }
    // RFC 9112 §6.1: with HTTP/1.0 it must be treated "as if the framing is faulty".
    if version == Version::Http10 {
        return Err(ProtocolError::TransferEncodingInHttp10);
    }
    match encodings.next() {
        None if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
        None if is_known_unsupported(encoding) => Err(ProtocolError::TransferEncodingUnsupported),
        _ => Err(ProtocolError::TransferEncodingInvalid),
    }
}

/// A well-formed list of registered codings, `chunked` last or absent: honest, only not done here.
fn is_known_unsupported(encoding: &[u8]) -> bool {
    let codings = [b"gzip".as_slice(), b"x-gzip", b"deflate", b"compress", b"x-compress"];
    let known = |token: &[u8]| codings.iter().any(|coding| coding.eq_ignore_ascii_case(token));
    // Nobody applies more codings than there are, so a longer list is none that is worth reading.
    let mut list = tokens(encoding).take(codings.len() + 2).peekable();
    let mut any = false;
    while let Some(token) = list.next() {
        let last_chunked = any && list.peek().is_none() && token.eq_ignore_ascii_case(b"chunked");
        if !known(token) && !last_chunked {
            return false;
        }
        any = true;
    }
    any
}

/// `1*DIGIT`, at most 2^63-1: a number that every language's signed integer can hold.
fn parse_length(digits: &[u8]) -> Result<u64, ProtocolError> {
    if digits.is_empty() {
        return Err(ProtocolError::ContentLengthInvalid);
    }
    let add = |number: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit).filter(|&number| number <= i64::MAX as u64)
    };
    digits.iter().try_fold(0, add).ok_or(ProtocolError::ContentLengthInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Decide = fn(&[u8], &[Field], Version) -> Result<Framing, ProtocolError>;

    fn decide(how: Decide, version: Version, lines: &[u8]) -> Result<Framing, ProtocolError> {
        let (head, mut fields) = ([lines, b"\r\n"].concat(), Vec::new());
        super::super::section::read(&head, 0, 100, &mut fields)?;
        how(&head, &fields, version)
    }

    fn request(lines: &str) -> Result<Framing, ProtocolError> {
        decide(of_request, Version::Http11, lines.as_bytes())
    }

    fn response(lines: &str) -> Result<Framing, ProtocolError> {
        decide(of_response, Version::Http11, lines.as_bytes())
    }

    #[test]
    fn a_length_is_digits_within_63_bits() {
        for (value, length) in [("0", 0), ("5", 5), ("007", 7), ("9223372036854775807", i64::MAX as u64)] {
            assert_eq!(request(&format!("Content-Length: \t{value} \r\n")), Ok(Framing::Length(length)));
        }
        for value in [
            "",
            "+5",
            "-5",
            "5, 5",
            "5,5",
            "5 5",
            "0x5",
            "5a",
            "5.0",
            "1e3",
            "5_000",
            "\u{665}",
            "5\u{a0}",
            "\u{85}5",
            "9223372036854775808",
            "18446744073709551619",
            "99999999999999999999999999",
        ] {
            let found = request(&format!("Content-Length: {value}\r\n"));
            assert_eq!(found, Err(ProtocolError::ContentLengthInvalid), "{value:?}");
        }
    }

    #[test]
    fn refuses_two_content_lengths_of_a_request_even_equal_ones() {
        let twice = request("Content-Length: 5\r\ncontent-length: 5\r\n");
        assert_eq!(twice, Err(ProtocolError::ContentLengthDuplicate));
    }

    #[test]
    fn a_response_may_repeat_its_length_but_not_change_it() {
        assert_eq!(response("Content-Length: 5\r\nContent-Length: 5\r\n"), Ok(Framing::Length(5)));
        let changed = response("Content-Length: 5\r\nContent-Length: 6\r\n");
        assert_eq!(changed, Err(ProtocolError::ContentLengthDuplicate));
        assert_eq!(response("Content-Length: 5, 5\r\n"), Err(ProtocolError::ContentLengthInvalid));
        assert_eq!(response(""), Ok(Framing::UntilClose));
    }

    #[test]
    fn refuses_length_and_encoding_together_in_both_directions() {
        for lines in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: x\r\nContent-Length: 0\r\n",
        ] {
            assert_eq!(request(lines), Err(ProtocolError::LengthAndEncoding));
            assert_eq!(response(lines), Err(ProtocolError::LengthAndEncoding));
        }
    }

    #[test]
    fn the_only_encoding_is_one_chunked() {
        for value in ["chunked", "CHUNKED", "\t chunked", "chunked\t", "cHuNkEd "] {
            let lines = format!("Transfer-Encoding:{value}\r\n");
            assert_eq!(request(&lines), Ok(Framing::Chunked), "{value:?}");
            assert_eq!(response(&lines), Ok(Framing::Chunked), "{value:?}");
        }
        for value in [
            "",
            "identity",
            "chunked, chunked",
            "xchunked",
            "chunkedx",
            "chunked,",
            ",chunked",
            "chunked;q=1",
            "x",
            "\"chunked\"",
            "chunked identity",
            "identity, chunked",
            "chunked, gzip",
            "gzip, x",
            "\u{a0}chunked",
            "chunked\u{85}",
            "chun\u{212a}ed",
            "gzip, chunked, chunked",
        ] {
            let lines = format!("Transfer-Encoding: {value}\r\n");
            assert_eq!(request(&lines), Err(ProtocolError::TransferEncodingInvalid), "{value:?}");
            assert_eq!(response(&lines), Err(ProtocolError::TransferEncodingInvalid), "{value:?}");
        }
        let twice = request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n");
        assert_eq!(twice, Err(ProtocolError::TransferEncodingInvalid));
    }

    #[test]
    fn codings_that_exist_are_501() {
        for value in ["gzip", "GZIP, chunked", "deflate", "x-gzip,compress , chunked"] {
            let found = request(&format!("Transfer-Encoding: {value}\r\n"));
            assert_eq!(found, Err(ProtocolError::TransferEncodingUnsupported), "{value:?}");
        }
    }

    #[test]
    fn http10_has_no_transfer_encoding() {
        for how in [of_request as Decide, of_response] {
            let found = decide(how, Version::Http10, b"Transfer-Encoding: chunked\r\n");
            assert_eq!(found, Err(ProtocolError::TransferEncodingInHttp10));
        }
    }

    #[test]
    fn an_alias_is_not_obeyed() {
        assert_eq!(request("Content_Length: 5\r\nTransfer.Encoding: chunked\r\n"), Ok(Framing::None));
    }
}
