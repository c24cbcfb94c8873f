//! The sink of a body: the message that it is sent in.

use super::error::FinishError;
use super::h1::H1Sink;
use crate::net::SendError;

/// The sending side of one message: its head, already gathered, and its body.
pub enum BodySink<'s> {
    /// An HTTP/1 message on its connection.
    H1(H1Sink<'s>),
}

impl BodySink<'_> {
    /// Sends body bytes: small pieces gather, large ones leave at once.
    ///
    /// # Errors
    /// The receiver is gone, or does not take them in time.
    pub async fn write(&mut self, data: &[u8]) -> Result<(), SendError> {
        match self {
            BodySink::H1(sink) => sink.write(data).await,
        }
    }

    /// Gathers the end of the body. `trailers`: the section that was received, or nothing.
    ///
    /// # Errors
    /// As [`BodySink::write`], or the trailers are invalid.
    pub async fn finish(&mut self, trailers: &[u8]) -> Result<(), FinishError> {
        match self {
            BodySink::H1(sink) => sink.finish(trailers).await,
        }
    }

    /// Sends everything that was gathered.
    ///
    /// # Errors
    /// As [`BodySink::write`].
    pub async fn flush(&mut self) -> Result<(), SendError> {
        match self {
            BodySink::H1(sink) => sink.flush().await,
        }
    }

    /// Bytes of the message that have left so far, its head included.
    pub fn sent(&self) -> u64 {
        match self {
            BodySink::H1(sink) => sink.sent(),
        }
    }
}
