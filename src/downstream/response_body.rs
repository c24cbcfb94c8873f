//! The body of a response, as its head announces it.

use crate::http::BodyLength;
use crate::message::Trailers;

/// What a response's head says of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseBody {
    /// The body that follows.
    pub length: BodyLength,
    /// The length to announce, also where no body follows (HEAD, 304).
    pub announced: Option<u64>,
    /// Whether trailer fields pass.
    pub trailers: Trailers,
}
