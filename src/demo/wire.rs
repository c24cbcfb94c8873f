//! HTTP/1 for the backends: the decoders of monoio-http read requests, and answers are written here.
//!
//! monoio-http 0.3 has gaps that are worked around:
//! - its header map loses the order and the spelling of the fields, which an echo should show: [`OrderedHead`] parses
//!   them again;
//! - it bounds nothing (head, chunk, body): the bounds are checked around its decoders;
//! - its encoder cannot answer HEAD (a length without a body) nor send 100 (it forces `content-length: 0`):
//!   [`AnswerEncoder`] writes answers;
//! - `Clone` of most of its errors recurses forever: errors become a [`WireError`] at once.
//!
//! Not worked around: it refuses trailers and chunk extensions, and reads a missing chunk size as 0.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use monoio::io::sink::{Sink, SinkExt};
use monoio::io::stream::Stream;
use monoio::io::{AsyncReadRent, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;
use monoio::time::timeout;
use monoio_codec::{Decoded, Decoder, FramedRead, FramedWrite};
use monoio_http::common::error::HttpError;
use monoio_http::h1::codec::decoder::{
    ChunkedBodyDecoder, DecodeError, DirectWrapper, GenericHeadDecoder, PayloadDecoder,
};

use super::answer::{Answer, AnswerEncoder, Outgoing};
use super::bounds::{BODY_BYTES_MAX, BODY_TIMEOUT, IDLE_TIMEOUT};
use super::request::{OrderedHead, Request};
use crate::limits::{LINGER_BYTES_MAX, LINGER_MS};

/// One connection: it receives requests and sends answers, one after the other.
pub(super) struct Wire {
    read: Reader,
    write: Writer,
}

type Reader = FramedRead<OwnedReadHalf<TcpStream>, GenericHeadDecoder<(), OrderedHead, DirectWrapper>>;
type Writer = FramedWrite<OwnedWriteHalf<TcpStream>, AnswerEncoder>;

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Wire {
        let (read, write) = stream.into_split();
        let read = FramedRead::new(read, GenericHeadDecoder::new(OrderedHead));
        Wire { read, write: FramedWrite::new(write, AnswerEncoder) }
    }

    /// Receives the next request with its body. `None`: the peer has closed the connection, or was idle too long.
    pub(super) async fn receive(&mut self) -> Result<Option<Request>, WireError> {
        let Ok(Some(head)) = timeout(IDLE_TIMEOUT, self.read.next()).await else { return Ok(None) };
        let (head, framing) = head.map_err(WireError::from)?;
        if head.expects_continue() && !matches!(framing, PayloadDecoder::None) {
            self.send(Outgoing::Continue).await.map_err(|_| WireError::Gone)?;
        }
        let body = match framing {
            PayloadDecoder::None => Vec::new(),
            PayloadDecoder::Fixed(_) if head.content_length() > BODY_BYTES_MAX as u64 => {
                return Err(WireError::BodyTooLarge);
            }
            PayloadDecoder::Fixed(mut fixed) => {
                match timeout(BODY_TIMEOUT, self.read.next_with(&mut fixed)).await {
                    Ok(Some(body)) => body.map_err(|_| WireError::Gone)?.to_vec(),
                    _ => return Err(WireError::Gone),
                }
            }
            PayloadDecoder::Streamed(chunks) => self.receive_chunks(chunks).await?,
        };
        Ok(Some(head.with_body(body)))
    }

    async fn receive_chunks(&mut self, chunks: ChunkedBodyDecoder) -> Result<Vec<u8>, WireError> {
        let mut chunks = BoundedChunks(chunks);
        let mut body = Vec::new();
        loop {
            let Ok(Some(chunk)) = timeout(BODY_TIMEOUT, self.read.next_with(&mut chunks)).await else {
                return Err(WireError::Gone);
            };
            let Some(chunk) = chunk? else { return Ok(body) };
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(WireError::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Sends. An error: the peer is gone, or does not read.
    pub(super) async fn send(&mut self, outgoing: Outgoing) -> io::Result<()> {
        Outlet(&mut self.write).send(outgoing).await
    }

    /// Both directions separately: after a handshake they no longer take turns.
    pub(super) fn halves(&mut self) -> (Inlet<'_>, Outlet<'_>) {
        (Inlet(&mut self.read), Outlet(&mut self.write))
    }

    /// Closes the connection so that the peer gets the last answer even if it still sends: closing a socket with unread
    /// bytes resets it, and the reset can overtake the answer.
    pub(super) async fn linger(mut self) {
        let drain = async {
            Sink::<Outgoing>::close(&mut self.write).await?;
            let mut scratch = vec![0; 16 * 1024];
            let mut drained = 0;
            while drained < LINGER_BYTES_MAX {
                let (read, buffer) = self.read.get_mut().read(scratch).await;
                scratch = buffer;
                match read? {
                    0 => break,
                    read => drained += read as u64,
                }
            }
            io::Result::Ok(())
        };
        let _ = timeout(Duration::from_millis(LINGER_MS), drain).await;
    }
}

/// The receiving half of a connection that is no longer HTTP.
pub(super) struct Inlet<'w>(&'w mut Reader);

impl Inlet<'_> {
    /// The next bytes, including those that came with the last request. `None`: there are no more.
    pub(super) async fn receive(&mut self) -> Option<Bytes> {
        self.0.next_with(&mut AnyBytes).await?.ok()
    }
}

/// The sending half of a connection.
pub(super) struct Outlet<'w>(&'w mut Writer);

impl Outlet<'_> {
    /// Like [`Wire::send`].
    pub(super) async fn send(&mut self, outgoing: Outgoing) -> io::Result<()> {
        timeout(BODY_TIMEOUT, self.0.send_and_flush(outgoing)).await?
    }
}

/// A decoder that takes whatever has arrived.
struct AnyBytes;

impl Decoder for AnyBytes {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Decoded<Bytes>> {
        match src.is_empty() {
            true => Ok(Decoded::Insufficient),
            false => Ok(Decoded::Some(src.split().freeze())),
        }
    }
}

/// Why a connection ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireError {
    /// 431.
    HeadTooLarge,
    /// 413.
    BodyTooLarge,
    /// 400.
    Malformed,
    /// The peer is gone: there is no answer.
    Gone,
}

impl WireError {
    /// The last answer of the connection.
    pub(super) fn answer(self) -> Option<Answer> {
        let (status, detail) = match self {
            WireError::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large"),
            WireError::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "a body is at most 1 MiB"),
            WireError::Malformed => (StatusCode::BAD_REQUEST, "this is not an HTTP/1 request"),
            WireError::Gone => return None,
        };
        Some(Answer::problem(status, detail))
    }
}

impl From<HttpError> for WireError {
    fn from(error: HttpError) -> WireError {
        match error {
            HttpError::H1DecodeError(DecodeError::Parse(httparse::Error::TooManyHeaders)) => {
                WireError::HeadTooLarge
            }
            HttpError::H1DecodeError(DecodeError::Io(_)) | HttpError::IOError(_) => WireError::Gone,
            _ => WireError::Malformed,
        }
    }
}

impl From<io::Error> for WireError {
    fn from(_: io::Error) -> WireError {
        WireError::Gone
    }
}

/// The chunk decoder of monoio-http waits for a whole chunk. This one refuses a chunk that is too large without
/// waiting for it.
struct BoundedChunks(ChunkedBodyDecoder);

impl Decoder for BoundedChunks {
    type Item = Option<Bytes>;
    type Error = WireError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Decoded<Option<Bytes>>, WireError> {
        match self.0.decode(src).map_err(|_| WireError::Malformed)? {
            Decoded::Some(chunk) => Ok(Decoded::Some(chunk)),
            _ if src.len() > BODY_BYTES_MAX + 2 => Err(WireError::BodyTooLarge),
            _ => Ok(Decoded::Insufficient),
        }
    }
}
