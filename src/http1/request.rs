//! The head of a request, as a type that cannot be wrong.

use super::connection::{self, offers_websocket};
use super::field::{is_token, tokens, values};
use super::scan::check_version;
use super::{Field, FieldKind, Framing, HeadError, HeadLimits, Method, Span, Target, Version};
use super::{declared, host, section};

/// A request's head. It is made to be kept and filled again: `parse` reuses its memory.
///
/// Every span is one of the head that was parsed, whose path it made canonical in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Its name as it came: of `Method::Other` the only name.
    pub method_name: Span,
    /// The version of the request line.
    pub version: Version,
    /// The request target.
    pub target: Target,
    /// The effective authority: Host, which an absolute-form target must equal. Empty only in an HTTP/1.0
    /// request that names none.
    pub host: Span,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// How the body is framed: `None`, `Length` or `Chunked`.
    pub framing: Framing,
    /// Whether the client wants to go on after this exchange.
    pub keep_alive: bool,
    /// The client waits for a 100 before it sends the body.
    pub expect_continue: bool,
    /// A WebSocket handshake is asked for: GET, HTTP/1.1, `Upgrade` listing websocket, `Connection` listing
    /// upgrade. Key, version and the absence of a body are for the handshake to check.
    pub websocket: bool,
}

impl RequestHead {
    /// Parses `head`, which is exactly what `HeadScan` measured: an empty line before it may be there, the
    /// empty line after it must be. After an error the contents mean nothing.
    pub fn parse(&mut self, head: &mut [u8], limits: &HeadLimits) -> Result<(), HeadError> {
        self.fields.clear();
        if head.len() > limits.head_bytes.min(usize::from(u16::MAX)) {
            return Err(HeadError::HeadTooLarge);
        }
        let start = if head.starts_with(b"\r\n") { 2 } else { 0 };
        let (target, fields_start) = self.parse_line(head, start, limits)?;
        section::read(head, fields_start, limits.fields, &mut self.fields)?;

        let options = connection::read(head, &mut self.fields)?;
        self.framing = declared::of_request(head, &self.fields, self.version)?;
        self.keep_alive = options.persists(self.version);
        self.expect_continue = self.read_expectation(head)?;
        self.websocket = self.method == Method::Get
            && self.version == Version::Http11
            && options.upgrade
            && offers_websocket(head, &self.fields);

        let host = self.read_host(head)?;
        self.target = Target::parse(head, target, self.method)?;
        self.host = self.effective_host(head, host)?;
        Ok(())
    }

    /// The values of every field of that kind, in order.
    pub fn values<'a>(&'a self, head: &'a [u8], kind: FieldKind) -> impl Iterator<Item = &'a [u8]> {
        values(head, &self.fields, kind)
    }

    /// `method SP target SP version CRLF`, with exactly these two spaces. Gives where the target stands and
    /// where the fields begin.
    fn parse_line(
        &mut self,
        head: &[u8],
        start: usize,
        limits: &HeadLimits,
    ) -> Result<(Span, usize), HeadError> {
        let end = memchr::memchr(b'\n', &head[start..]).ok_or(HeadError::HeadIncomplete)? + start;
        let line = head[start..end].strip_suffix(b"\r").ok_or(HeadError::BareLf)?;
        if line.len() > limits.request_line_bytes {
            return Err(HeadError::RequestLineTooLong);
        }
        section::check_bytes(line)?;
        let mut parts = line.split(|&byte| byte == b' ');
        let method = parts.next().filter(|method| is_token(method)).ok_or(HeadError::InvalidMethod)?;
        self.version = check_version(line)?;
        let (Some(target), Some(_version), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(HeadError::InvalidRequestLine);
        };
        self.method = Method::of(method);
        self.method_name = Span::new(start, start + method.len());
        let target_start = start + method.len() + 1;
        Ok((Span::new(target_start, target_start + target.len()), end + 1))
    }

    /// RFC 9110 §10.1.1: an HTTP/1.0 client's `100-continue` is ignored.
    fn read_expectation(&self, head: &[u8]) -> Result<bool, HeadError> {
        let mut expects = false;
        for value in self.values(head, FieldKind::Expect) {
            expects = true;
            let mut known = tokens(value).map(|token| token.eq_ignore_ascii_case(b"100-continue")).peekable();
            if known.peek().is_none() || known.any(|known| !known) {
                return Err(HeadError::Expectation);
            }
        }
        let has_body = !matches!(self.framing, Framing::None | Framing::Length(0));
        Ok(expects && has_body && self.version == Version::Http11)
    }

    /// The one Host field; nothing in an HTTP/1.0 request without.
    fn read_host(&self, head: &[u8]) -> Result<Span, HeadError> {
        let mut hosts = self.fields.iter().filter(|field| field.kind == FieldKind::Host);
        match (hosts.next(), hosts.next()) {
            (None, _) if self.version == Version::Http10 => Ok(Span::default()),
            (None, _) => Err(HeadError::MissingHost),
            (Some(_), Some(_)) => Err(HeadError::DuplicateHost),
            (Some(field), None) => host::check(field.value.of(head)).map(|()| field.value),
        }
    }

    fn effective_host(&self, head: &[u8], host: Span) -> Result<Span, HeadError> {
        let authority = self.target.authority;
        match (authority.is_empty(), host.is_empty()) {
            (true, _) => Ok(host),
            (false, true) => Ok(authority),
            (false, false) if authority.of(head).eq_ignore_ascii_case(host.of(head)) => Ok(host),
            (false, false) => Err(HeadError::HostMismatch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::HeadScan;

    fn parse(text: &str) -> Result<(RequestHead, Vec<u8>), HeadError> {
        let (mut head, mut request) = (text.as_bytes().to_vec(), RequestHead::default());
        request.parse(&mut head, &HeadLimits::default())?;
        Ok((request, head))
    }

    /// A GET with Host and these field lines.
    fn get(lines: &str) -> Result<RequestHead, HeadError> {
        parse(&format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n")).map(|(request, _)| request)
    }

    #[test]
    fn a_request_in_its_parts() {
        let (request, head) =
            parse("\r\nPOST /%61?b HTTP/1.1\r\nHost: h:80\r\nContent-Length: 3\r\nA: b\r\nA: c\r\n\r\n")
                .unwrap();
        assert_eq!((request.method, request.method_name.of(&head)), (Method::Post, b"POST".as_slice()));
        assert_eq!(
            (request.target.path(&head), request.target.query.of(&head)),
            (b"/a".as_slice(), b"?b".as_slice())
        );
        assert_eq!((request.host.of(&head), request.framing), (b"h:80".as_slice(), Framing::Length(3)));
        assert!(request.keep_alive && !request.expect_continue && !request.websocket);
        assert_eq!(request.values(&head, FieldKind::Other).collect::<Vec<_>>(), [b"b", b"c"]);
    }

    #[test]
    fn a_head_is_filled_again_without_a_trace_of_the_last_one() {
        let mut request = RequestHead::default();
        let mut first =
            b"POST http://a/b;c?d HTTP/1.0\r\nConnection: x\r\nX: 1\r\nContent-Length: 9\r\n\r\n".to_vec();
        request.parse(&mut first, &HeadLimits::default()).unwrap();
        let mut second = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
        request.parse(&mut second, &HeadLimits::default()).unwrap();
        assert_eq!(Ok(request), get("").map_err(|_| ()));
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
        let mut head = bytes[..length].to_vec();
        RequestHead::default().parse(&mut head, &HeadLimits::default()).unwrap();
        for end in 0..length {
            let cut = RequestHead::default().parse(&mut bytes[..end].to_vec(), &HeadLimits::default());
            assert!(cut.is_err(), "half a head is no head: {end}");
        }
    }

    #[test]
    fn every_malformed_request_line_has_its_name() {
        for (line, error) in [
            ("GET  / HTTP/1.1", HeadError::InvalidRequestLine),
            ("GET /  HTTP/1.1", HeadError::InvalidRequestLine),
            ("GET / x HTTP/1.1", HeadError::InvalidRequestLine),
            ("GET HTTP/1.1", HeadError::InvalidRequestLine),
            ("GET / HTTP/1.1 ", HeadError::InvalidRequestLine),
            ("GET /", HeadError::InvalidRequestLine),
            ("GET / http/1.1", HeadError::InvalidRequestLine),
            (" GET / HTTP/1.1", HeadError::InvalidMethod),
            ("G@T / HTTP/1.1", HeadError::InvalidMethod),
            ("GET\t/\tHTTP/1.1", HeadError::InvalidMethod),
            ("GET / HTTP/1.2", HeadError::UnsupportedVersion),
            ("GET / HTTP/2.0", HeadError::UnsupportedVersion),
            ("GET / HTTP/1.10", HeadError::UnsupportedVersion),
            ("PRI * HTTP/2.0", HeadError::UnsupportedVersion),
            ("GET /\0 HTTP/1.1", HeadError::ControlByte),
            ("GET /\r HTTP/1.1", HeadError::BareCr),
            ("GET /\tx HTTP/1.1", HeadError::PathByte),
            ("GET /\u{a0} HTTP/1.1", HeadError::PathByte),
            ("CONNECT h:443 HTTP/1.1", HeadError::ConnectRefused),
            ("GET * HTTP/1.1", HeadError::AsteriskForm),
            ("GET h:443 HTTP/1.1", HeadError::AuthorityForm),
        ] {
            assert_eq!(parse(&format!("{line}\r\nHost: h\r\n\r\n")).err(), Some(error), "{line:?}");
        }
    }

    #[test]
    fn http11_needs_exactly_one_valid_host() {
        let host = |text: &str| parse(text).map(|(request, head)| request.host.of(&head).to_vec());
        assert_eq!(host("GET / HTTP/1.1\r\n\r\n"), Err(HeadError::MissingHost));
        assert_eq!(host("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), Err(HeadError::DuplicateHost));
        assert_eq!(host("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Err(HeadError::InvalidHost));
        assert_eq!(host("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), Err(HeadError::InvalidHost));
        assert_eq!(host("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), Err(HeadError::InvalidHost));
        assert_eq!(host("GET / HTTP/1.0\r\n\r\n"), Ok(b"".to_vec()));
        assert_eq!(host("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), Err(HeadError::DuplicateHost));
        assert_eq!(host("GET http://b/ HTTP/1.0\r\n\r\n"), Ok(b"b".to_vec()));
        assert_eq!(host("GET http://b/ HTTP/1.1\r\n\r\n"), Err(HeadError::MissingHost));
        assert_eq!(host("GET http://B/ HTTP/1.1\r\nHost: b\r\n\r\n"), Ok(b"b".to_vec()));
        assert_eq!(host("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"), Err(HeadError::HostMismatch));
        assert_eq!(host("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"), Err(HeadError::HostMismatch));
    }

    #[test]
    fn the_only_expectation_is_100_continue() {
        let expects = |lines: &str| get(lines).map(|request| request.expect_continue);
        assert_eq!(expects("Expect: 100-Continue\r\nContent-Length: 1\r\n"), Ok(true));
        assert_eq!(expects("Expect: 100-continue\r\n"), Ok(false), "there is no body to wait for");
        for value in ["", "x", "100-continue, x", "100-continued"] {
            assert_eq!(expects(&format!("Expect: {value}\r\n")), Err(HeadError::Expectation), "{value:?}");
        }
        let old = parse("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").unwrap().0;
        assert!(!old.expect_continue);
    }

    #[test]
    fn only_a_complete_handshake_is_a_websocket() {
        let asked = "Upgrade: h2c, WebSocket\r\nConnection: keep-alive, Upgrade\r\n";
        assert!(get(asked).unwrap().websocket);
        assert!(!get("Upgrade: websocket\r\n").unwrap().websocket);
        assert!(!get("Connection: upgrade\r\n").unwrap().websocket);
        assert!(!get("Upgrade: h2c\r\nConnection: upgrade\r\n").unwrap().websocket);
        for line in ["POST / HTTP/1.1", "GET / HTTP/1.0"] {
            assert!(!parse(&format!("{line}\r\nHost: h\r\n{asked}\r\n")).unwrap().0.websocket, "{line}");
        }
    }

    #[test]
    fn refuses_the_spellings_of_request_smuggling() {
        for (lines, error) in [
            ("Transfer-Encoding : chunked\r\n", HeadError::SpaceBeforeColon),
            ("Transfer-Encoding\t: chunked\r\n", HeadError::SpaceBeforeColon),
            ("Transfer-Encoding: \x0bchunked\r\n", HeadError::ControlByte),
            ("Transfer-Encoding: \x0cchunked\r\n", HeadError::ControlByte),
            ("Transfer-Encoding:\r\n chunked\r\n", HeadError::ObsFold),
            ("Transfer-Encoding: chunked\r\n\tX: y\r\n", HeadError::ObsFold),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                HeadError::TransferEncodingInvalid,
            ),
            ("X: y\rTransfer-Encoding: chunked\r\n", HeadError::BareCr),
            ("X: y\nTransfer-Encoding: chunked\r\n", HeadError::BareLf),
            ("X: y\0\r\n", HeadError::ControlByte),
            ("Content-Length: +5\r\n", HeadError::ContentLengthInvalid),
            ("Content-Length: 5, 5\r\n", HeadError::ContentLengthInvalid),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", HeadError::ContentLengthDuplicate),
            ("Content-Length: 5\r\nContent-Length:\r\n", HeadError::ContentLengthDuplicate),
            ("Content-Length:\r\n", HeadError::ContentLengthInvalid),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", HeadError::LengthAndEncoding),
            ("Content-Length\u{a0}: 5\r\n", HeadError::InvalidFieldName),
            ("\u{feff}Content-Length: 5\r\n", HeadError::InvalidFieldName),
            ("GET /admin HTTP/1.1\r\n", HeadError::InvalidFieldName),
            ("GET http://h/ HTTP/1.1\r\n", HeadError::InvalidFieldName),
            ("Transfer-Encoding: chunked\x01\r\n", HeadError::ControlByte),
            ("Transfer-Encoding: chunked\u{85}\r\n", HeadError::TransferEncodingInvalid),
            ("Transfer-Encoding: \u{a0}chunked\r\n", HeadError::TransferEncodingInvalid),
            ("Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n", HeadError::TransferEncodingInvalid),
            ("Transfer-Encoding:\r\n", HeadError::TransferEncodingInvalid),
            ("Transfer-Encoding: chunked\r\r\n", HeadError::BareCr),
            ("Content-Length: 18446744073709551621\r\n", HeadError::ContentLengthInvalid),
            ("Content-Length: \u{ff15}\r\n", HeadError::ContentLengthInvalid),
            ("Content-Length: 5\r\nContent-Length: 05\r\n", HeadError::ContentLengthDuplicate),
            ("Connection: content-length\r\nContent-Length: 5x\r\n", HeadError::ContentLengthInvalid),
            ("Host: h\r\n", HeadError::DuplicateHost),
            (": x\r\n", HeadError::EmptyFieldName),
        ] {
            assert_eq!(get(lines).err(), Some(error), "{lines:?}");
        }
        let folded = parse("GET / HTTP/1.1\r\n Host: h\r\nHost: h\r\n\r\n");
        assert_eq!(folded.err(), Some(HeadError::ObsFold), "white space right after the request line");
    }

    #[test]
    fn a_nominated_or_folded_framing_field_changes_nothing() {
        let framing = |lines: &str| get(lines).map(|request| request.framing);
        let nominated = "Connection: content-length, host\r\nContent-Length: 5\r\n";
        assert_eq!(framing(nominated), Ok(Framing::Length(5)));
        assert_eq!(framing("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("Transfer-Encoding:chunked\t \r\n"), Ok(Framing::Chunked));
    }

    #[test]
    fn the_bounds_hold_without_a_scan_too() {
        let limits = HeadLimits { head_bytes: 60, request_line_bytes: 16, fields: 2 };
        let parse = |text: &str| RequestHead::default().parse(&mut text.as_bytes().to_vec(), &limits);
        assert_eq!(parse("GET /ab HTTP/1.1\r\nHost: h\r\n\r\n"), Ok(()));
        assert_eq!(parse("GET /abc HTTP/1.1\r\nHost: h\r\n\r\n"), Err(HeadError::RequestLineTooLong));
        assert_eq!(parse("GET / HTTP/1.1\r\nA: b\r\nC: d\r\nHost: h\r\n\r\n"), Err(HeadError::TooManyFields));
        let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "h".repeat(40));
        assert_eq!(parse(&long), Err(HeadError::HeadTooLarge));
    }
}
