//! Why a body did not get through: whose fault, and the cause.

use std::io;

use crate::http::ProtocolError;
use crate::net::SendError;

/// Why a body did not get through.
#[derive(Debug)]
pub enum BodyError {
    /// The sender broke the framing, or ended in the middle.
    Framing(ProtocolError),
    /// The sender's connection broke.
    SourceClosed(io::Error),
    /// The sender does not go on.
    SourceTimedOut,
    /// The body is larger than its bound.
    TooLarge,
    /// The receiver's connection broke.
    SinkClosed(io::Error),
    /// The receiver does not take it.
    SinkTimedOut,
    /// The client went away while the upstream was awaited.
    ClientGone,
}

/// Why a body could not be finished.
#[derive(Debug)]
pub enum FinishError {
    /// The receiver's fault.
    Send(SendError),
    /// The sender's fault: the trailers.
    Trailers(ProtocolError),
}

impl From<SendError> for BodyError {
    fn from(error: SendError) -> BodyError {
        match error {
            SendError::Closed(error) => BodyError::SinkClosed(error),
            SendError::TimedOut => BodyError::SinkTimedOut,
        }
    }
}

impl From<ProtocolError> for BodyError {
    fn from(error: ProtocolError) -> BodyError {
        BodyError::Framing(error)
    }
}

impl From<FinishError> for BodyError {
    fn from(error: FinishError) -> BodyError {
        match error {
            FinishError::Send(error) => error.into(),
            FinishError::Trailers(error) => error.into(),
        }
    }
}
