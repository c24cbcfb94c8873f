//! Why nothing usable has come.

use std::fmt;

use crate::net::ConnectError;

/// Why there is no response.
#[derive(Debug)]
pub enum FetchError {
    /// There is no connection.
    Connect(ConnectError),
    /// It was not complete in time.
    TimedOut,
    /// It is over the bound.
    TooLong,
    /// The connection ended before the response.
    Closed,
    /// It is not a response of HTTP/1.1 whose length is beyond doubt.
    Garbled(&'static str),
}

impl FetchError {
    /// The cause as a stable word.
    pub fn cause(&self) -> &'static str {
        match self {
            FetchError::Connect(error) => error.cause(),
            FetchError::TimedOut => "timeout",
            FetchError::TooLong => "too_long",
            FetchError::Closed => "closed",
            FetchError::Garbled(_) => "garbled",
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Connect(error) => write!(f, "cannot connect: {error}"),
            FetchError::TimedOut => f.write_str("no complete response in time"),
            FetchError::TooLong => f.write_str("the response is too long"),
            FetchError::Closed => f.write_str("the connection ended before the response"),
            FetchError::Garbled(why) => write!(f, "the response is not valid: {why}"),
        }
    }
}
