//! One body on its way through: decoded from the framing it came in, encoded in the framing it leaves in.
//!
//! ```text
//! source socket → buffer → decoder → sink → other socket
//!                          (Length, Chunked, UntilClose → raw or chunked)
//! ```

use crate::clock;
use crate::gateway::forward::headers;
use crate::http1::{BodyDecoder, Framing, HeadError, LAST_CHUNK, Step, encode_size};
use crate::limits::CLIENT_WATCH_MS;
use crate::net::sink::SendError;
use crate::net::{Buffer, Pace, Sink, Timers, Transport};
use crate::net::{Liveness, RecvError};

/// One body and how far it has come.
#[derive(Clone)]
pub struct Body {
    decoder: BodyDecoder,
    encoding: Encoding,
    /// Trailer fields go through.
    trailers: bool,
    /// Body bytes so far, framing not counted.
    bytes: u64,
    bytes_max: u64,
    /// A piece was decoded and has not left completely: the decoder is ahead of the buffer.
    is_torn: bool,
    is_complete: bool,
}

/// The framing in which a body leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is: its length was said in the head, or the connection's end says it.
    Raw,
    /// In chunks.
    Chunked,
}

/// Where a body stands after all that has arrived was sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More is to come.
    Partial,
    /// That was all.
    Complete,
}

/// Why a body did not get through.
#[derive(Debug)]
pub enum BodyError {
    /// The sender broke the framing, or ended in the middle.
    Framing(HeadError),
    /// The sender is gone.
    SourceClosed,
    /// The sender does not go on.
    SourceTimedOut,
    /// More than is taken.
    TooLarge,
    /// The receiver is gone.
    SinkClosed,
    /// The receiver does not take it.
    SinkTimedOut,
    /// The client went away while we waited for the upstream.
    ClientGone,
}

impl From<SendError> for BodyError {
    fn from(error: SendError) -> BodyError {
        match error {
            SendError::Closed(_) => BodyError::SinkClosed,
            SendError::TimedOut => BodyError::SinkTimedOut,
        }
    }
}

impl From<HeadError> for BodyError {
    fn from(error: HeadError) -> BodyError {
        BodyError::Framing(error)
    }
}

impl Body {
    /// A body that has not begun.
    pub fn new(framing: Framing, encoding: Encoding, bytes_max: u64, trailers: bool) -> Body {
        Body {
            decoder: BodyDecoder::new(framing),
            encoding,
            trailers,
            bytes: 0,
            bytes_max,
            is_torn: false,
            is_complete: false,
        }
    }

    /// Everything was decoded, and gathered or thrown away: the buffer begins with what comes after it. Its
    /// end may still have to leave the sink.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The route's own bound.
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// The route forwards trailer fields.
    pub fn set_trailers(&mut self, trailers: bool) {
        self.trailers = trailers;
    }

    /// The decoder and its buffer still agree: what is left can be read and thrown away.
    pub fn is_intact(&self) -> bool {
        !self.is_torn
    }

    /// Body bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends on all that is in the buffer, and gathers the end of the body if it is there.
    pub async fn transfer(
        &mut self,
        buffer: &mut Buffer,
        sink: &mut Sink<'_>,
    ) -> Result<Progress, BodyError> {
        loop {
            match self.decoder.step(buffer.filled())? {
                Step::More { consumed } => {
                    buffer.consume(consumed);
                    return Ok(Progress::Partial);
                }
                Step::Data { consumed, length } => {
                    buffer.consume(consumed);
                    self.bytes += length as u64;
                    if self.bytes > self.bytes_max {
                        return Err(BodyError::TooLarge);
                    }
                    self.is_torn = true;
                    self.write(&buffer.filled()[..length], sink).await?;
                    buffer.consume(length);
                    self.is_torn = false;
                }
                Step::Trailers { consumed, length, rest } => {
                    buffer.consume(consumed);
                    self.is_torn = true;
                    self.finish(&buffer.filled()[..length], sink).await?;
                    buffer.consume(length + rest);
                    self.is_torn = false;
                    return Ok(Progress::Complete);
                }
                Step::End { consumed } => {
                    buffer.consume(consumed);
                    self.finish(&[], sink).await?;
                    return Ok(Progress::Complete);
                }
            }
        }
    }

    async fn write(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), SendError> {
        if self.encoding == Encoding::Raw {
            return sink.write(data).await;
        }
        let mut line = [0; 18];
        let length = encode_size(data.len() as u64, &mut line);
        sink.gather(&line[..length]).await?;
        sink.write(data).await?;
        sink.gather(b"\r\n").await
    }

    async fn finish(&mut self, trailers: &[u8], sink: &mut Sink<'_>) -> Result<(), BodyError> {
        if self.encoding == Encoding::Chunked {
            self.write_end(trailers, sink).await?;
        }
        self.is_complete = true;
        Ok(())
    }

    async fn write_end(&self, trailers: &[u8], sink: &mut Sink<'_>) -> Result<(), BodyError> {
        if !self.trailers || trailers.is_empty() {
            return Ok(sink.gather(LAST_CHUNK).await?);
        }
        sink.gather(b"0\r\n").await?;
        for line in headers::trailers_that_pass(trailers)? {
            sink.write(line).await?;
            sink.gather(b"\r\n").await?;
        }
        Ok(sink.gather(b"\r\n").await?)
    }
}

/// Where a body comes from.
pub struct Source<'s> {
    /// The socket.
    pub stream: &'s Transport,
    /// The waits.
    pub timers: &'s Timers,
    /// The patience with the sender.
    pub pace: Pace,
    /// The client, if it is not the sender: nobody needs a body whose receiver has gone.
    pub client: Option<&'s Transport>,
}

impl Source<'_> {
    /// Moves the rest of a body, from what is in the buffer to its end, and sends everything gathered.
    pub async fn pump(
        &mut self,
        body: &mut Body,
        buffer: &mut Buffer,
        sink: &mut Sink<'_>,
    ) -> Result<(), BodyError> {
        loop {
            let progress = body.transfer(buffer, sink).await?;
            sink.flush().await?;
            if progress == Progress::Complete {
                return Ok(());
            }
            if self.receive(buffer).await? == 0 {
                // RFC 9112 §8: a message that ends before its framing says so is incomplete.
                body.decoder.finish_at_eof()?;
                body.finish(&[], sink).await?;
                return Ok(sink.flush().await?);
            }
        }
    }

    /// Reads and throws away the rest of a body, at most `bytes_max`. False: it is longer, or broken.
    pub async fn discard(
        &mut self,
        body: &mut Body,
        buffer: &mut Buffer,
        bytes_max: u64,
    ) -> Result<bool, BodyError> {
        let before = body.bytes;
        if body.decoder.remaining().is_some_and(|left| left > bytes_max) {
            return Ok(false);
        }
        while !body.is_complete {
            match body.decoder.step(buffer.filled())? {
                Step::More { consumed } => {
                    buffer.consume(consumed);
                    if self.receive(buffer).await? == 0 {
                        return Ok(false);
                    }
                }
                Step::Data { consumed, length } => {
                    buffer.consume(consumed + length);
                    body.bytes += length as u64;
                    if body.bytes - before > bytes_max {
                        return Ok(false);
                    }
                }
                Step::Trailers { consumed, length, rest } => buffer.consume(consumed + length + rest),
                Step::End { consumed } => {
                    buffer.consume(consumed);
                    body.is_complete = true;
                }
            }
        }
        Ok(true)
    }

    /// Waits for bytes. 0: the sender has sent its last.
    pub async fn receive(&mut self, buffer: &mut Buffer) -> Result<usize, BodyError> {
        let since = clock::now_ms();
        let received = self.receive_until(buffer, self.pace.deadline(since)).await;
        self.pace.waited_since(since);
        self.pace.moved(*received.as_ref().unwrap_or(&0));
        received
    }

    /// Waits for bytes until a deadline, and looks after the client from time to time.
    pub async fn receive_until(&self, buffer: &mut Buffer, deadline_ms: u64) -> Result<usize, BodyError> {
        loop {
            let watch_ms = match self.client {
                Some(_) => deadline_ms.min(clock::now_ms() + CLIENT_WATCH_MS),
                None => deadline_ms,
            };
            match self.stream.recv(buffer, self.timers, watch_ms).await {
                Ok(n) => return Ok(n),
                Err(RecvError::Closed(_)) => return Err(BodyError::SourceClosed),
                Err(RecvError::TimedOut) if watch_ms >= deadline_ms => return Err(BodyError::SourceTimedOut),
                Err(RecvError::TimedOut) => {}
            }
            if self.client.is_some_and(|client| client.liveness() == Liveness::Closed) {
                return Err(BodyError::ClientGone);
            }
        }
    }
}
