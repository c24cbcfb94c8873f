//! The response on its way to a client.

use std::io;

use super::h2::H2Responder;
use super::response_body::ResponseBody;
use crate::http::{BodyLength, push_decimal};
use crate::http1::{RequestHead, Version};
use crate::message::h1::{Encoding, H1Sink};
use crate::message::{BodySink, HeadWriter};
use crate::net::{Buffer, Io, Pace, SendError, Sink, Transport};

/// Writes responses to one request: interim ones, then the final one.
pub enum Responder<'r> {
    /// On an HTTP/1 connection.
    H1(H1Responder<'r>),
    /// On a stream of HTTP/2.
    H2(H2Responder<'r>),
}

/// On an HTTP/1 connection.
pub struct H1Responder<'r> {
    io: &'r Io,
    pace: Pace,
    transport: &'r Transport,
    head: RequestHead,
    keeps_alive: &'r mut bool,
    end: End,
}

/// How the client knows where the response ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its framing says so.
    Framed,
    /// The end of the connection does: it must not look orderly if the response was cut short.
    OfConnection,
}

impl<'r> Responder<'r> {
    /// The client's connection, whatever else it carries.
    pub fn transport(&self) -> &'r Transport {
        match self {
            Responder::H1(responder) => responder.transport,
            Responder::H2(responder) => &responder.link.transport,
        }
    }

    /// The client, to look after while its response is awaited. `None`: whoever reads the connection does.
    pub fn client(&self) -> Option<&'r Transport> {
        match self {
            Responder::H1(responder) => Some(responder.transport),
            Responder::H2(_) => None,
        }
    }

    /// Asks a client that waits for it to send its body.
    ///
    /// # Errors
    /// The client is gone, or does not take it.
    pub async fn send_continue(&self) -> Result<(), SendError> {
        let mut out = self.buffer();
        out.put(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.send(out).await
    }

    /// Whether the client understands interim responses.
    pub fn takes_interim(&self) -> bool {
        match self {
            Responder::H1(responder) => responder.head.version == Version::Http11,
            Responder::H2(_) => true,
        }
    }

    /// Sends an interim response, whose fields are written.
    ///
    /// # Errors
    /// The client is gone, or does not take it.
    pub async fn send_interim(&self, head: HeadWriter) -> Result<(), SendError> {
        let HeadWriter::H1(mut out) = head;
        out.put(b"\r\n");
        self.send(out).await
    }

    async fn send(&self, out: Buffer) -> Result<(), SendError> {
        match self {
            Responder::H1(responder) => responder.send(out).await,
            Responder::H2(responder) => responder.send(out).await,
        }
    }

    fn buffer(&self) -> Buffer {
        match self {
            Responder::H1(responder) => responder.io.buffers.buffer(),
            Responder::H2(responder) => responder.buffer(),
        }
    }

    /// Begins the head of a response. In every version of HTTP it is written as lines; on a stream these become a block
    /// of fields when the head ends.
    pub fn head(&self, status: u16, reason: &[u8]) -> HeadWriter {
        HeadWriter::h1_response(self.buffer(), status, reason)
    }

    /// Ends the head of the final response, whose fields are written. The sink takes its body.
    pub fn respond(&mut self, head: HeadWriter, body: ResponseBody) -> BodySink<'r> {
        let HeadWriter::H1(out) = head;
        match self {
            Responder::H1(responder) => BodySink::H1(responder.respond(out, body)),
            Responder::H2(responder) => BodySink::H2(responder.respond(out, body)),
        }
    }

    /// Ends the head of a 101, whose fields are written, and sends it. Gives the bytes sent.
    ///
    /// # Errors
    /// The client is gone, or does not take it; or there is nothing to switch (RFC 9113 §8.6).
    pub async fn switch(&self, head: HeadWriter) -> Result<u64, SendError> {
        let HeadWriter::H1(mut out) = head;
        let Responder::H1(responder) = self else {
            return Err(SendError::Closed(io::ErrorKind::Unsupported.into()));
        };
        out.put(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let length = out.len() as u64;
        responder.send(out).await.map(|()| length)
    }

    /// The response was begun and cannot be finished: the client must be able to tell.
    pub fn cut(&self) {
        // A stream that lacks its end is reset.
        let Responder::H1(responder) = self else { return };
        responder.transport.cut();
        if responder.end == End::OfConnection {
            responder.transport.reset_on_close();
        }
    }
}

impl<'r> H1Responder<'r> {
    /// The way for the responses to one request. `keeps_alive` is set by the final response.
    pub(super) fn new(
        io: &'r Io,
        pace: Pace,
        transport: &'r Transport,
        head: RequestHead,
        keeps_alive: &'r mut bool,
    ) -> H1Responder<'r> {
        H1Responder { io, pace, transport, head, keeps_alive, end: End::Framed }
    }

    async fn send(&self, out: Buffer) -> Result<(), SendError> {
        Sink::new(self.transport, &self.io.timers, out, self.pace.clone()).flush().await
    }

    fn respond(&mut self, mut out: Buffer, body: ResponseBody) -> H1Sink<'r> {
        let is_11 = self.head.version == Version::Http11;
        let is_unknown = body.length == BodyLength::Unknown;
        self.end = if is_unknown && !is_11 { End::OfConnection } else { End::Framed };
        *self.keeps_alive = self.head.keep_alive && !self.io.is_draining() && self.end == End::Framed;
        match body.announced {
            // A response without length is chunked; to an HTTP/1.0 client it ends with the connection.
            _ if is_unknown && is_11 => out.put(b"Transfer-Encoding: chunked\r\n"),
            Some(length) => {
                out.put_all([b"Content-Length: ", push_decimal(length, &mut [0; 20]), b"\r\n"]);
            }
            None => {}
        }
        // Said where the client would otherwise assume the opposite.
        match (self.head.version, *self.keeps_alive) {
            (_, false) => out.put(b"Connection: close\r\n"),
            (Version::Http10, true) => out.put(b"Connection: keep-alive\r\n"),
            (Version::Http11, true) => {}
        }
        out.put(b"\r\n");
        let encoding = if is_unknown && is_11 { Encoding::Chunked } else { Encoding::Raw };
        let sink = Sink::new(self.transport, &self.io.timers, out, self.pace.clone());
        H1Sink::new(sink, encoding, body.trailers)
    }
}
