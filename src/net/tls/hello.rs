//! What a client says first, as far as it is of interest beside the handshake: the name that it asks for.

use super::record::HEADER_BYTES;
use crate::limits::SERVER_NAME_BYTES_MAX;

/// Whether these are the first bytes of an HTTP request and not of a TLS handshake.
pub(super) fn is_http(bytes: &[u8]) -> bool {
    METHODS.iter().any(|method| {
        let length = method.len().min(bytes.len());
        length > 0 && bytes[..length] == method[..length]
    })
}

/// Whether these are the first bytes of an HTTP response and not of a TLS handshake.
pub(super) fn is_http_response(bytes: &[u8]) -> bool {
    const VERSION: &[u8] = b"HTTP/";
    let length = VERSION.len().min(bytes.len());
    length > 0 && bytes[..length] == VERSION[..length]
}

/// The name that a ClientHello asks for (RFC 6066 §3), if its record is whole. For logs: what the handshake itself
/// makes of the name is up to its own parser.
pub(super) fn server_name(record: &[u8]) -> Option<&str> {
    let mut hello = Reader(record.get(HEADER_BYTES..)?);
    // Handshake type, length, version, random (RFC 8446 §4.1.2).
    if hello.take(1)? != [CLIENT_HELLO] {
        return None;
    }
    hello.take(3 + 2 + 32)?;
    hello.vector(1)?;
    hello.vector(2)?;
    hello.vector(1)?;
    let mut extensions = Reader(hello.vector(2)?);
    loop {
        let kind = extensions.take(2)?;
        let body = extensions.vector(2)?;
        if kind == SERVER_NAME {
            let mut names = Reader(Reader(body).vector(2)?);
            // The only type of a name there is.
            if names.take(1)? != [0] {
                return None;
            }
            return printable(names.vector(2)?);
        }
    }
}

fn printable(name: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = (1..=SERVER_NAME_BYTES_MAX).contains(&name.len()) && name.iter().all(is_plain);
    std::str::from_utf8(name).ok().filter(|_| is_name)
}

/// Reads from the front. `None`: there is less.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Bytes behind their length, which has `width` bytes.
    fn vector(&mut self, width: usize) -> Option<&'b [u8]> {
        let length = self.take(width)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length)
    }
}

const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: [u8; 2] = [0, 0];
/// What HTTP requests begin with, that of HTTP/2 among them.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"CONNECT ", b"PRI "];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_tls_by_its_first_byte() {
        assert!(is_http(b"G") && is_http(b"GET / HTTP/1.1") && is_http(b"PRI * HTTP/2.0"));
        assert!(!is_http(b"") && !is_http(&[22, 3, 1]) && !is_http(b"SSH-2.0"));
        assert!(is_http_response(b"H") && is_http_response(b"HTTP/1.1 400 Bad Request"));
        assert!(!is_http_response(b"") && !is_http_response(&[22, 3, 3]) && !is_http_response(b"HELO"));
    }

    /// A ClientHello with nothing but this extension.
    fn hello(kind: [u8; 2], extension: &[u8]) -> Vec<u8> {
        let mut record = vec![22, 3, 1, 0, 0, CLIENT_HELLO, 0, 0, 0, 3, 3];
        record.extend([0; 32]);
        record.extend([0, 0, 2, 0x13, 1, 1, 0]);
        let length = extension.len() as u16;
        record.extend((length + 4).to_be_bytes());
        record.extend(kind);
        record.extend(length.to_be_bytes());
        record.extend(extension);
        record
    }

    fn named(name: &[u8]) -> Vec<u8> {
        let length = name.len() as u16;
        let mut extension = (length + 3).to_be_bytes().to_vec();
        extension.push(0);
        extension.extend(length.to_be_bytes());
        extension.extend(name);
        hello(SERVER_NAME, &extension)
    }

    #[test]
    fn the_name_is_found_and_nothing_else_is_taken_for_one() {
        assert_eq!(server_name(&named(b"chat.example")), Some("chat.example"));
        for name in [&b""[..], b"a b", b"a\nb", "\u{e4}.example".as_bytes(), &[b'a'; 300]] {
            assert_eq!(server_name(&named(name)), None, "{name:?}");
        }
        assert_eq!(server_name(&hello([0, 10], b"\0\x02\0\x1d")), None);
    }

    #[test]
    fn a_hello_that_is_cut_off_anywhere_has_no_name() {
        let whole = named(b"chat.example");
        for cut in 0..whole.len() {
            assert_eq!(server_name(&whole[..cut]), None, "{cut}");
        }
    }
}
