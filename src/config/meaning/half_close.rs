//! What a client that half-closes its connection means by it.

use super::choice::Choice;

/// What becomes of the request of a client that has sent it and then half-closes its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HalfClose {
    /// It is served: the client has nothing more to say, and reads.
    #[default]
    Serve,
    /// It is given up: the client has left.
    Abort,
}

impl Choice for HalfClose {
    const ALL: &'static [Self] = &[Self::Serve, Self::Abort];

    fn word(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Abort => "abort",
        }
    }
}
