//! The public listener, and the browser origins that may call it.

use std::net::IpAddr;

use super::choice::Choice;

/// The public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// TCP port. 0: the kernel chooses one (for tests), the same for every core.
    pub port: u16,
    /// IP address. `None`: every address, IPv6 too where the host has it.
    pub bind: Option<IpAddr>,
}

/// Which connections of a listener begin with a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None.
    Off,
    /// Those of the trusted proxies; others are not served.
    On,
    /// Those of the trusted proxies; others begin as they like.
    Trusted,
}

impl Choice for ProxyProtocol {
    const ALL: &'static [Self] = &[Self::Off, Self::On, Self::Trusted];

    fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Trusted => "trusted",
        }
    }
}

/// Whether clients may speak HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2 {
    /// HTTP/1.1 alone.
    Off,
    /// Both.
    On,
}

impl Choice for Http2 {
    const ALL: &'static [Self] = &[Self::Off, Self::On];

    fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
        }
    }
}

/// What the gateway says of itself in `Via` of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// Nothing, and no `Via` goes upstream.
    Off,
    /// This name.
    Name(String),
}

/// The browser origins that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// No origin: preflights are ordinary requests.
    Off,
    /// Any origin, without credentials.
    Any,
    /// These origins, with credentials. They are serialized (`https://chat.example`) and in lower case; some may have a
    /// wildcard.
    Origins(Vec<String>),
}
