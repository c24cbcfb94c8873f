//! The sink of a body: the message that it is sent in.

use super::error::FinishError;
use super::h1::H1Sink;
use super::h2::H2Sink;
use crate::net::SendError;

/// The sending side of one message: its head, already gathered, and its body.
pub enum BodySink<'s> {
    /// An HTTP/1 message on its connection.
    H1(H1Sink<'s>),
    /// A message on a stream of HTTP/2.
    H2(H2Sink<'s>),
}

impl BodySink<'_> {
    /// Sends body bytes: small pieces gather, large ones leave at once.
    ///
    /// # Errors
    /// The receiver is gone, or does not take them in time.
    pub async fn write(&mut self, mut data: &[u8]) -> Result<(), SendError> {
        while !data.is_empty() {
            match self.try_write(data)? {
                0 => self.wait().await?,
                taken => data = &data[taken..],
            }
        }
        self.end_piece().await
    }

    /// Like [`BodySink::write`], but never waits. Returns how many bytes of the piece were taken. If these are not all,
    /// [`BodySink::wait`] is next, and then the rest of the same piece; at its end [`BodySink::end_piece`].
    ///
    /// # Errors
    /// The receiver is gone.
    pub fn try_write(&mut self, piece: &[u8]) -> Result<usize, SendError> {
        match self {
            BodySink::H1(sink) => sink.try_write(piece),
            BodySink::H2(sink) => sink.try_write(piece),
        }
    }

    /// Waits until the receiver takes more.
    ///
    /// # Errors
    /// The receiver is gone, or takes nothing in time.
    pub async fn wait(&mut self) -> Result<(), SendError> {
        match self {
            BodySink::H1(sink) => sink.wait().await,
            BodySink::H2(sink) => sink.wait().await,
        }
    }

    /// Ends a piece that was taken whole.
    ///
    /// # Errors
    /// As [`BodySink::write`].
    pub async fn end_piece(&mut self) -> Result<(), SendError> {
        match self {
            BodySink::H1(sink) => sink.end_piece().await,
            // Each piece is in frames of its own.
            BodySink::H2(_) => Ok(()),
        }
    }

    /// Gathers the end of the body. `trailers`: the section that was received, or nothing.
    ///
    /// # Errors
    /// As [`BodySink::write`], or the trailers are invalid.
    pub async fn finish(&mut self, trailers: &[u8]) -> Result<(), FinishError> {
        match self {
            BodySink::H1(sink) => sink.finish(trailers).await,
            BodySink::H2(sink) => sink.finish(trailers).await,
        }
    }

    /// Sends what was gathered, as far as the receiver takes it, and never waits. True: all of it.
    ///
    /// # Errors
    /// The receiver is gone.
    pub fn try_flush(&mut self) -> Result<bool, SendError> {
        match self {
            BodySink::H1(sink) => sink.try_flush(),
            BodySink::H2(sink) => sink.try_flush(),
        }
    }

    /// Sends everything that was gathered.
    ///
    /// # Errors
    /// As [`BodySink::write`].
    pub async fn flush(&mut self) -> Result<(), SendError> {
        match self {
            BodySink::H1(sink) => sink.flush().await,
            BodySink::H2(sink) => sink.flush().await,
        }
    }

    /// Bytes of the message that have left so far, its head included.
    pub fn sent(&self) -> u64 {
        match self {
            BodySink::H1(sink) => sink.sent(),
            BodySink::H2(sink) => sink.sent(),
        }
    }
}
