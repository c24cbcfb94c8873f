//! One exchange on a leased connection: the request out, the response in.

use super::context::ExchangeContext;
use super::h1::H1ResponseReader;
use super::lease::Lease;
use super::response::{Arrived, Expected, ResponseError};
use crate::http::{BodyLength, Method, Request, Response, push_decimal};
use crate::message::h1::{Encoding, H1Sink};
use crate::message::{BodySink, BodySource, HeadWriter, Trailers};
use crate::net::{Io, Sink};

/// Reads the response to one request: interim heads, the final head, its body.
pub enum ResponseReader<'r> {
    /// On an HTTP/1 connection.
    H1(H1ResponseReader<'r>),
}

impl Lease<'_> {
    /// Begins the head of a request on this connection. `target`: method, path in two pieces, query.
    pub fn head(&self, io: &Io, target: [&[u8]; 4], authority: &[u8]) -> HeadWriter {
        HeadWriter::h1_request(io.buffers.buffer(), target, authority)
    }

    /// Ends the head of a request, whose fields are written. The sink takes its body.
    pub fn finish_request_head<'l>(
        &'l self,
        context: &ExchangeContext<'l>,
        head: HeadWriter,
        request: &Request,
        trailers: Trailers,
    ) -> BodySink<'l> {
        let HeadWriter::H1(mut out) = head;
        if request.may_leave_body_unread() {
            out.put(b"Connection: close\r\n");
        }
        let body = request.body;
        match body {
            BodyLength::Unknown => out.put(b"Transfer-Encoding: chunked\r\n"),
            BodyLength::Exact(length) => {
                out.put_all([b"Content-Length: ", push_decimal(length, &mut [0; 20]), b"\r\n"]);
            }
            BodyLength::None => {}
        }
        out.put(b"\r\n");
        let encoding = if body == BodyLength::Unknown { Encoding::Chunked } else { Encoding::Raw };
        let sink = Sink::new(self.transport(), &context.io.timers, out, context.pace.clone());
        BodySink::H1(H1Sink::new(sink, encoding, trailers))
    }

    /// Ends the head of a WebSocket handshake, whose fields are written. Nothing but the head leaves.
    pub fn finish_handshake<'l>(&'l self, context: &ExchangeContext<'l>, head: HeadWriter) -> BodySink<'l> {
        let HeadWriter::H1(mut out) = head;
        out.put(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let sink = Sink::new(self.transport(), &context.io.timers, out, context.pace.clone());
        BodySink::H1(H1Sink::new(sink, Encoding::Raw, Trailers::Drop))
    }

    /// The way for the response.
    pub fn response_reader<'l>(
        &'l self,
        context: &ExchangeContext<'l>,
        expected: Expected,
    ) -> ResponseReader<'l> {
        ResponseReader::H1(H1ResponseReader::new(self.transport(), context, expected))
    }
}

impl ResponseReader<'_> {
    /// Waits for the next head until the deadline. Its bytes stay with the reader until
    /// [`ResponseReader::consume_head`]. A wait that is given up loses nothing.
    ///
    /// # Errors
    /// [`ResponseError`].
    pub async fn head(
        &mut self,
        method: Method,
        response: &mut Response,
        deadline_ms: u64,
    ) -> Result<Arrived, ResponseError> {
        match self {
            ResponseReader::H1(reader) => reader.head(method, response, deadline_ms).await,
        }
    }

    /// The bytes that the spans of the last head are ranges of.
    pub fn head_bytes(&self) -> &[u8] {
        match self {
            ResponseReader::H1(reader) => reader.head_bytes(),
        }
    }

    /// The last head is done with.
    pub fn consume_head(&mut self) {
        match self {
            ResponseReader::H1(reader) => reader.consume_head(),
        }
    }

    /// The body of the final response.
    pub fn body(&mut self) -> BodySource<'_> {
        match self {
            ResponseReader::H1(reader) => BodySource::H1(reader.body()),
        }
    }

    /// What has arrived behind the last head.
    pub fn early(&self) -> &[u8] {
        match self {
            ResponseReader::H1(reader) => reader.early(),
        }
    }

    /// The upstream has sent more than the response.
    pub fn has_surplus(&self) -> bool {
        match self {
            ResponseReader::H1(reader) => reader.has_surplus(),
        }
    }

    /// The response is complete, and the upstream lets the connection carry another exchange.
    pub fn is_reusable(&self) -> bool {
        match self {
            ResponseReader::H1(reader) => reader.is_reusable(),
        }
    }
}
