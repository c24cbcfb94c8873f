//! HTTP/1 for the backends: requests read by monoio-http's decoders, answers written here.
//!
//! monoio-http 0.3 is used where it holds, and worked around where it does not:
//! - its header map loses the order and the spelling of the fields, which an echo exists to show: [`OrderedHead`]
//!   reads them once more;
//! - nothing in it is bounded (head, chunk, body): the bounds are checked around its decoders;
//! - its encoder cannot answer HEAD (a length without a body) nor send 100 (it forces `content-length: 0`):
//!   [`AnswerEncoder`] writes answers;
//! - `Clone` of most of its errors recurses for ever: errors become a [`Refusal`] at once.
//!
//! Left as it is: it refuses trailers and chunk extensions, and takes a missing chunk size for 0.

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

/// One connection: requests in, answers out, one after the other.
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

    /// The next request, body included. `None`: the peer is done, or idle for too long.
    pub(super) async fn receive(&mut self) -> Result<Option<Request>, Refusal> {
        let Ok(Some(head)) = timeout(IDLE_TIMEOUT, self.read.next()).await else { return Ok(None) };
        let (head, framing) = head.map_err(Refusal::from)?;
        if head.expects_continue() && !matches!(framing, PayloadDecoder::None) {
            self.send(Outgoing::Continue).await.map_err(|_| Refusal::Gone)?;
        }
        let body = match framing {
            PayloadDecoder::None => Vec::new(),
            PayloadDecoder::Fixed(_) if head.content_length() > BODY_BYTES_MAX as u64 => {
                return Err(Refusal::BodyTooLarge);
            }
            PayloadDecoder::Fixed(mut fixed) => {
                match timeout(BODY_TIMEOUT, self.read.next_with(&mut fixed)).await {
                    Ok(Some(body)) => body.map_err(|_| Refusal::Gone)?.to_vec(),
                    _ => return Err(Refusal::Gone),
                }
            }
            PayloadDecoder::Streamed(chunks) => self.receive_chunks(chunks).await?,
        };
        Ok(Some(head.with_body(body)))
    }

    async fn receive_chunks(&mut self, chunks: ChunkedBodyDecoder) -> Result<Vec<u8>, Refusal> {
        let mut chunks = BoundedChunks(chunks);
        let mut body = Vec::new();
        loop {
            let Ok(Some(chunk)) = timeout(BODY_TIMEOUT, self.read.next_with(&mut chunks)).await else {
                return Err(Refusal::Gone);
            };
            let Some(chunk) = chunk? else { return Ok(body) };
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(Refusal::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Writes it out. An error: the peer is gone, or does not take it.
    pub(super) async fn send(&mut self, outgoing: Outgoing) -> io::Result<()> {
        Outlet(&mut self.write).send(outgoing).await
    }

    /// Both directions, each on its own: after a handshake they no longer take turns.
    pub(super) fn halves(&mut self) -> (Inlet<'_>, Outlet<'_>) {
        (Inlet(&mut self.read), Outlet(&mut self.write))
    }

    /// Closes so that the peer gets the last answer although it has not been read to its end: a socket closed
    /// with unread bytes is reset, and the reset can overtake the answer.
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

/// The direction that comes in, no longer HTTP.
pub(super) struct Inlet<'w>(&'w mut Reader);

impl Inlet<'_> {
    /// The bytes that come next, those included that came with the last request. `None`: there are no more.
    pub(super) async fn receive(&mut self) -> Option<Bytes> {
        self.0.next_with(&mut AnyBytes).await?.ok()
    }
}

/// The direction that goes out.
pub(super) struct Outlet<'w>(&'w mut Writer);

impl Outlet<'_> {
    /// As [`Wire::send`].
    pub(super) async fn send(&mut self, outgoing: Outgoing) -> io::Result<()> {
        timeout(BODY_TIMEOUT, self.0.send_and_flush(outgoing)).await?
    }
}

/// Takes what is there.
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
pub(super) enum Refusal {
    /// 431.
    HeadTooLarge,
    /// 413.
    BodyTooLarge,
    /// 400.
    Malformed,
    /// Nobody is left to tell.
    Gone,
}

impl Refusal {
    /// The last answer of the connection.
    pub(super) fn answer(self) -> Option<Answer> {
        let (status, detail) = match self {
            Refusal::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large"),
            Refusal::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "a body is at most 1 MiB"),
            Refusal::Malformed => (StatusCode::BAD_REQUEST, "this is no HTTP/1 request"),
            Refusal::Gone => return None,
        };
        Some(Answer::problem(status, detail))
    }
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Refusal {
        match error {
            HttpError::H1DecodeError(DecodeError::Parse(httparse::Error::TooManyHeaders)) => {
                Refusal::HeadTooLarge
            }
            HttpError::H1DecodeError(DecodeError::Io(_)) | HttpError::IOError(_) => Refusal::Gone,
            _ => Refusal::Malformed,
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(_: io::Error) -> Refusal {
        Refusal::Gone
    }
}

/// monoio-http's chunk decoder waits for a whole chunk; this one does not wait for one that is too large.
struct BoundedChunks(ChunkedBodyDecoder);

impl Decoder for BoundedChunks {
    type Item = Option<Bytes>;
    type Error = Refusal;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Decoded<Option<Bytes>>, Refusal> {
        match self.0.decode(src).map_err(|_| Refusal::Malformed)? {
            Decoded::Some(chunk) => Ok(Decoded::Some(chunk)),
            _ if src.len() > BODY_BYTES_MAX + 2 => Err(Refusal::BodyTooLarge),
            _ => Ok(Decoded::Insufficient),
        }
    }
}
