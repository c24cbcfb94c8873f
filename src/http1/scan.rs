//! Finding the end of a head while its bytes arrive.

use memchr::memchr;

use super::{HeadLimits, Version};
use crate::http::{ProtocolError, is_token_byte};

/// How far the search for a head's end has come. It looks at every byte once, however they arrive.
///
/// One empty line before a request is part of the head (RFC 9112 §2.2 asks servers to ignore it): its two
/// bytes count in the length, and `RequestHead::parse` steps over them. A second one is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScan {
    /// Everything before was searched.
    searched: usize,
    /// Where the line that is being searched begins.
    line: usize,
    /// Complete lines so far, the leading empty one not counted.
    lines: usize,
    skipped: usize,
    side: Side,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Side {
    #[default]
    Request,
    Response,
}

impl HeadScan {
    /// A search for the head of a response. `HeadScan::default()` is for requests.
    pub fn response() -> Self {
        Self { side: Side::Response, ..Self::default() }
    }

    /// Goes on with the search. `bytes` is everything from the start of the head, what was there before
    /// included. Gives the head's length with its final empty line once it is there; bytes after it are not
    /// looked at.
    pub fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, ProtocolError> {
        // No byte over the bound is looked at, so the answer does not depend on how the bytes arrived.
        let seen = &bytes[..bytes.len().min(limits.head_bytes)];
        self.check_start(seen)?;
        while let Some(offset) = memchr(b'\n', &seen[self.searched..]) {
            let end = self.searched + offset;
            let line = &seen[self.line..end];
            self.check_first_line_length(line, limits)?;
            let Some((b'\r', line)) = line.split_last() else { return Err(ProtocolError::BareLf) };
            (self.searched, self.line) = (end + 1, end + 1);
            if !line.is_empty() {
                self.count(line, limits)?;
            } else if self.lines > 0 {
                return Ok(Some(end + 1));
            } else {
                self.skipped = 2;
                self.check_start(seen)?;
            }
        }
        self.searched = seen.len();
        self.check_first_line_length(&seen[self.line..], limits)?;
        if bytes.len() > limits.head_bytes { Err(ProtocolError::HeadTooLarge) } else { Ok(None) }
    }

    /// Refuses what cannot become a head as soon as its first byte is there.
    fn check_start(&self, seen: &[u8]) -> Result<(), ProtocolError> {
        if self.lines > 0 {
            return Ok(());
        }
        let start = &seen[self.line..];
        let fits = match (self.side, start) {
            (_, []) => true,
            (Side::Response, _) => b"HTTP/".iter().zip(start).all(|(want, got)| want == got),
            (Side::Request, [b'\n', ..]) => return Err(ProtocolError::BareLf),
            (Side::Request, [b'\r']) | (Side::Request, [b'\r', b'\n', ..]) => self.skipped == 0,
            (Side::Request, [first, ..]) => is_token_byte(*first),
        };
        if fits { Ok(()) } else { Err(ProtocolError::NotHttp) }
    }

    /// `line` may be unfinished: a CR at its end is not yet part of it.
    fn check_first_line_length(&self, line: &[u8], limits: &HeadLimits) -> Result<(), ProtocolError> {
        let length = line.len() - usize::from(line.last() == Some(&b'\r'));
        let bounded = self.lines == 0 && self.side == Side::Request;
        if bounded && length > limits.request_line_bytes {
            return Err(ProtocolError::RequestLineTooLong);
        }
        Ok(())
    }

    fn count(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), ProtocolError> {
        if self.lines == 0 && self.side == Side::Request {
            // An HTTP/0.9 client sends one line and waits; HTTP/2 has its preface. Neither should wait for
            // our timeout.
            check_version(line)?;
        }
        self.lines += 1;
        if self.lines > limits.fields + 1 { Err(ProtocolError::TooManyFields) } else { Ok(()) }
    }
}

/// The version that ends a request line.
pub(super) fn check_version(request_line: &[u8]) -> Result<Version, ProtocolError> {
    let last = request_line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    match Version::of(last) {
        Some(version) => Ok(version),
        None if last.starts_with(b"HTTP/") => Err(ProtocolError::UnsupportedVersion),
        None => Err(ProtocolError::InvalidRequestLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits =
        HeadLimits { head_bytes: 64, request_line_bytes: 24, fields: 3, ..HeadLimits::DEFAULT };

    fn whole(bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
        HeadScan::default().advance(bytes, &LIMITS)
    }

    fn byte_by_byte(mut scan: HeadScan, bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
        for end in 0..=bytes.len() {
            match scan.advance(&bytes[..end], &LIMITS) {
                Ok(None) => {}
                done => return done,
            }
        }
        Ok(None)
    }

    const HEADS: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
        b"\n\nGET",
        b"\rGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nA: a\r\nB: b\r\nC: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: a\r\nB: b\r\nC: c\r\nD: d\r\n\r\n",
        b"GET /123456789ABCDE HTTP/1.1\r\n\r\n",
        b"GET /123456789 HTTP/1.1\r\n\r\n",
        b"GET /1234567890 HTTP/1.1\r\n\r\n",
        b"GET /12345678901234567890\n",
        b"GET / HTTP/1.1\r\nA: 012345678901234567890123456789012345678901234567890\n",
        b"GET / HTTP/1.1\r\nA: 012345678901234567890123456789012345678901\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: 0123456789012345678901234567890123456789\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET /\r\n",
    ];

    #[test]
    fn split_anywhere_the_scan_says_the_same() {
        for bytes in HEADS {
            assert_eq!(byte_by_byte(HeadScan::default(), bytes), whole(bytes), "{}", bytes.escape_ascii());
            for cut in 0..bytes.len() {
                let mut scan = HeadScan::default();
                let first = scan.advance(&bytes[..cut], &LIMITS);
                let end = if first == Ok(None) { scan.advance(bytes, &LIMITS) } else { first };
                assert_eq!(end, whole(bytes), "{} cut at {cut}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn finds_the_end_and_leaves_what_follows() {
        assert_eq!(whole(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\n"), Ok(Some(27)));
        assert_eq!(whole(b"GET / HTTP/1.1\r\nHost: a\r\n"), Ok(None));
        assert_eq!(whole(b""), Ok(None));
    }

    #[test]
    fn skips_one_empty_line_before_a_request_and_refuses_a_flood() {
        let mut scan = HeadScan::default();
        assert_eq!(scan.advance(b"\r\nGET / HTTP/1.1\r\n\r\n", &LIMITS), Ok(Some(20)));
        assert_eq!(scan.skipped, 2);
        assert_eq!(whole(b"\r\n\r\n"), Err(ProtocolError::NotHttp));
        assert_eq!(whole(b"\r\n\r"), Err(ProtocolError::NotHttp));
        assert_eq!(whole(b"\rG"), Err(ProtocolError::NotHttp));
    }

    #[test]
    fn refuses_a_bare_lf_at_once() {
        assert_eq!(whole(b"GET / HTTP/1.1\n"), Err(ProtocolError::BareLf));
        assert_eq!(whole(b"GET / HTTP/1.1\r\nA: b\n"), Err(ProtocolError::BareLf));
        assert_eq!(whole(b"GET / HTTP/1.1\r\nA: b\r\n\n"), Err(ProtocolError::BareLf));
        assert_eq!(whole(b"\n"), Err(ProtocolError::BareLf));
    }

    #[test]
    fn refuses_what_is_over_a_bound_as_soon_as_that_is_known() {
        assert_eq!(whole(&[b'A'; 25]), Err(ProtocolError::RequestLineTooLong));
        assert_eq!(whole(&[b'A'; 24]), Ok(None));
        assert_eq!(whole(b"GET /123456789ABC HTTP/1.1"), Err(ProtocolError::RequestLineTooLong));
        let long = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 46]].concat();
        assert_eq!(whole(&long), Err(ProtocolError::HeadTooLarge));
        assert_eq!(whole(&long[..64]), Ok(None));
        let many = b"GET / HTTP/1.1\r\nA: a\r\nB: b\r\nC: c\r\nD: d\r\n";
        assert_eq!(whole(many), Err(ProtocolError::TooManyFields));
    }

    #[test]
    fn refuses_other_protocols_by_their_first_bytes() {
        assert_eq!(whole(b"\x16"), Err(ProtocolError::NotHttp), "a TLS ClientHello");
        assert_eq!(whole(b"PRI * HTTP/2.0\r\n"), Err(ProtocolError::UnsupportedVersion));
        assert_eq!(whole(b"GET /\r\n"), Err(ProtocolError::InvalidRequestLine), "HTTP/0.9");
        assert_eq!(whole(b" GET"), Err(ProtocolError::NotHttp));
        assert_eq!(whole(b"\xc3"), Err(ProtocolError::NotHttp));
    }

    #[test]
    fn a_response_begins_with_its_version() {
        let response = |bytes: &[u8]| byte_by_byte(HeadScan::response(), bytes);
        assert_eq!(response(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(Some(19)));
        assert_eq!(response(b"HTT"), Ok(None));
        assert_eq!(response(b"HTP"), Err(ProtocolError::NotHttp));
        assert_eq!(response(b"<html>"), Err(ProtocolError::NotHttp));
        assert_eq!(response(b"\r\nHTTP/1.1 200 OK\r\n\r\n"), Err(ProtocolError::NotHttp));
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_costs_linear_work() {
        let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
        head.resize(32 * 1024 - 4, b'a');
        head.extend_from_slice(b"\r\n\r\n");
        let (mut scan, limits) = (HeadScan::default(), HeadLimits::default());
        for end in 1..head.len() {
            assert_eq!(scan.advance(&head[..end], &limits), Ok(None));
            assert_eq!(scan.searched, end, "what was searched is never searched again");
        }
        assert_eq!(scan.advance(&head, &limits), Ok(Some(head.len())));
    }
}
