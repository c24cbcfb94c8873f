//! The head of an upstream's response: parsed and validated.

use super::connection::{self, offers_websocket};
use super::{Framing, HeadLimits, Version, declared, section};
use crate::http::{Method, ProtocolError, Response, Span};

/// What a response's head says to this connection alone, beside the [`Response`] itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// How the body that follows is framed.
    pub framing: Framing,
    /// The upstream lets the connection go on. A body `UntilClose` ends it all the same.
    pub keep_alive: bool,
}

impl ResponseHead {
    /// Parses `head`, which is exactly what `HeadScan::response()` measured, into `response`, whose spans are ranges of
    /// it. `method`: what was asked. After an error the contents of `response` mean nothing.
    ///
    /// # Errors
    /// Which rule of the protocol the head breaks.
    pub fn parse(
        head: &[u8],
        limits: &HeadLimits,
        method: Method,
        response: &mut Response,
    ) -> Result<ResponseHead, ProtocolError> {
        response.fields.clear();
        if head.len() > limits.head_bytes {
            return Err(ProtocolError::HeadTooLarge);
        }
        let (version, fields_start) = parse_line(head, response)?;
        let fields = &mut response.fields;
        section::read(head, fields_start, limits.fields, fields)?;
        let options = connection::read(head, fields)?;
        let declared = declared::of_response(head, fields, version)?;
        response.is_websocket = options.upgrade && offers_websocket(head, fields);
        let framing = framing(response.status, method, declared);
        response.body = framing.length();
        response.announced = match declared {
            // "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx
            // (Informational) or 204 (No Content)" (RFC 9110 §8.6).
            Framing::Length(length) if response.status != 204 => Some(length),
            _ => None,
        };
        Ok(ResponseHead { framing, keep_alive: options.persists(version) })
    }
}

/// How the body is framed. RFC 9112 §6.3: responses to HEAD, 1xx, 204 and 304 have none, "regardless of the header
/// fields present".
fn framing(status: u16, method: Method, declared: Framing) -> Framing {
    let is_bodiless = method.is_head() || matches!(status, 100..=199 | 204 | 304);
    if is_bodiless { Framing::None } else { declared }
}

/// `version SP 3DIGIT [SP reason] CRLF`. Gives the version and where the fields begin.
fn parse_line(head: &[u8], response: &mut Response) -> Result<(Version, usize), ProtocolError> {
    let end = memchr::memchr(b'\n', head).ok_or(ProtocolError::HeadIncomplete)?;
    let line = head[..end].strip_suffix(b"\r").ok_or(ProtocolError::BareLf)?;
    section::check_bytes(line)?;
    let (version, rest) = line.split_at_checked(8).ok_or(ProtocolError::InvalidStatusLine)?;
    let version = match Version::of(version) {
        Some(version) => version,
        None if version.starts_with(b"HTTP/") => return Err(ProtocolError::UnsupportedVersion),
        None => return Err(ProtocolError::NotHttp),
    };
    let status = rest.strip_prefix(b" ").and_then(|rest| rest.split_first_chunk::<3>());
    let Some((&[a, b, c], reason)) = status else { return Err(ProtocolError::InvalidStatusLine) };
    let reason_start = match reason {
        [] => line.len(),
        [b' ', reason @ ..] => line.len() - reason.len(),
        _ => return Err(ProtocolError::InvalidStatusLine),
    };
    if !(b'1'..=b'5').contains(&a) || !b.is_ascii_digit() || !c.is_ascii_digit() {
        return Err(ProtocolError::InvalidStatusLine);
    }
    let digit = |byte: u8| u16::from(byte - b'0');
    response.status = digit(a) * 100 + digit(b) * 10 + digit(c);
    response.reason = Span::new(reason_start, line.len());
    Ok((version, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::BodyLength;

    fn parse(text: &str) -> Result<(Response, ResponseHead), ProtocolError> {
        answer_to(Method::Get, text)
    }

    fn answer_to(method: Method, text: &str) -> Result<(Response, ResponseHead), ProtocolError> {
        let mut response = Response::default();
        let head = ResponseHead::parse(text.as_bytes(), &HeadLimits::default(), method, &mut response)?;
        Ok((response, head))
    }

    #[test]
    fn a_response_in_its_parts() {
        let text = "HTTP/1.1 404 Not \u{e9}\r\nContent-Length: 3\r\n\r\n";
        let (response, head) = parse(text).unwrap();
        assert_eq!((response.status, response.reason.of(text.as_bytes())), (404, "Not \u{e9}".as_bytes()));
        assert_eq!((head.framing, head.keep_alive), (Framing::Length(3), true));
        assert_eq!((response.body, response.announced), (BodyLength::Exact(3), Some(3)));
        for line in ["HTTP/1.1 200", "HTTP/1.1 200 "] {
            let (response, _) = parse(&format!("{line}\r\n\r\n")).unwrap();
            assert_eq!((response.status, response.reason.len()), (200, 0), "{line:?}");
        }
    }

    #[test]
    fn every_malformed_status_line_has_its_name() {
        for (line, error) in [
            ("HTTP/1.1 099 x", ProtocolError::InvalidStatusLine),
            ("HTTP/1.1 600 x", ProtocolError::InvalidStatusLine),
            ("HTTP/1.1 20 x", ProtocolError::InvalidStatusLine),
            ("HTTP/1.1 2000 x", ProtocolError::InvalidStatusLine),
            ("HTTP/1.1 200x", ProtocolError::InvalidStatusLine),
            ("HTTP/1.1  200 x", ProtocolError::InvalidStatusLine),
            ("HTTP/1.1\t200 x", ProtocolError::InvalidStatusLine),
            ("HTTP/1.1 +20 x", ProtocolError::InvalidStatusLine),
            ("HTTP/1.1", ProtocolError::InvalidStatusLine),
            ("HTTP/1.", ProtocolError::InvalidStatusLine),
            ("HTTP/2.0 200 x", ProtocolError::UnsupportedVersion),
            ("HTTP/1.2 200 x", ProtocolError::UnsupportedVersion),
            ("<html>hello", ProtocolError::NotHttp),
            ("HTTP/1.1 200 a\0", ProtocolError::ControlByte),
            ("HTTP/1.1 200 a\rb", ProtocolError::BareCr),
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
                let text = format!("HTTP/1.1 {status} x\r\n{line}\r\n");
                let (response, head) = answer_to(method, &text).unwrap();
                assert_eq!(
                    (head.framing, response.body),
                    (Framing::None, BodyLength::None),
                    "{status} {line}"
                );
                let announced = line.starts_with("Content") && status != 204;
                assert_eq!(response.announced, announced.then_some(5), "{status} {line}");
            }
        }
        let framing = |lines: &str| parse(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).unwrap().1.framing;
        assert_eq!(framing(""), Framing::UntilClose);
        assert_eq!(framing("Content-Length: 0\r\n"), Framing::Length(0));
        assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Framing::Chunked);
    }

    #[test]
    fn an_upgrade_takes_both_fields() {
        let upgrade = |lines: &str| parse(&format!("HTTP/1.1 101 x\r\n{lines}\r\n")).unwrap().0.is_websocket;
        assert!(upgrade("Upgrade: WebSocket\r\nConnection: Upgrade\r\n"));
        assert!(!upgrade("Upgrade: websocket\r\n") && !upgrade("Connection: upgrade\r\n"));
        assert!(!upgrade("Upgrade: h2c\r\nConnection: upgrade\r\n"));
    }

    #[test]
    fn an_old_upstream_must_ask_for_persistence() {
        let keeps = |text: &str| parse(text).unwrap().1.keep_alive;
        assert!(!keeps("HTTP/1.0 200 OK\r\n\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn half_a_head_is_no_head() {
        let bytes = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\n";
        for end in 0..bytes.len() {
            let limits = HeadLimits::default();
            let found = ResponseHead::parse(&bytes[..end], &limits, Method::Get, &mut Response::default());
            assert!(found.is_err(), "{end}");
        }
    }
}
