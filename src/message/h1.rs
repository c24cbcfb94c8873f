//! Bodies of HTTP/1: decoded from the framing they come in, encoded in the framing they leave in.
//!
//! ```text
//! transport → buffer → decoder → sink → other transport
//!                      (Length, Chunked, UntilClose → raw or chunked)
//! ```

use super::error::{BodyError, FinishError};
use super::piece::Piece;
use super::recipient::{Owes, Recipient};
use super::trailers::Trailers;
use crate::clock;
use crate::http::{Field, ProtocolError};
use crate::http1::{BodyDecoder, Framing, LAST_CHUNK, Step, encode_size, parse_trailers};
use crate::limits::CLIENT_WATCH_MS;
use crate::net::{Buffer, NEVER, Pace, RecvError, SendError, Sink, Timers, Transport};

/// One body and how far it has come.
#[derive(Clone, Debug)]
pub struct H1Body {
    decoder: BodyDecoder,
    /// Body bytes so far, framing not counted.
    bytes: u64,
    bytes_max: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Decoder and buffer agree: the rest can be passed on, or read and thrown away.
    Intact,
    /// A piece of this many bytes was decoded and has not left whole: the decoder is ahead of the buffer.
    Torn { piece: usize, is_last: bool },
    /// Everything was decoded: the buffer begins with what follows the body.
    Complete,
}

impl H1Body {
    /// A body that has not begun.
    pub fn new(framing: Framing, bytes_max: u64) -> H1Body {
        H1Body { decoder: BodyDecoder::new(framing), bytes: 0, bytes_max, stage: Stage::Intact }
    }

    /// The bound of the body, in bytes.
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// Body bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Everything was decoded. The end may still have to leave the sink.
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// The rest can be read and thrown away: decoder and buffer agree.
    pub fn is_intact(&self) -> bool {
        !matches!(self.stage, Stage::Torn { .. })
    }

    /// Bytes still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }
}

/// The receiving side of one body.
pub struct H1Source<'s> {
    /// The connection that the body comes over.
    pub transport: &'s Transport,
    /// The waits with a deadline.
    pub timers: &'s Timers,
    /// What has arrived.
    pub buffer: &'s mut Buffer,
    /// How far the body has come.
    pub body: &'s mut H1Body,
    /// The slowest pace that is accepted of the sender.
    pub pace: Pace,
    /// Whom the body is for, if that is a client: a body whose recipient has left is not awaited.
    pub recipient: Option<Recipient<'s>>,
}

impl H1Source<'_> {
    pub(super) fn next_piece(&mut self) -> Result<Piece<'_>, BodyError> {
        let H1Body { decoder, bytes, bytes_max, stage } = &mut *self.body;
        match decoder.step(self.buffer.filled())? {
            Step::More { consumed } => {
                self.buffer.consume(consumed);
                Ok(Piece::Pending)
            }
            Step::Data { consumed, length } => {
                self.buffer.consume(consumed);
                *bytes += length as u64;
                if bytes > bytes_max {
                    return Err(BodyError::TooLarge);
                }
                *stage = Stage::Torn { piece: length, is_last: false };
                Ok(Piece::Data(&self.buffer.filled()[..length]))
            }
            Step::Trailers { consumed, length, rest } => {
                self.buffer.consume(consumed);
                *stage = Stage::Torn { piece: length + rest, is_last: true };
                Ok(Piece::Trailers(&self.buffer.filled()[..length]))
            }
            Step::End { consumed } => {
                self.buffer.consume(consumed);
                *stage = Stage::Complete;
                Ok(Piece::End)
            }
        }
    }

    pub(super) fn accept(&mut self) {
        if let Stage::Torn { piece, is_last } = self.body.stage {
            self.buffer.consume(piece);
            self.body.stage = if is_last { Stage::Complete } else { Stage::Intact };
        }
    }

    pub(super) fn accept_part(&mut self, bytes: usize) {
        if let Stage::Torn { piece, .. } = &mut self.body.stage {
            self.buffer.consume(bytes);
            *piece -= bytes;
        }
        self.park();
    }

    pub(super) fn rest(&self) -> &[u8] {
        match self.body.stage {
            Stage::Torn { piece, .. } => &self.buffer.filled()[..piece],
            Stage::Intact | Stage::Complete => &[],
        }
    }

    pub(super) fn park(&mut self) {
        self.buffer.park();
        self.transport.park();
    }

    pub(super) async fn receive(&mut self) -> Result<Piece<'static>, BodyError> {
        let since = clock::now_ms();
        let deadline_ms = self.pace.deadline(since);
        let received = receive(self.transport, self.timers, self.buffer, self.recipient, deadline_ms).await;
        self.pace.waited_since(since);
        self.pace.moved(*received.as_ref().unwrap_or(&0));
        if received? > 0 {
            return Ok(Piece::Pending);
        }
        // RFC 9112 §8: a message that ends before its framing says so is incomplete.
        self.body.decoder.finish_at_eof()?;
        self.body.stage = Stage::Complete;
        Ok(Piece::End)
    }

    /// Reads and throws away the rest of the body, at most `bytes_max`. False: it is longer.
    ///
    /// # Errors
    /// The sender is gone, is too slow, or broke the framing.
    pub async fn discard(&mut self, bytes_max: u64) -> Result<bool, BodyError> {
        if self.body.remaining().is_some_and(|left| left > bytes_max) {
            return Ok(false);
        }
        let before = self.body.bytes;
        self.body.bytes_max = u64::MAX;
        while !self.body.is_complete() {
            match self.next_piece()? {
                Piece::Pending => {
                    self.receive().await?;
                }
                Piece::Data(_) | Piece::Trailers(_) | Piece::End => self.accept(),
            }
            if self.body.bytes - before > bytes_max {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Waits for bytes until a deadline, and looks after their recipient from time to time. 0: the sender has sent its
/// last. Without a deadline the recipient still owes a part of its request.
///
/// # Errors
/// The sender is gone or too slow, or the recipient has left.
pub async fn receive(
    transport: &Transport,
    timers: &Timers,
    buffer: &mut Buffer,
    recipient: Option<Recipient<'_>>,
    deadline_ms: u64,
) -> Result<usize, BodyError> {
    let bytes_max = recipient.as_ref().map_or(usize::MAX, Recipient::takes_at_once);
    let owes = if deadline_ms == NEVER { Owes::Body } else { Owes::Nothing };
    let mut is_probed = false;
    loop {
        let wait_ms = match recipient {
            Some(_) => deadline_ms.min(clock::now_ms() + CLIENT_WATCH_MS),
            None => deadline_ms,
        };
        match transport.recv_up_to(bytes_max, buffer, timers, wait_ms).await {
            Ok(n) => return Ok(n),
            Err(RecvError::Closed(error)) => return Err(BodyError::SourceClosed(error)),
            Err(RecvError::TimedOut) if wait_ms >= deadline_ms => return Err(BodyError::SourceTimedOut),
            Err(RecvError::TimedOut) => {}
        }
        if recipient.is_some_and(|recipient| recipient.has_left(owes, &mut is_probed)) {
            return Err(BodyError::ClientGone);
        }
    }
}

/// The framing in which a body leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is: the head announces its length, or the connection's end tells it.
    Raw,
    /// In chunks.
    Chunked,
}

/// The sending side of one message.
pub struct H1Sink<'s> {
    sink: Sink<'s>,
    encoding: Encoding,
    trailers: Trailers,
    /// A chunk has begun, and a part of it is still to come.
    is_in_chunk: bool,
}

impl<'s> H1Sink<'s> {
    /// `sink` has gathered the head already.
    pub fn new(sink: Sink<'s>, encoding: Encoding, trailers: Trailers) -> H1Sink<'s> {
        H1Sink { sink, encoding, trailers, is_in_chunk: false }
    }

    pub(super) fn try_write(&mut self, data: &[u8]) -> Result<usize, SendError> {
        if self.encoding == Encoding::Raw {
            return self.sink.try_write(data);
        }
        if !self.is_in_chunk {
            let mut line = [0; CHUNK_SIZE_BYTES_MAX];
            let length = encode_size(data.len() as u64, &mut line);
            if !self.sink.has_room(length)? {
                return Ok(0);
            }
            self.sink.put(&line[..length]);
            self.is_in_chunk = true;
        }
        let taken = self.sink.try_write(data)?;
        // Without room for its end the chunk goes on: with nothing to send but that.
        if taken == data.len() && self.sink.has_room(CHUNK_END.len())? {
            self.sink.put(CHUNK_END);
            self.is_in_chunk = false;
        }
        Ok(taken)
    }

    /// Waits until there is room for more.
    pub(super) async fn wait(&mut self) -> Result<(), SendError> {
        self.sink.wait().await
    }

    /// Ends a chunk whose data was taken whole.
    pub(super) async fn end_piece(&mut self) -> Result<(), SendError> {
        if std::mem::take(&mut self.is_in_chunk) {
            self.sink.gather(CHUNK_END).await?;
        }
        Ok(())
    }

    pub(super) async fn finish(&mut self, trailers: &[u8]) -> Result<(), FinishError> {
        match self.encoding {
            Encoding::Raw => Ok(()),
            Encoding::Chunked if self.trailers == Trailers::Drop || trailers.is_empty() => {
                self.sink.gather(LAST_CHUNK).await.map_err(FinishError::Send)
            }
            Encoding::Chunked => {
                let lines = trailers_that_pass(trailers).map_err(FinishError::Trailers)?;
                self.write_trailers(&lines).await.map_err(FinishError::Send)
            }
        }
    }

    async fn write_trailers(&mut self, lines: &[&[u8]]) -> Result<(), SendError> {
        self.sink.gather(b"0\r\n").await?;
        for line in lines {
            self.sink.gather(line).await?;
            self.sink.gather(b"\r\n").await?;
        }
        self.sink.gather(b"\r\n").await
    }

    pub(super) fn try_flush(&mut self) -> Result<bool, SendError> {
        self.sink.try_flush()
    }

    pub(super) async fn flush(&mut self) -> Result<(), SendError> {
        self.sink.flush().await
    }

    pub(super) fn sent(&self) -> u64 {
        self.sink.sent()
    }
}

/// Room for the line with the size of a chunk.
const CHUNK_SIZE_BYTES_MAX: usize = 18;
/// What ends the data of a chunk.
const CHUNK_END: &[u8] = b"\r\n";

/// The lines of a trailer section that may pass. Trailers are rare: this is the one place that allocates.
pub(super) fn trailers_that_pass(section: &[u8]) -> Result<Vec<&[u8]>, ProtocolError> {
    let mut fields = Vec::new();
    parse_trailers(section, &mut fields)?;
    let mut lines = section.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let passes = |field: &&Field| field.kind.may_be_trailer();
    let passing = fields.iter().map(|field| (field, lines.next().unwrap_or_default()));
    Ok(passing.filter(|(field, _)| passes(field)).map(|(_, line)| line).collect())
}
