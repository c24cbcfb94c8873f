//! The public listener, and the browser origins that may call it.

use std::net::IpAddr;

/// The public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// TCP port. 0: the kernel chooses one (for tests), the same for every core.
    pub port: u16,
    /// IP address. `None`: every address, IPv6 too where the host has it.
    pub bind: Option<IpAddr>,
}

/// The browser origins that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// No origin: preflights are ordinary requests.
    Off,
    /// Any origin, without credentials.
    Any,
    /// These origins, with credentials. They are serialized (`https://chat.example`) and in lower case.
    Origins(Vec<String>),
}
