//! How an exchange ended, and what that means for its connection.

/// How an exchange ended, whatever version of HTTP it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<U> {
    /// The client has the whole response.
    Complete,
    /// The client does not have the whole response, and cannot get it any more.
    Aborted,
    /// The connection has left HTTP behind: something else goes on with it.
    Upgraded(U),
}

/// What becomes of an HTTP/1 connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next request may come.
    KeepAlive,
    /// The last answer is on its way while the client may still be sending: half-close, and read on for a bounded time,
    /// because a reset would destroy the answer (RFC 9112 §9.6).
    Linger,
    /// Nothing is left to say.
    Close,
}
