//! What a route answers without an upstream.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

/// The answer of a route without an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// What was asked for is somewhere else.
    Redirect(Redirect),
    /// Always the same.
    Respond(Respond),
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The target. It begins with a text: a scheme and a whole authority, or one slash; and no text before a path ends
    /// with a slash. So no request decides about the host.
    pub to: Vec<Piece>,
}

/// A piece of the target of a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// `{path}`: the path of the request.
    Path,
    /// `{query}`: its query with the question mark, or nothing.
    Query,
}

/// An answer that is always the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// Its status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: String,
    /// The body, at most [`crate::limits::RESPOND_BODY_BYTES_MAX`].
    pub body: Arc<[u8]>,
    /// The file that it comes from.
    pub file: Option<PathBuf>,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Redirect(Redirect { status, to }) => {
                write!(f, "redirect {status} to ")?;
                to.iter().try_for_each(|piece| match piece {
                    Piece::Text(text) => f.write_str(text),
                    Piece::Path => f.write_str("{path}"),
                    Piece::Query => f.write_str("{query}"),
                })
            }
            // The sum tells one body from another of the same length.
            Reply::Respond(Respond { status, content_type, body, file }) => {
                let mut sum = DefaultHasher::new();
                sum.write(body);
                let (bytes, sum) = (body.len(), sum.finish() as u32);
                write!(f, "respond {status} with {bytes} bytes of {content_type}, sum {sum:08x}")?;
                file.iter().try_for_each(|file| write!(f, ", from {}", file.display()))
            }
        }
    }
}
