//! Request targets (RFC 9112 §3.2).

use super::path::{self, escape, is_path_byte};
use super::{Method, ProtocolError, Span, host};

/// Where a request wants to go. The path is canonical; the query is as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The canonical path; empty in an absolute-form target without one. Use `path()`.
    pub path: Span,
    /// The query with its `?`, or nothing.
    pub query: Span,
    /// The authority of an absolute-form target, or nothing.
    pub authority: Span,
    /// The path has `;parameters`, raw or as `%3B`.
    pub has_parameters: bool,
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
    /// end and the query are left over.
    pub(crate) fn parse(head: &mut [u8], span: Span, method: Method) -> Result<Self, ProtocolError> {
        let range = span.range();
        match method {
            Method::Connect => return Err(ProtocolError::ConnectRefused),
            Method::Trace => return Err(ProtocolError::TraceRefused),
            _ => {}
        }
        match &head[range.clone()] {
            [] => Err(ProtocolError::InvalidTarget),
            [b'/', ..] => Self::parse_path(head, range.start, range.end),
            b"*" if method == Method::Options => {
                Ok(Self { path: span, is_asterisk: true, ..Self::default() })
            }
            b"*" => Err(ProtocolError::AsteriskForm),
            absolute => {
                let start = range.start + scheme(absolute)?;
                let rest = &head[start..range.end];
                let length = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
                host::check(&rest[..length])?;
                let authority = Span::new(start, start + length);
                let target = Self::parse_path(head, start + length, range.end)?;
                // RFC 9112 §3.2.4: OPTIONS with neither path nor query becomes `*`.
                let is_asterisk =
                    method == Method::Options && target.path.is_empty() && target.query.is_empty();
                Ok(Self { authority, is_asterisk, ..target })
            }
        }
    }

    fn parse_path(head: &mut [u8], start: usize, end: usize) -> Result<Self, ProtocolError> {
        let question = head[start..end].iter().position(|&byte| byte == b'?').map_or(end, |at| start + at);
        check_query(&head[question..end])?;
        if head[start..question].is_empty() {
            return Ok(Self { query: Span::new(question, end), ..Self::default() });
        }
        let length = path::canonicalise(&mut head[start..question])?;
        Ok(Self {
            path: Span::new(start, start + length),
            query: Span::new(question, end),
            has_parameters: path::has_parameters(&head[start..start + length]),
            ..Self::default()
        })
    }
}

/// Bytes of `scheme://`, which must be one of ours.
fn scheme(target: &[u8]) -> Result<usize, ProtocolError> {
    let is_scheme = |name: &[u8]| name.first().is_some_and(u8::is_ascii_alphabetic);
    match target.iter().position(|&byte| byte == b':') {
        Some(colon) if target[colon..].starts_with(b"://") && is_scheme(target) => {
            let ours =
                [b"http".as_slice(), b"https"].iter().any(|name| name.eq_ignore_ascii_case(&target[..colon]));
            if ours { Ok(colon + 3) } else { Err(ProtocolError::SchemeRefused) }
        }
        Some(_) if host::check(target).is_ok() => Err(ProtocolError::AuthorityForm),
        _ => Err(ProtocolError::InvalidTarget),
    }
}

/// RFC 3986 §3.4, and `[ ] | { } ^`, which browsers send unencoded (the URL standard's query state leaves
/// them) and no parser takes for a delimiter. Quotes, angle brackets and backslashes are encoded by every
/// client that means well.
fn check_query(query: &[u8]) -> Result<(), ProtocolError> {
    let mut at = 0;
    while at < query.len() {
        at += match query[at] {
            b'%' if escape(&query[at..]).is_some() => 3,
            b'%' => return Err(ProtocolError::QueryEscape),
            b'#' => return Err(ProtocolError::Fragment),
            byte if is_path_byte(byte) || b"?[]|{}^".contains(&byte) => 1,
            _ => return Err(ProtocolError::QueryByte),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, text: &str) -> Result<(String, String, String, bool), ProtocolError> {
        let mut head = text.as_bytes().to_vec();
        let target = Target::parse(&mut head, Span::new(0, text.len()), method)?;
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
            ("/a?%", ProtocolError::QueryEscape),
            ("/a?%4", ProtocolError::QueryEscape),
            ("/a?%4g", ProtocolError::QueryEscape),
            ("/a?\"", ProtocolError::QueryByte),
            ("/a?<", ProtocolError::QueryByte),
            ("/a?\\", ProtocolError::QueryByte),
            ("/a?\u{e9}", ProtocolError::QueryByte),
        ] {
            assert_eq!(parse(Method::Get, text), Err(error), "{text}");
        }
        assert_eq!(parse(Method::Connect, "h:443"), Err(ProtocolError::ConnectRefused));
        assert_eq!(parse(Method::Connect, "/"), Err(ProtocolError::ConnectRefused));
    }
}
