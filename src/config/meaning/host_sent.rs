//! Which `Host` a request has upstream.

/// Which `Host` a request has upstream. The name that a certificate has to prove never depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostSent {
    /// The upstream's own.
    Upstream,
    /// The one that the client has asked for.
    Client,
    /// This one, in lower case.
    Name(String),
}

impl HostSent {
    /// As an operator writes it.
    pub(crate) fn text(&self) -> &str {
        match self {
            HostSent::Upstream => "upstream",
            HostSent::Client => "client",
            HostSent::Name(name) => name,
        }
    }
}
