//! Which heads of a response may arrive, and why one does not.

use crate::http::ProtocolError;
use crate::message::BodyError;

/// Which answers a request allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A response.
    Response,
    /// A response, or a 101 that switches protocols.
    Switch,
}

/// Which head has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// A 1xx head: another head follows.
    Interim,
    /// The final head.
    Final,
}

/// Why there is no response head.
#[derive(Debug)]
pub enum ResponseError {
    /// The connection ended before a byte of a response: perhaps the upstream has never seen the request.
    Stale,
    /// No byte of a response came in time.
    Silent,
    /// The head breaks the protocol.
    Protocol(ProtocolError),
    /// A 101 to a request that is no handshake.
    UnexpectedSwitch,
    /// More interim heads than the bound.
    TooManyInterim,
    /// The connection ended, or broke.
    Read(BodyError),
}
