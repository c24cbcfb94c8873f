//! The head of a request: its fields become the lines that HTTP/1 has for them, and these are parsed as any other head.
//! So there is one set of rules for paths, hosts, lengths and fields, whatever version they came in. What could turn
//! into another line on the way is refused first.

use super::fields::{self, Malformed};
use super::hpack::Fields;
use crate::http::{BodyLength, FieldKind, ProtocolError, Request, Scheme, host, is_host, values};
use crate::http1::{HeadLimits, RequestHead, refused};
use crate::limits::COOKIE_CRUMBS_MAX;

/// The lines of a head that is being decoded. Its memory is used again and again.
#[derive(Debug, Default)]
pub struct RequestLines {
    text: Vec<u8>,
    /// The values of pseudo-fields, one behind the other.
    pseudo: Vec<u8>,
    method: Option<Piece>,
    scheme: Option<Piece>,
    path: Option<Piece>,
    authority: Option<Piece>,
    /// The crumbs of the cookie, with "; " between them (§8.2.3).
    cookie: Vec<u8>,
    crumbs: usize,
    fields: usize,
    /// Bytes of all lines so far.
    bytes: usize,
    limits: HeadLimits,
    stage: Stage,
    error: Option<HeadError>,
}

type Piece = std::ops::Range<usize>;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// "All pseudo-header fields MUST appear in a field block before all regular field lines."
    #[default]
    Pseudo,
    Regular,
}

/// Why a head is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// It breaks the rules of HTTP/2: the stream is reset.
    Malformed,
    /// It breaks those of HTTP: it is answered.
    Refused(ProtocolError),
}

impl From<Malformed> for HeadError {
    fn from(_: Malformed) -> HeadError {
        HeadError::Malformed
    }
}

impl RequestLines {
    /// Begins with another head.
    pub fn begin(&mut self, limits: &HeadLimits) {
        self.text.clear();
        self.pseudo.clear();
        self.cookie.clear();
        (self.method, self.scheme, self.path, self.authority) = (None, None, None, None);
        (self.crumbs, self.fields, self.bytes, self.limits) = (0, 0, 0, *limits);
        (self.stage, self.error) = (Stage::Pseudo, None);
    }

    /// Parses the head. `ends_stream`: there is no body.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn parse(&mut self, ends_stream: bool, request: &mut Request) -> Result<(), HeadError> {
        request.clear(Default::default());
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.stage == Stage::Pseudo {
            self.put_request_line()?;
        }
        if self.crumbs > 0 {
            fields::put_line(&mut self.text, b"cookie", &self.cookie);
        }
        self.text.extend_from_slice(b"\r\n");
        RequestHead::parse(&self.text, &self.limits, request).map_err(HeadError::Refused)?;
        match (ends_stream, request.body) {
            (false, BodyLength::None) => request.body = BodyLength::Unknown,
            // §8.1.1: malformed "if the value of a Content-Length header field does not equal the sum of the DATA frame
            // payload lengths".
            (true, BodyLength::Exact(1..)) => return Err(HeadError::Malformed),
            _ => {}
        }
        let mut expectations = values(&request.bytes, &request.fields, FieldKind::Expect);
        request.expects_continue = !ends_stream && expectations.next().is_some();
        Ok(())
    }

    /// What the access log and the answer need of a head that is refused, as far as it came.
    pub fn remember(&self, request: &mut Request) {
        refused::remember(&self.text, request);
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        self.bytes += fields::line_bytes(name, value);
        if self.bytes > self.limits.head_bytes {
            return Err(HeadError::Refused(ProtocolError::HeadTooLarge));
        }
        if name.first() == Some(&b':') {
            return Ok(self.add_pseudo(name, value)?);
        }
        let kind = fields::check(name, value)?;
        if self.stage == Stage::Pseudo {
            self.put_request_line()?;
        }
        if kind == FieldKind::Cookie && name == b"cookie" {
            return self.add_crumb(value);
        }
        self.fields += 1;
        if self.fields > self.limits.fields {
            return Err(HeadError::Refused(ProtocolError::TooManyFields));
        }
        match (kind, self.of(&self.authority)) {
            // Named twice, it is written once.
            (FieldKind::Host, Some(authority)) => self.check_same(authority, value),
            _ => {
                fields::put_line(&mut self.text, name, value);
                Ok(())
            }
        }
    }

    fn add_pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        let is_value = !value.is_empty() && value.iter().all(|&byte| byte > b' ' && byte != 0x7f);
        if self.stage == Stage::Regular || !is_value {
            return Err(Malformed);
        }
        let at = self.pseudo.len();
        let piece = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":path" => &mut self.path,
            b":authority" => &mut self.authority,
            _ => return Err(Malformed),
        };
        if piece.replace(at..at + value.len()).is_some() {
            return Err(Malformed);
        }
        self.pseudo.extend_from_slice(value);
        Ok(())
    }

    /// §8.3.1: "All HTTP/2 requests MUST include exactly one valid value for the ":method", ":scheme", and ":path"
    /// pseudo-header fields, unless they are CONNECT requests".
    fn put_request_line(&mut self) -> Result<(), HeadError> {
        self.stage = Stage::Regular;
        let method = self.method.clone().ok_or(HeadError::Malformed)?;
        if self.pseudo[method.clone()] == *b"CONNECT" {
            return Err(HeadError::Refused(ProtocolError::ConnectRefused));
        }
        let scheme = self.of(&self.scheme).ok_or(HeadError::Malformed)?;
        let path = self.path.clone().ok_or(HeadError::Malformed)?;
        if !matches!(&self.pseudo[path.clone()], [b'/', ..] | b"*") {
            return Err(HeadError::Malformed);
        }
        let is_ours = |ours: Scheme| ours.name().as_bytes().eq_ignore_ascii_case(scheme);
        if !is_ours(Scheme::Http) && !is_ours(Scheme::Https) {
            return Err(HeadError::Refused(ProtocolError::SchemeRefused));
        }
        let RequestLines { text, pseudo, .. } = self;
        for piece in [&pseudo[method], b" ", &pseudo[path], b" HTTP/1.1\r\n"] {
            text.extend_from_slice(piece);
        }
        if let Some(authority) = self.authority.clone() {
            fields::put_line(text, b"host", &pseudo[authority]);
            self.fields += 1;
        }
        Ok(())
    }

    fn add_crumb(&mut self, value: &[u8]) -> Result<(), HeadError> {
        self.crumbs += 1;
        if self.crumbs > COOKIE_CRUMBS_MAX {
            return Err(HeadError::Refused(ProtocolError::TooManyFields));
        }
        if self.crumbs > 1 {
            self.cookie.extend_from_slice(b"; ");
        }
        self.cookie.extend_from_slice(value);
        Ok(())
    }

    /// §8.3.1: "A server SHOULD treat a request as malformed if it contains a Host header field that identifies an
    /// entity that differs from the entity in the ":authority" pseudo-header field."
    fn check_same(&self, authority: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if !is_host(value) || !is_host(authority) {
            return Err(HeadError::Refused(ProtocolError::InvalidHost));
        }
        let is_https = self.of(&self.scheme).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
        let scheme = if is_https { Scheme::Https } else { Scheme::Http };
        match host::is_same(authority, value, scheme) {
            true => Ok(()),
            false => Err(HeadError::Refused(ProtocolError::HostMismatch)),
        }
    }

    fn of(&self, piece: &Option<Piece>) -> Option<&[u8]> {
        piece.clone().map(|piece| &self.pseudo[piece])
    }
}

/// After an error nothing is kept of what follows: it is decoded for the table alone.
impl Fields for RequestLines {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        if self.error.is_none() {
            self.error = self.add(name, value).err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use proptest::prelude::*;

    const LIMITS: HeadLimits =
        HeadLimits { head_bytes: 1024, request_line_bytes: 256, fields: 8, ..HeadLimits::DEFAULT };
    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/a")];

    fn parsed(fields: &[(&str, &str)], ends_stream: bool) -> Result<Request, HeadError> {
        let (mut lines, mut request) = (RequestLines::default(), Request::default());
        // What an earlier head has left does not matter.
        lines.begin(&HeadLimits::DEFAULT);
        lines.field(b"cookie", b"old");
        lines.begin(&LIMITS);
        fields.iter().for_each(|(name, value)| lines.field(name.as_bytes(), value.as_bytes()));
        lines.parse(ends_stream, &mut request).map(|()| request)
    }

    fn get(more: &[(&str, &str)]) -> Result<Request, HeadError> {
        parsed(&[&GET, more].concat(), true)
    }

    fn error(more: &[(&str, &str)]) -> HeadError {
        get(more).expect_err("an error")
    }

    #[test]
    fn a_request_in_its_parts() {
        let request = get(&[("accept", "x"), ("te", "trailers")]).unwrap();
        assert_eq!((request.method, request.path(), request.host()), (Method::Get, &b"/a"[..], &b"h"[..]));
        assert_eq!((request.body, request.is_websocket), (BodyLength::None, false));
        assert_eq!(request.fields.len(), 3);
    }

    #[test]
    fn it_is_the_request_that_http1_has() {
        let mut expected = Request::default();
        let text = b"POST /%61?q HTTP/1.1\r\nhost: h:80\r\nx: y\r\ncontent-length: 3\r\n\r\n";
        RequestHead::parse(text, &LIMITS, &mut expected).unwrap();
        let fields = [
            (":path", "/%61?q"),
            (":authority", "h:80"),
            (":method", "POST"),
            (":scheme", "https"),
            ("x", "y"),
            ("content-length", "3"),
        ];
        assert_eq!(parsed(&fields, false), Ok(expected));
    }

    #[test]
    fn pseudo_fields_stand_first_once_and_are_known() {
        for fields in [
            &GET[1..],
            &GET[..3],
            &[GET[0], GET[2], GET[3]],
            &[&GET[..], &[GET[0]]].concat(),
            &[&GET[..], &[("a", "b"), (":path", "/")]].concat(),
            &[("a", "b"), GET[0], GET[1], GET[2], GET[3]],
            &[&GET[..], &[(":status", "200")]].concat(),
            &[&GET[..], &[(":protocol", "websocket")]].concat(),
            &[GET[0], GET[1], GET[2], (":path", "")],
            &[GET[0], GET[1], GET[2], (":path", "a")],
            &[GET[0], GET[1], GET[2], (":path", "http://h/")],
            &[GET[0], GET[1], GET[2], (":path", "/ HTTP/1.1\r\nx: y")],
            &[GET[0], GET[1], GET[2], (":path", "/a b")],
            &[(":method", "GET / HTTP/1.1\r\n"), GET[1], GET[2], GET[3]],
            &[(":method", "A B"), GET[1], GET[2], GET[3]],
            &[GET[0], GET[1], (":authority", "h\r\nx: y"), GET[3]],
        ] {
            assert_eq!(parsed(fields, true), Err(HeadError::Malformed), "{fields:?}");
        }
    }

    #[test]
    fn what_http_refuses_is_answered() {
        let refused = |fields: &[(&str, &str)]| parsed(fields, true).expect_err("an error");
        for (fields, error) in [
            (vec![(":method", "CONNECT"), (":authority", "h:1")], ProtocolError::ConnectRefused),
            (vec![GET[0], (":scheme", "ftp"), GET[2], GET[3]], ProtocolError::SchemeRefused),
            (vec![GET[0], GET[1], GET[3]], ProtocolError::MissingHost),
            (vec![GET[0], GET[1], (":authority", "u@h"), GET[3]], ProtocolError::InvalidHost),
            (vec![GET[0], GET[1], GET[2], (":path", "/../a")], ProtocolError::PathDotSegment),
            (vec![GET[0], GET[1], GET[2], (":path", "*")], ProtocolError::AsteriskForm),
            (vec![("\u{3a}method", "G@T"), GET[1], GET[2], GET[3]], ProtocolError::InvalidMethod),
        ] {
            assert_eq!(refused(&fields), HeadError::Refused(error), "{fields:?}");
        }
        assert_eq!(
            error(&[("content-length", "+1")]),
            HeadError::Refused(ProtocolError::ContentLengthInvalid)
        );
        assert_eq!(error(&[("expect", "x")]), HeadError::Refused(ProtocolError::Expectation));
        assert_eq!(error(&[("a", "\x01")]), HeadError::Refused(ProtocolError::ControlByte));
    }

    #[test]
    fn authority_and_host_agree_and_are_one() {
        let request = get(&[("host", "H:80")]).unwrap();
        assert_eq!((request.host(), request.fields.len()), (&b"h"[..], 1));
        assert_eq!(error(&[("host", "other")]), HeadError::Refused(ProtocolError::HostMismatch));
        assert_eq!(error(&[("host", "")]), HeadError::Refused(ProtocolError::InvalidHost));
        let without = parsed(&[GET[0], GET[1], GET[3], ("host", "only")], true).unwrap();
        assert_eq!(without.host(), b"only");
        let twice = parsed(&[GET[0], GET[1], GET[3], ("host", "a"), ("host", "a")], true);
        assert_eq!(twice, Err(HeadError::Refused(ProtocolError::DuplicateHost)));
    }

    #[test]
    fn crumbs_of_a_cookie_become_one_cookie() {
        let request = get(&[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")]).unwrap();
        assert_eq!(request.values(FieldKind::Cookie).collect::<Vec<_>>(), [b"a=b; c=d"]);
        let crumbs = vec![("cookie", "a"); COOKIE_CRUMBS_MAX + 1];
        let (mut lines, mut request) = (RequestLines::default(), Request::default());
        lines.begin(&HeadLimits::DEFAULT);
        GET.iter().chain(&crumbs).for_each(|(name, value)| lines.field(name.as_bytes(), value.as_bytes()));
        let found = lines.parse(true, &mut request);
        assert_eq!(found, Err(HeadError::Refused(ProtocolError::TooManyFields)));
    }

    #[test]
    fn the_length_of_a_body_is_what_its_frames_can_be() {
        assert_eq!(error(&[("content-length", "1")]), HeadError::Malformed);
        assert_eq!(get(&[("content-length", "0")]).unwrap().body, BodyLength::Exact(0));
        assert_eq!(parsed(&GET, false).unwrap().body, BodyLength::Unknown);
        let expects = parsed(&[&GET[..], &[("expect", "100-continue")]].concat(), false).unwrap();
        assert!(expects.expects_continue && !get(&[("expect", "100-continue")]).unwrap().expects_continue);
    }

    /// Whatever is decoded, no more of it is kept than a head may have.
    #[test]
    fn a_bomb_is_refused_while_it_is_decoded() {
        let large = "v".repeat(500);
        assert_eq!(error(&[("a", &*large); 3]), HeadError::Refused(ProtocolError::HeadTooLarge));
        assert_eq!(error(&[("a", ""); 8]), HeadError::Refused(ProtocolError::TooManyFields));
        let mut lines = RequestLines::default();
        lines.begin(&LIMITS);
        GET.iter().for_each(|(name, value)| lines.field(name.as_bytes(), value.as_bytes()));
        (0..100_000).for_each(|_| lines.field(b"cookie", large.as_bytes()));
        assert!(lines.text.capacity() + lines.cookie.capacity() < 8 * LIMITS.head_bytes);
    }

    fn text() -> impl Strategy<Value = String> {
        let piece = [
            "a", "B", ":", " ", "\r", "\n", "\r\n", "\0", "\t", "cookie", "host", "h", "/", "x-", "\u{e9}",
            "",
        ];
        let piece = proptest::sample::select(piece.map(str::to_owned).to_vec());
        proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// Whatever is taken, each line of it is a field that the client has sent: none can make another one.
        #[test]
        fn no_field_becomes_two(
            more in proptest::collection::vec((text(), text()), 0..6),
            path in text(),
            authority in text(),
        ) {
            let path = format!("/{path}");
            let pseudo = [GET[0], GET[1], (":path", &*path), (":authority", &*authority)];
            let fields: Vec<(&str, &str)> =
                pseudo.into_iter().chain(more.iter().map(|(name, value)| (&**name, &**value))).collect();
            if let Ok(request) = parsed(&fields, true) {
                for field in &request.fields {
                    let of = |span: crate::http::Span| span.of(&request.bytes);
                    let sent = |(name, value): &(&str, &str)| {
                        let is_host = *name == ":authority" && of(field.name) == b"host";
                        (is_host || name.as_bytes() == of(field.name)) && value.as_bytes() == of(field.value)
                    };
                    let is_cookie = field.kind == FieldKind::Cookie;
                    prop_assert!(is_cookie || fields.iter().any(sent), "{:?} of {:?}", field, fields);
                }
                let regular = more.iter().filter(|(name, _)| name != "cookie" && name != "host").count();
                prop_assert!(request.fields.len() <= regular + 2);
            }
        }
    }
}
