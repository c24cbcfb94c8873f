//! A request as a backend sees it, and how its head is read.

use bytes::BytesMut;
use http::{HeaderMap, Method, Version, header};
use monoio_codec::{Decoded, Decoder};
use monoio_http::common::BorrowHeaderMap;
use monoio_http::common::request::RequestHead;
use monoio_http::h1::codec::decoder::{DecodeError, RequestHeadDecoder};

use super::bounds::{FIELDS_MAX, HEAD_BYTES_MAX};

/// A complete request.
pub(super) struct Request {
    parts: RequestHead,
    /// The request target as received.
    pub(super) target: String,
    /// The fields as received, in order; bytes that are not UTF-8 are replaced.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn method(&self) -> &Method {
        &self.parts.method
    }

    pub(super) fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The request in the form in which tungstenite reads a handshake.
    pub(super) fn as_handshake(&self) -> http::Request<()> {
        http::Request::from_parts(self.parts.clone(), ())
    }

    /// The items of every field of this name.
    pub(super) fn items<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        let values = self.fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name));
        values.flat_map(|(_, value)| value.split(',').map(str::trim))
    }

    /// A parameter of the query, without percent-decoding.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let pairs = self.parts.uri.query()?.split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Whether the connection ends with this exchange. An HTTP/1.0 connection always does, which is simple and allowed.
    pub(super) fn closes(&self) -> bool {
        let mut values = self.parts.headers.get_all(header::CONNECTION).iter();
        self.parts.version == Version::HTTP_10
            || values.any(|value| {
                value
                    .as_bytes()
                    .split(|byte| *byte == b',')
                    .any(|t| t.trim_ascii().eq_ignore_ascii_case(b"close"))
            })
    }
}

/// The head decoder of monoio-http, with a bound, and with the fields as they were written.
pub(super) struct OrderedHead;

/// A request without its body.
pub(super) struct Head {
    parts: RequestHead,
    target: String,
    fields: Vec<(String, String)>,
}

impl Decoder for OrderedHead {
    type Item = Head;
    type Error = DecodeError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Decoded<Head>, DecodeError> {
        let end = memchr::memmem::find(src, b"\r\n\r\n").map(|at| at + 4);
        if end.unwrap_or(src.len()) > HEAD_BYTES_MAX {
            return Err(httparse::Error::TooManyHeaders.into());
        }
        let Some(end) = end else { return Ok(Decoded::Insufficient) };
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        // The decoder drops the bytes between the end that httparse finds and the CRLFCRLF (bare LFs, leading empty
        // lines). Here the two ends must be the same.
        if request.parse(&src[..end])? != httparse::Status::Complete(end) {
            return Err(DecodeError::Header);
        }
        let target = request.path.unwrap_or_default().to_owned();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = request.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
        let Decoded::Some(parts) = RequestHeadDecoder.decode(src)? else { return Err(DecodeError::Header) };
        let lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter().count();
        if lengths + usize::from(parts.headers.contains_key(header::TRANSFER_ENCODING)) > 1 {
            return Err(DecodeError::Header);
        }
        Ok(Decoded::Some(Head { parts, target, fields }))
    }
}

impl Head {
    pub(super) fn with_body(self, body: Vec<u8>) -> Request {
        Request { parts: self.parts, target: self.target, fields: self.fields, body }
    }

    pub(super) fn content_length(&self) -> u64 {
        let value = self.parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        value.and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
    }

    pub(super) fn expects_continue(&self) -> bool {
        let expects = self.parts.headers.get(header::EXPECT);
        self.parts.version == Version::HTTP_11
            && expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }
}

impl BorrowHeaderMap for Head {
    fn header_map(&self) -> &HeaderMap {
        &self.parts.headers
    }
}
