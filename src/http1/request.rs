//! The head of a request: parsed and validated.

use super::connection::{self, offers_websocket};
use super::scan::check_version;
use super::{Framing, HeadLimits, Version, declared, section};
use crate::http::{FieldKind, Method, ProtocolError, Request, Room, Scheme, Span, Target};
use crate::http::{host, is_token, tokens, values};

/// What a request's head says to this connection alone, beside the [`Request`] itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// The version of the request line.
    pub version: Version,
    /// How the body is framed: `None`, `Length` or `Chunked`.
    pub framing: Framing,
    /// The client wants to go on after this exchange.
    pub keep_alive: bool,
}

impl RequestHead {
    /// Parses `head`, which is exactly what `HeadScan` measured, into `request`: an empty line before it may be there,
    /// the empty line after it must be. After an error the contents of `request` mean nothing.
    ///
    /// # Errors
    /// Which rule of the protocol the head breaks.
    pub fn parse(
        head: &[u8],
        limits: &HeadLimits,
        request: &mut Request,
    ) -> Result<RequestHead, ProtocolError> {
        request.bytes.clear();
        request.fields.clear();
        if head.len() > limits.head_bytes {
            return Err(ProtocolError::HeadTooLarge);
        }
        request.bytes.extend_from_slice(head);
        (request.received, request.refused_target) = (head.len(), Span::default());
        let start = if head.starts_with(b"\r\n") { 2 } else { 0 };
        let (version, target, fields_start) = parse_line(request, start, limits)?;
        let Request { bytes, fields, .. } = request;
        section::read(bytes, fields_start, limits.fields, fields)?;
        let options = connection::read(bytes, fields)?;
        let framing = declared::of_request(bytes, fields, version)?;
        request.body = framing.length();
        request.expects_continue = read_expectation(request, framing, version)?;
        request.is_websocket = request.method == Method::Get
            && version == Version::Http11
            && options.upgrade
            && offers_websocket(&request.bytes, &request.fields);
        let host = read_host(request, version)?;
        let room = Room {
            // Of the line all but the target is here: method, two spaces, `HTTP/1.1`.
            line: limits.request_line_bytes.saturating_sub(target.range().end - start + " HTTP/1.1".len()),
            head: limits.head_bytes.saturating_sub(head.len()),
            oddities: limits.oddities,
        };
        request.target = Target::parse(&mut request.bytes, target, request.method, &room)?;
        request.host = effective_host(request, host)?;
        Ok(RequestHead { version, framing, keep_alive: options.persists(version) })
    }
}

/// `method SP target SP version CRLF`, with exactly these two spaces. Gives the version, where the target stands and
/// where the fields begin.
fn parse_line(
    request: &mut Request,
    start: usize,
    limits: &HeadLimits,
) -> Result<(Version, Span, usize), ProtocolError> {
    let head = request.bytes.as_slice();
    let end = memchr::memchr(b'\n', &head[start..]).ok_or(ProtocolError::HeadIncomplete)? + start;
    let line = head[start..end].strip_suffix(b"\r").ok_or(ProtocolError::BareLf)?;
    if line.len() > limits.request_line_bytes {
        return Err(ProtocolError::RequestLineTooLong);
    }
    section::check_bytes(line)?;
    let mut parts = line.split(|&byte| byte == b' ');
    let method = parts.next().filter(|method| is_token(method)).ok_or(ProtocolError::InvalidMethod)?;
    let version = check_version(line)?;
    let (Some(target), Some(_version), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ProtocolError::InvalidRequestLine);
    };
    let target_start = start + method.len() + 1;
    let target = Span::new(target_start, target_start + target.len());
    request.method_name = Span::new(start, start + method.len());
    request.method = Method::of(method);
    Ok((version, target, end + 1))
}

/// RFC 9110 §10.1.1: an HTTP/1.0 client's `100-continue` is ignored.
fn read_expectation(request: &Request, framing: Framing, version: Version) -> Result<bool, ProtocolError> {
    let mut expects = false;
    for value in values(&request.bytes, &request.fields, FieldKind::Expect) {
        expects = true;
        let mut known = tokens(value).map(|token| token.eq_ignore_ascii_case(b"100-continue")).peekable();
        if known.peek().is_none() || known.any(|known| !known) {
            return Err(ProtocolError::Expectation);
        }
    }
    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    Ok(expects && has_body && version == Version::Http11)
}

/// The one Host field; nothing in an HTTP/1.0 request without.
fn read_host(request: &Request, version: Version) -> Result<Span, ProtocolError> {
    let mut hosts = request.fields.iter().filter(|field| field.kind == FieldKind::Host);
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::Http10 => Ok(Span::default()),
        (None, _) => Err(ProtocolError::MissingHost),
        (Some(_), Some(_)) => Err(ProtocolError::DuplicateHost),
        (Some(field), None) => host::check(field.value.of(&request.bytes)).map(|()| field.value),
    }
}

fn effective_host(request: &Request, host: Span) -> Result<Span, ProtocolError> {
    let (head, authority) = (&request.bytes, request.target.authority);
    match (authority.is_empty(), host.is_empty()) {
        (true, _) => Ok(host),
        (false, true) => Ok(authority),
        (false, false) => {
            let scheme = request.target.scheme.unwrap_or(Scheme::Http);
            match host::is_same(authority.of(head), host.of(head), scheme) {
                true => Ok(host),
                false => Err(ProtocolError::HostMismatch),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::BodyLength;
    use crate::http1::HeadScan;

    fn parse(text: &str) -> Result<(Request, RequestHead), ProtocolError> {
        let mut request = Request::default();
        let head = RequestHead::parse(text.as_bytes(), &HeadLimits::default(), &mut request)?;
        Ok((request, head))
    }

    /// A GET with Host and these field lines.
    fn get(lines: &str) -> Result<(Request, RequestHead), ProtocolError> {
        parse(&format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n"))
    }

    #[test]
    fn a_request_in_its_parts() {
        let (request, head) =
            parse("\r\nPOST /%61?b HTTP/1.1\r\nHost: h:80\r\nContent-Length: 3\r\nA: b\r\nA: c\r\n\r\n")
                .unwrap();
        assert_eq!((request.method, request.method_name()), (Method::Post, b"POST".as_slice()));
        assert_eq!((request.path(), request.query()), (b"/a".as_slice(), b"?b".as_slice()));
        assert_eq!((request.host(), head.framing), (b"h:80".as_slice(), Framing::Length(3)));
        assert_eq!(request.body, BodyLength::Exact(3));
        assert!(head.keep_alive && !request.expects_continue && !request.is_websocket);
        assert_eq!(request.values(FieldKind::Other).collect::<Vec<_>>(), [b"b", b"c"]);
    }

    #[test]
    fn a_head_is_filled_again_without_a_trace_of_the_last_one() {
        let (mut request, limits) = (Request::default(), HeadLimits::default());
        let first = b"POST http://a/b;c?d HTTP/1.0\r\nConnection: x\r\nX: 1\r\nContent-Length: 9\r\n\r\n";
        RequestHead::parse(first, &limits, &mut request).unwrap();
        let head = RequestHead::parse(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", &limits, &mut request).unwrap();
        assert_eq!((request, head), get("").unwrap());
    }

    #[test]
    fn split_anywhere_the_head_parses_the_same() {
        let bytes = b"\r\nGET /%61 HTTP/1.1\r\nHost: h\r\nConnection: X\r\nX: y\r\n\r\nGET /next";
        let length = bytes.len() - 9;
        for cut in 0..=bytes.len() {
            let mut scan = HeadScan::default();
            let limits = HeadLimits::default();
            let found = scan.advance(&bytes[..cut], &limits).unwrap();
            assert_eq!(found.or(scan.advance(bytes, &limits).unwrap()), Some(length), "cut at {cut}");
        }
        let limits = HeadLimits::default();
        RequestHead::parse(&bytes[..length], &limits, &mut Request::default()).unwrap();
        for end in 0..length {
            let cut = RequestHead::parse(&bytes[..end], &limits, &mut Request::default());
            assert!(cut.is_err(), "half a head is no head: {end}");
        }
    }

    #[test]
    fn every_malformed_request_line_has_its_name() {
        for (line, error) in [
            ("GET  / HTTP/1.1", ProtocolError::InvalidRequestLine),
            ("GET /  HTTP/1.1", ProtocolError::InvalidRequestLine),
            ("GET / x HTTP/1.1", ProtocolError::InvalidRequestLine),
            ("GET HTTP/1.1", ProtocolError::InvalidRequestLine),
            ("GET / HTTP/1.1 ", ProtocolError::InvalidRequestLine),
            ("GET /", ProtocolError::InvalidRequestLine),
            ("GET / http/1.1", ProtocolError::InvalidRequestLine),
            (" GET / HTTP/1.1", ProtocolError::InvalidMethod),
            ("G@T / HTTP/1.1", ProtocolError::InvalidMethod),
            ("GET\t/\tHTTP/1.1", ProtocolError::InvalidMethod),
            ("GET / HTTP/1.2", ProtocolError::UnsupportedVersion),
            ("GET / HTTP/2.0", ProtocolError::UnsupportedVersion),
            ("GET / HTTP/1.10", ProtocolError::UnsupportedVersion),
            ("PRI * HTTP/2.0", ProtocolError::UnsupportedVersion),
            ("GET /\0 HTTP/1.1", ProtocolError::ControlByte),
            ("GET /\r HTTP/1.1", ProtocolError::BareCr),
            ("GET /\tx HTTP/1.1", ProtocolError::PathByte),
            ("GET /\u{85} HTTP/1.1", ProtocolError::PathControl),
            ("CONNECT h:443 HTTP/1.1", ProtocolError::ConnectRefused),
            ("GET * HTTP/1.1", ProtocolError::AsteriskForm),
            ("GET h:443 HTTP/1.1", ProtocolError::AuthorityForm),
        ] {
            assert_eq!(parse(&format!("{line}\r\nHost: h\r\n\r\n")).err(), Some(error), "{line:?}");
        }
    }

    #[test]
    fn http11_needs_exactly_one_valid_host() {
        let host = |text: &str| parse(text).map(|(request, _)| request.host().to_vec());
        assert_eq!(host("GET / HTTP/1.1\r\n\r\n"), Err(ProtocolError::MissingHost));
        assert_eq!(host("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), Err(ProtocolError::DuplicateHost));
        assert_eq!(host("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Err(ProtocolError::InvalidHost));
        assert_eq!(host("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), Err(ProtocolError::InvalidHost));
        assert_eq!(host("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), Err(ProtocolError::InvalidHost));
        assert_eq!(host("GET / HTTP/1.0\r\n\r\n"), Ok(b"".to_vec()));
        assert_eq!(host("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), Err(ProtocolError::DuplicateHost));
        assert_eq!(host("GET http://b/ HTTP/1.0\r\n\r\n"), Ok(b"b".to_vec()));
        assert_eq!(host("GET http://b/ HTTP/1.1\r\n\r\n"), Err(ProtocolError::MissingHost));
        assert_eq!(host("GET http://B/ HTTP/1.1\r\nHost: b\r\n\r\n"), Ok(b"b".to_vec()));
        assert_eq!(host("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"), Err(ProtocolError::HostMismatch));
        assert_eq!(host("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(b"a".to_vec()));
        assert_eq!(host("GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n"), Ok(b"a:80".to_vec()));
        assert_eq!(host("GET https://a:443/ HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(b"a".to_vec()));
        assert_eq!(host("GET http://a:443/ HTTP/1.1\r\nHost: a\r\n\r\n"), Err(ProtocolError::HostMismatch));
        assert_eq!(host("GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"), Err(ProtocolError::HostMismatch));
        assert_eq!(host("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"), Err(ProtocolError::HostMismatch));
    }

    #[test]
    fn the_only_expectation_is_100_continue() {
        let expects = |lines: &str| get(lines).map(|(request, _)| request.expects_continue);
        assert_eq!(expects("Expect: 100-Continue\r\nContent-Length: 1\r\n"), Ok(true));
        assert_eq!(expects("Expect: 100-continue\r\n"), Ok(false), "there is no body to wait for");
        for value in ["", "x", "100-continue, x", "100-continued"] {
            assert_eq!(
                expects(&format!("Expect: {value}\r\n")),
                Err(ProtocolError::Expectation),
                "{value:?}"
            );
        }
        let old = parse("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").unwrap().0;
        assert!(!old.expects_continue);
    }

    #[test]
    fn only_a_complete_handshake_is_a_websocket() {
        let asked = "Upgrade: h2c, WebSocket\r\nConnection: keep-alive, Upgrade\r\n";
        assert!(get(asked).unwrap().0.is_websocket);
        assert!(!get("Upgrade: websocket\r\n").unwrap().0.is_websocket);
        assert!(!get("Connection: upgrade\r\n").unwrap().0.is_websocket);
        assert!(!get("Upgrade: h2c\r\nConnection: upgrade\r\n").unwrap().0.is_websocket);
        for line in ["POST / HTTP/1.1", "GET / HTTP/1.0"] {
            assert!(!parse(&format!("{line}\r\nHost: h\r\n{asked}\r\n")).unwrap().0.is_websocket, "{line}");
        }
    }

    #[test]
    fn refuses_the_spellings_of_request_smuggling() {
        for (lines, error) in [
            ("Transfer-Encoding : chunked\r\n", ProtocolError::SpaceBeforeColon),
            ("Transfer-Encoding\t: chunked\r\n", ProtocolError::SpaceBeforeColon),
            ("Transfer-Encoding: \x0bchunked\r\n", ProtocolError::ControlByte),
            ("Transfer-Encoding: \x0cchunked\r\n", ProtocolError::ControlByte),
            ("Transfer-Encoding:\r\n chunked\r\n", ProtocolError::ObsFold),
            ("Transfer-Encoding: chunked\r\n\tX: y\r\n", ProtocolError::ObsFold),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                ProtocolError::TransferEncodingInvalid,
            ),
            ("X: y\rTransfer-Encoding: chunked\r\n", ProtocolError::BareCr),
            ("X: y\nTransfer-Encoding: chunked\r\n", ProtocolError::BareLf),
            ("X: y\0\r\n", ProtocolError::ControlByte),
            ("Content-Length: +5\r\n", ProtocolError::ContentLengthInvalid),
            ("Content-Length: 5, 5\r\n", ProtocolError::ContentLengthInvalid),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", ProtocolError::ContentLengthDuplicate),
            ("Content-Length: 5\r\nContent-Length:\r\n", ProtocolError::ContentLengthDuplicate),
            ("Content-Length:\r\n", ProtocolError::ContentLengthInvalid),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", ProtocolError::LengthAndEncoding),
            ("Content-Length\u{a0}: 5\r\n", ProtocolError::InvalidFieldName),
            ("\u{feff}Content-Length: 5\r\n", ProtocolError::InvalidFieldName),
            ("GET /admin HTTP/1.1\r\n", ProtocolError::InvalidFieldName),
            ("GET http://h/ HTTP/1.1\r\n", ProtocolError::InvalidFieldName),
            ("Transfer-Encoding: chunked\x01\r\n", ProtocolError::ControlByte),
            ("Transfer-Encoding: chunked\u{85}\r\n", ProtocolError::TransferEncodingInvalid),
            ("Transfer-Encoding: \u{a0}chunked\r\n", ProtocolError::TransferEncodingInvalid),
            (
                "Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n",
                ProtocolError::TransferEncodingInvalid,
            ),
            ("Transfer-Encoding:\r\n", ProtocolError::TransferEncodingInvalid),
            ("Transfer-Encoding: chunked\r\r\n", ProtocolError::BareCr),
            ("Content-Length: 18446744073709551621\r\n", ProtocolError::ContentLengthInvalid),
            ("Content-Length: \u{ff15}\r\n", ProtocolError::ContentLengthInvalid),
            ("Content-Length: 5\r\nContent-Length: 05\r\n", ProtocolError::ContentLengthDuplicate),
            ("Connection: content-length\r\nContent-Length: 5x\r\n", ProtocolError::ContentLengthInvalid),
            ("Host: h\r\n", ProtocolError::DuplicateHost),
            (": x\r\n", ProtocolError::EmptyFieldName),
        ] {
            assert_eq!(get(lines).err(), Some(error), "{lines:?}");
        }
        let folded = parse("GET / HTTP/1.1\r\n Host: h\r\nHost: h\r\n\r\n");
        assert_eq!(folded.err(), Some(ProtocolError::ObsFold), "white space right after the request line");
    }

    #[test]
    fn a_nominated_or_folded_framing_field_changes_nothing() {
        let framing = |lines: &str| get(lines).map(|(_, head)| head.framing);
        let nominated = "Connection: content-length, host\r\nContent-Length: 5\r\n";
        assert_eq!(framing(nominated), Ok(Framing::Length(5)));
        assert_eq!(framing("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("Transfer-Encoding:chunked\t \r\n"), Ok(Framing::Chunked));
    }

    #[test]
    fn the_bounds_hold_without_a_scan_too() {
        let limits = HeadLimits { head_bytes: 60, request_line_bytes: 16, fields: 2, ..HeadLimits::DEFAULT };
        let parse =
            |text: &str| RequestHead::parse(text.as_bytes(), &limits, &mut Request::default()).map(|_| ());
        assert_eq!(parse("GET /ab HTTP/1.1\r\nHost: h\r\n\r\n"), Ok(()));
        assert_eq!(parse("GET /abc HTTP/1.1\r\nHost: h\r\n\r\n"), Err(ProtocolError::RequestLineTooLong));
        assert_eq!(
            parse("GET / HTTP/1.1\r\nA: b\r\nC: d\r\nHost: h\r\n\r\n"),
            Err(ProtocolError::TooManyFields)
        );
        let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(40));
        assert_eq!(parse(&long), Err(ProtocolError::HeadTooLarge));
    }
}
