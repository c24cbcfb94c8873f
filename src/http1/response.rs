//! The head of an upstream's response, as a type that cannot be wrong.

use super::connection::{self, offers_websocket};
use super::field::values;
use super::{Field, FieldKind, Framing, HeadError, HeadLimits, Method, Span, Version};
use super::{declared, section};

/// A response's head. It is made to be kept and filled again: `parse` reuses its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, 100–599.
    pub status: u16,
    /// The version of the status line.
    pub version: Version,
    /// The reason phrase; often empty, never needed.
    pub reason: Span,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// Whether the upstream lets the connection go on. A body `UntilClose` ends it all the same.
    pub keep_alive: bool,
    /// The framing that the fields declare, `UntilClose` where they declare none. `framing()` is what holds.
    pub declared: Framing,
    /// `Upgrade` lists websocket and `Connection` lists upgrade: with a 101 the tunnel may begin.
    pub upgrade: bool,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            status: 0,
            version: Version::Http11,
            reason: Span::default(),
            fields: Vec::new(),
            keep_alive: false,
            declared: Framing::UntilClose,
            upgrade: false,
        }
    }
}

impl ResponseHead {
    /// Parses `head`, which is exactly what `HeadScan::response()` measured. After an error the contents
    /// mean nothing.
    pub fn parse(&mut self, head: &mut [u8], limits: &HeadLimits) -> Result<(), HeadError> {
        self.fields.clear();
        if head.len() > limits.head_bytes.min(usize::from(u16::MAX)) {
            return Err(HeadError::HeadTooLarge);
        }
        let fields_start = self.parse_line(head)?;
        section::read(head, fields_start, limits.fields, &mut self.fields)?;
        let options = connection::read(head, &mut self.fields)?;
        self.declared = declared::of_response(head, &self.fields, self.version)?;
        self.keep_alive = options.persists(self.version);
        self.upgrade = options.upgrade && offers_websocket(head, &self.fields);
        Ok(())
    }

    /// How the body is framed. RFC 9112 §6.3: responses to HEAD, 1xx, 204 and 304 have none, "regardless of
    /// the header fields present".
    pub fn framing(&self, request_method: Method) -> Framing {
        let bodiless = request_method.is_head() || matches!(self.status, 100..=199 | 204 | 304);
        if bodiless { Framing::None } else { self.declared }
    }

    /// The values of every field of that kind, in order.
    pub fn values<'a>(&'a self, head: &'a [u8], kind: FieldKind) -> impl Iterator<Item = &'a [u8]> {
        values(head, &self.fields, kind)
    }

    /// `version SP 3DIGIT [SP reason] CRLF`. Gives where the fields begin.
    fn parse_line(&mut self, head: &[u8]) -> Result<usize, HeadError> {
        let end = memchr::memchr(b'\n', head).ok_or(HeadError::HeadIncomplete)?;
        let line = head[..end].strip_suffix(b"\r").ok_or(HeadError::BareLf)?;
        section::check_bytes(line)?;
        let (version, rest) = line.split_at_checked(8).ok_or(HeadError::InvalidStatusLine)?;
        self.version = match Version::of(version) {
            Some(version) => version,
            None if version.starts_with(b"HTTP/") => return Err(HeadError::UnsupportedVersion),
            None => return Err(HeadError::NotHttp),
        };
        let status = rest.strip_prefix(b" ").and_then(|rest| rest.split_first_chunk::<3>());
        let Some((&[a, b, c], reason)) = status else { return Err(HeadError::InvalidStatusLine) };
        let reason_start = match reason {
            [] => line.len(),
            [b' ', reason @ ..] => line.len() - reason.len(),
            _ => return Err(HeadError::InvalidStatusLine),
        };
        if !(b'1'..=b'5').contains(&a) || !b.is_ascii_digit() || !c.is_ascii_digit() {
            return Err(HeadError::InvalidStatusLine);
        }
        let digit = |byte: u8| u16::from(byte - b'0');
        self.status = digit(a) * 100 + digit(b) * 10 + digit(c);
        self.reason = Span::new(reason_start, line.len());
        Ok(end + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(ResponseHead, Vec<u8>), HeadError> {
        let (mut head, mut response) = (text.as_bytes().to_vec(), ResponseHead::default());
        response.parse(&mut head, &HeadLimits::default())?;
        Ok((response, head))
    }

    #[test]
    fn a_response_in_its_parts() {
        let (response, head) = parse("HTTP/1.1 404 Not \u{e9}\r\nContent-Length: 3\r\n\r\n").unwrap();
        assert_eq!((response.status, response.reason.of(&head)), (404, "Not \u{e9}".as_bytes()));
        assert_eq!((response.declared, response.keep_alive), (Framing::Length(3), true));
        for line in ["HTTP/1.1 200", "HTTP/1.1 200 "] {
            let (response, _) = parse(&format!("{line}\r\n\r\n")).unwrap();
            assert_eq!((response.status, response.reason.len()), (200, 0), "{line:?}");
        }
    }

    #[test]
    fn every_malformed_status_line_has_its_name() {
        for (line, error) in [
            ("HTTP/1.1 099 x", HeadError::InvalidStatusLine),
            ("HTTP/1.1 600 x", HeadError::InvalidStatusLine),
            ("HTTP/1.1 20 x", HeadError::InvalidStatusLine),
            ("HTTP/1.1 2000 x", HeadError::InvalidStatusLine),
            ("HTTP/1.1 200x", HeadError::InvalidStatusLine),
            ("HTTP/1.1  200 x", HeadError::InvalidStatusLine),
            ("HTTP/1.1\t200 x", HeadError::InvalidStatusLine),
            ("HTTP/1.1 +20 x", HeadError::InvalidStatusLine),
            ("HTTP/1.1", HeadError::InvalidStatusLine),
            ("HTTP/1.", HeadError::InvalidStatusLine),
            ("HTTP/2.0 200 x", HeadError::UnsupportedVersion),
            ("HTTP/1.2 200 x", HeadError::UnsupportedVersion),
            ("<html>hello", HeadError::NotHttp),
            ("HTTP/1.1 200 a\0", HeadError::ControlByte),
            ("HTTP/1.1 200 a\rb", HeadError::BareCr),
        ] {
            assert_eq!(parse(&format!("{line}\r\n\r\n")).err(), Some(error), "{line:?}");
        }
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        for (status, method) in [
            (100, Method::Get),
            (101, Method::Get),
            (204, Method::Post),
            (304, Method::Get),
            (200, Method::Head),
        ] {
            for line in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
                let (response, _) = parse(&format!("HTTP/1.1 {status} x\r\n{line}\r\n")).unwrap();
                assert_eq!(response.framing(method), Framing::None, "{status} {line}");
            }
        }
        let framing =
            |lines: &str| parse(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).unwrap().0.framing(Method::Get);
        assert_eq!(framing(""), Framing::UntilClose);
        assert_eq!(framing("Content-Length: 0\r\n"), Framing::Length(0));
        assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Framing::Chunked);
    }

    #[test]
    fn an_upgrade_takes_both_fields() {
        let upgrade = |lines: &str| parse(&format!("HTTP/1.1 101 x\r\n{lines}\r\n")).unwrap().0.upgrade;
        assert!(upgrade("Upgrade: WebSocket\r\nConnection: Upgrade\r\n"));
        assert!(!upgrade("Upgrade: websocket\r\n") && !upgrade("Connection: upgrade\r\n"));
        assert!(!upgrade("Upgrade: h2c\r\nConnection: upgrade\r\n"));
    }

    #[test]
    fn an_old_upstream_must_ask_for_persistence() {
        let keeps = |text: &str| parse(text).unwrap().0.keep_alive;
        assert!(!keeps("HTTP/1.0 200 OK\r\n\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn half_a_head_is_no_head() {
        let bytes = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\n";
        for end in 0..bytes.len() {
            let found = ResponseHead::default().parse(&mut bytes[..end].to_vec(), &HeadLimits::default());
            assert!(found.is_err(), "{end}");
        }
    }
}
