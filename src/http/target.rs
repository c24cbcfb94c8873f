//! Request targets (RFC 9112 §3.2).

use std::ops::Range;

use super::path::{self, is_encoded, push_encoded};
use super::{Method, ProtocolError, Scheme, Span, host};
use crate::config::Oddities;

/// Where a request wants to go. The path is canonical; the query is as it came, but for bytes outside of ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The canonical path; empty in an absolute-form target without one. Use `path()`.
    pub path: Span,
    /// The query with its `?`, or nothing.
    pub query: Span,
    /// The authority of an absolute-form target, or nothing.
    pub authority: Span,
    /// The scheme of an absolute-form target.
    pub scheme: Option<Scheme>,
    /// What the path has that servers read in more than one way. Empty segments are merged already.
    pub oddities: Oddities,
    /// `OPTIONS *`: the server itself is meant, not a path.
    pub is_asterisk: bool,
}

impl Target {
    /// The path to match and to forward: `/…`, or `*`.
    pub fn path<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        match self.path.of(head) {
            _ if self.is_asterisk => b"*",
            [] => b"/",
            path => path,
        }
    }

    /// Parses the target that stands at `span`, and makes its path canonical in place: bytes between its new
    /// end and the query are left over. Where something of it has to be percent-encoded, path and query are written
    /// anew behind the head.
    pub(crate) fn parse(
        head: &mut Vec<u8>,
        span: Span,
        method: Method,
        room: &Room,
    ) -> Result<Self, ProtocolError> {
        let range = span.range();
        match method {
            Method::Connect => return Err(ProtocolError::ConnectRefused),
            Method::Trace => return Err(ProtocolError::TraceRefused),
            _ => {}
        }
        match &head[range.clone()] {
            [] => Err(ProtocolError::InvalidTarget),
            [b'/', ..] => Self::parse_path(head, range, room),
            b"*" if method == Method::Options => {
                Ok(Self { path: span, is_asterisk: true, ..Self::default() })
            }
            b"*" => Err(ProtocolError::AsteriskForm),
            absolute => {
                let (scheme, length) = scheme(absolute)?;
                let start = range.start + length;
                let rest = &head[start..range.end];
                let length = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
                host::check(&rest[..length])?;
                let authority = Span::new(start, start + length);
                let target = Self::parse_path(head, start + length..range.end, room)?;
                // RFC 9112 §3.2.4: OPTIONS with neither path nor query becomes `*`.
                let is_asterisk =
                    method == Method::Options && target.path.is_empty() && target.query.is_empty();
                Ok(Self { authority, scheme: Some(scheme), is_asterisk, ..target })
            }
        }
    }

    fn parse_path(head: &mut Vec<u8>, range: Range<usize>, room: &Room) -> Result<Self, ProtocolError> {
        let Range { start, end } = range;
        let question = memchr::memchr(b'?', &head[start..end]).map_or(end, |at| start + at);
        let is_query_encoded = check_query(&head[question..end])?;
        let canonical = match start == question {
            true => Ok((0, Oddities::default())),
            false => path::canonicalise(&mut head[start..question], room.oddities),
        };
        let (path, query, found) = match canonical {
            Ok((length, found)) if !is_query_encoded => {
                (Span::new(start, start + length), Span::new(question, end), found)
            }
            Ok((length, found)) => {
                let (path, query, again) = Self::encode(head, start..start + length, question..end, room)?;
                (path, query, found.and(again))
            }
            Err(_) if head[start..question].iter().any(|&byte| is_encoded(byte)) => {
                Self::encode(head, start..question, question..end, room)?
            }
            Err(error) => return Err(error),
        };
        let parameters = path::has_parameters(path.of(head));
        Ok(Self { path, query, oddities: Oddities { parameters, ..found }, ..Self::default() })
    }

    /// Writes path and query behind the head, with escapes for what has to be encoded, and makes the path canonical
    /// there. It is as if the client had sent them so: the bounds are the same.
    #[cold]
    fn encode(
        head: &mut Vec<u8>,
        path: Range<usize>,
        query: Range<usize>,
        room: &Room,
    ) -> Result<(Span, Span, Oddities), ProtocolError> {
        let encoded = head[path.clone()].iter().filter(|&&byte| is_encoded(byte)).count()
            + head[query.clone()].iter().filter(|&&byte| is_query_encoded(byte)).count();
        let (path_at, longer) = (head.len(), 2 * encoded);
        if longer > room.line {
            return Err(ProtocolError::RequestLineTooLong);
        }
        if longer > room.head {
            return Err(ProtocolError::HeadTooLarge);
        }
        let is_path = !path.is_empty();
        push_encoded(head, path, is_encoded);
        let query_at = head.len();
        push_encoded(head, query, is_query_encoded);
        let (length, found) = match is_path {
            true => path::canonicalise(&mut head[path_at..query_at], room.oddities)?,
            false => (0, Oddities::default()),
        };
        Ok((Span::new(path_at, path_at + length), Span::new(query_at, head.len()), found))
    }
}

/// What a target may have: how much longer it may become when it is percent-encoded, in bytes, and which oddities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Until its request line is too long.
    pub line: usize,
    /// Until its head is too large.
    pub head: usize,
    /// What its path may have, because somebody takes it.
    pub oddities: Oddities,
}

/// Bytes of `scheme://`, which must be one of ours.
fn scheme(target: &[u8]) -> Result<(Scheme, usize), ProtocolError> {
    let is_scheme = |name: &[u8]| name.first().is_some_and(u8::is_ascii_alphabetic);
    match target.iter().position(|&byte| byte == b':') {
        Some(colon) if target[colon..].starts_with(b"://") && is_scheme(target) => {
            let is = |scheme: &Scheme| scheme.name().as_bytes().eq_ignore_ascii_case(&target[..colon]);
            let ours = [Scheme::Http, Scheme::Https].into_iter().find(is);
            ours.map(|scheme| (scheme, colon + 3)).ok_or(ProtocolError::SchemeRefused)
        }
        Some(_) if host::check(target).is_ok() => Err(ProtocolError::AuthorityForm),
        _ => Err(ProtocolError::InvalidTarget),
    }
}

/// A query is opaque: nothing here is chosen by it, so visible ASCII passes as it is, whether RFC 3986 §3.4 has it or
/// not. What a recipient may take for the end of the target is refused. Whether a byte has to be percent-encoded.
fn check_query(query: &[u8]) -> Result<bool, ProtocolError> {
    let mut is_encoded = false;
    for &byte in query {
        match byte {
            b'#' => return Err(ProtocolError::Fragment),
            0..=b' ' | 0x7f => return Err(ProtocolError::QueryByte),
            _ => is_encoded |= is_query_encoded(byte),
        }
    }
    Ok(is_encoded)
}

/// A browser encodes what is not ASCII (the URL standard's query state); whatever encoding a page is in, it is bytes.
fn is_query_encoded(byte: u8) -> bool {
    byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Oddities = Oddities { empty_segments: false, encoded_slash: false, parameters: false };
    const ROOM: Room = Room { line: 64, head: 64, oddities: STRICT };

    fn parse(method: Method, text: &str) -> Result<(String, String, String, bool), ProtocolError> {
        let mut head = text.as_bytes().to_vec();
        let target = Target::parse(&mut head, Span::new(0, text.len()), method, &ROOM)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (query, authority) = (text(target.query.of(&head)), text(target.authority.of(&head)));
        Ok((text(target.path(&head)), query, authority, target.is_asterisk))
    }

    fn parts(
        path: &str,
        query: &str,
        authority: &str,
    ) -> Result<(String, String, String, bool), ProtocolError> {
        Ok((path.into(), query.into(), authority.into(), path == "*"))
    }

    #[test]
    fn every_form_that_is_served() {
        for (text, expected) in [
            ("/", parts("/", "", "")),
            ("/%61?b=%2f&c", parts("/a", "?b=%2f&c", "")),
            ("/?", parts("/", "?", "")),
            ("/a?b?c/../d//[x]{y}|^", parts("/a", "?b?c/../d//[x]{y}|^", "")),
            ("/a?50%", parts("/a", "?50%", "")),
            ("/a?%zz&%4&\"<>\\`'", parts("/a", "?%zz&%4&\"<>\\`'", "")),
            ("/%61?\u{e9}=%", parts("/a", "?%C3%A9=%", "")),
            ("/a[0]%2d?b[0]", parts("/a%5B0%5D-", "?b[0]", "")),
            ("/\"<>[]^`{|}?", parts("/%22%3C%3E%5B%5D%5E%60%7B%7C%7D", "?", "")),
            ("/caf\u{e9}/%c3%a9", parts("/caf%C3%A9/%C3%A9", "", "")),
            ("http://h/\u{20ac}?\u{20ac}", parts("/%E2%82%AC", "?%E2%82%AC", "h")),
            ("http://h?\u{20ac}", parts("/", "?%E2%82%AC", "h")),
            ("http://h", parts("/", "", "h")),
            ("HTTP://h:80/a%2Db?q", parts("/a-b", "?q", "h:80")),
            ("https://[::1]?q", parts("/", "?q", "[::1]")),
        ] {
            assert_eq!(parse(Method::Get, text), expected, "{text}");
        }
        assert_eq!(parse(Method::Options, "*"), parts("*", "", ""));
        assert_eq!(parse(Method::Options, "http://h"), parts("*", "", "h"));
        assert_eq!(parse(Method::Options, "http://h/"), parts("/", "", "h"));
    }

    #[test]
    fn every_form_that_is_refused() {
        for (text, error) in [
            ("*", ProtocolError::AsteriskForm),
            ("*/", ProtocolError::InvalidTarget),
            ("h:443", ProtocolError::AuthorityForm),
            ("[::1]:443", ProtocolError::AuthorityForm),
            ("", ProtocolError::InvalidTarget),
            ("a/b", ProtocolError::InvalidTarget),
            ("?a", ProtocolError::InvalidTarget),
            ("://h/", ProtocolError::InvalidTarget),
            ("ftp://h/", ProtocolError::SchemeRefused),
            ("httpx://h/", ProtocolError::SchemeRefused),
            ("http:/h", ProtocolError::InvalidTarget),
            ("http://", ProtocolError::InvalidHost),
            ("http:///a", ProtocolError::InvalidHost),
            ("http://u@h/", ProtocolError::InvalidHost),
            ("http://h\\@g/", ProtocolError::InvalidHost),
            ("http://h#/", ProtocolError::Fragment),
            ("/a?b#c", ProtocolError::Fragment),
            ("/a#?b", ProtocolError::Fragment),
            ("/a?b\tc", ProtocolError::QueryByte),
            ("/a?b c", ProtocolError::QueryByte),
            ("/a?b\0", ProtocolError::QueryByte),
            ("/a?b\x7f", ProtocolError::QueryByte),
            ("/a\u{e9}\\?b", ProtocolError::PathBackslash),
            ("/a\u{e9}/../b", ProtocolError::PathDotSegment),
            ("/a\u{e9}#", ProtocolError::Fragment),
            ("/a\u{e9}\t", ProtocolError::PathByte),
            ("/a\u{85}b", ProtocolError::PathControl),
            ("/[%2f]", ProtocolError::PathEncodedSlash),
            ("/[%zz]", ProtocolError::PathEscape),
            ("/[]//", ProtocolError::PathEmptySegment),
            ("/[]%252f", ProtocolError::PathDoubleEncoding),
        ] {
            assert_eq!(parse(Method::Get, text), Err(error), "{text}");
        }
        assert_eq!(parse(Method::Connect, "h:443"), Err(ProtocolError::ConnectRefused));
        assert_eq!(parse(Method::Connect, "/"), Err(ProtocolError::ConnectRefused));
    }

    #[test]
    fn what_somebody_takes_is_kept_or_merged_and_told() {
        let all = Oddities { empty_segments: true, encoded_slash: true, parameters: true };
        let room = Room { oddities: all, ..ROOM };
        for (text, path, query, empty, slash, parameters) in [
            ("//a///b//?//", "/a/b/", "?//", true, false, false),
            ("//?\u{e9}", "/", "?%C3%A9", true, false, false),
            ("//[]", "/%5B%5D", "", true, false, false),
            ("/a%2fb?%2f", "/a%2Fb", "?%2f", false, true, false),
            ("/[%2f?\u{e9}", "/%5B%2F", "?%C3%A9", false, true, false),
            ("http://h//a%2F;b%3b", "/a%2F;b%3B", "", true, true, true),
            ("/a", "/a", "", false, false, false),
        ] {
            let mut head = text.as_bytes().to_vec();
            let span = Span::new(0, head.len());
            let target = Target::parse(&mut head, span, Method::Get, &room).expect(text);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!((text(target.path(&head)), text(target.query.of(&head))), (path.into(), query.into()));
            let found = Oddities { empty_segments: empty, encoded_slash: slash, parameters };
            assert_eq!(target.oddities, found, "{path}");
        }
    }

    #[test]
    fn bytes_outside_of_ascii_are_utf_8_in_a_path_and_anything_in_a_query() {
        for (bytes, expected) in [
            (&b"/\xc3\xa9"[..], Ok(&b"/%C3%A9"[..])),
            (b"/\xff", Err(ProtocolError::PathNotUtf8)),
            (b"/\xc3", Err(ProtocolError::PathNotUtf8)),
            (b"/\xc0\xaf", Err(ProtocolError::PathNotUtf8)),
            (b"/\xed\xa0\x80", Err(ProtocolError::PathNotUtf8)),
            (b"/a?\xff\xc0", Ok(b"/a?%FF%C0")),
        ] {
            let mut head = bytes.to_vec();
            let span = Span::new(0, head.len());
            let target = Target::parse(&mut head, span, Method::Get, &ROOM);
            let read = target.map(|target| [target.path(&head), target.query.of(&head)].concat());
            assert_eq!(read, expected.map(<[u8]>::to_vec), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_encoded_stays_within_the_bounds_of_the_head() {
        for (line, head, expected) in [
            (4, 4, Ok(())),
            (3, 4, Err(ProtocolError::RequestLineTooLong)),
            (4, 3, Err(ProtocolError::HeadTooLarge)),
        ] {
            let mut bytes = b"/[]".to_vec();
            let room = Room { line, head, oddities: STRICT };
            let parsed = Target::parse(&mut bytes, Span::new(0, 3), Method::Get, &room);
            assert_eq!(parsed.map(|_| ()), expected);
        }
        // Behind a head of any length.
        let mut bytes = [&b"/["[..], &[b'a'; 250_000]].concat();
        let (span, room) = (Span::new(0, 2), Room { line: 99, head: 99, oddities: STRICT });
        let target = Target::parse(&mut bytes, span, Method::Get, &room).expect("a target");
        assert_eq!(target.path.of(&bytes), b"/%5B");
    }
}
