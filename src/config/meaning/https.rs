//! From HTTP to HTTPS: redirects, what browsers remember, and the challenges of certificate authorities.

use std::path::PathBuf;

/// From HTTP to HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Https {
    /// What becomes of requests that come in the clear.
    pub redirect: HttpsRedirect,
    /// `Strict-Transport-Security` of every response over HTTPS (RFC 6797). `None`: the gateway writes none.
    pub hsts: Option<String>,
    /// The folder of the tokens that `/.well-known/acme-challenge/` serves. `None`: the path is like any other.
    pub challenges: Option<PathBuf>,
}

/// What becomes of requests that come in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpsRedirect {
    /// They are served.
    Off,
    /// They are redirected to the port of the TLS listener.
    On,
    /// They are redirected to this port, under which clients know that listener.
    Port(u16),
}
