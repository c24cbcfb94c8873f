//! How the page and the printed lines reach the gateway.

use crate::http::Scheme;

/// A listener of the gateway, as its clients on this host know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entrance {
    /// What is spoken there.
    pub scheme: Scheme,
    /// Its port.
    pub port: u16,
}

impl Entrance {
    /// What stands behind `http` and `ws` in the schemes of its URLs.
    pub(super) fn suffix(self) -> &'static str {
        match self.scheme {
            Scheme::Http => "",
            Scheme::Https => "s",
        }
    }
}
