//! TLS towards clients: its listener, its certificates and whose certificates it asks for.

use std::path::PathBuf;

use super::choice::Choice;
use super::listen::{Http2, ProxyProtocol};

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Port of the TLS listener, at the address of the public one. 0: the kernel chooses one. `None`: there is none.
    pub port: Option<u16>,
    /// Which of its connections begin with a header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// The certificates. The first one is the default. Not empty if there is a port.
    pub certificates: Vec<Certificate>,
    /// What happens to a client that names no host of theirs.
    pub unknown_name: UnknownName,
    /// The oldest version of the protocol.
    pub version_min: TlsVersion,
    /// Whether clients may speak HTTP/2.
    pub http2: Http2,
    /// The keys of session tickets. `None`: keys of this process.
    pub ticket_keys: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Who issues those. `None` only if nobody is asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether upstreams learn whom a client's certificate names.
    pub client_headers: ClientHeaders,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM of the certificate and its chain.
    pub cert: PathBuf,
    /// PEM of its private key.
    pub key: PathBuf,
    /// The names that it serves, in lower case: `chat.example`, `*.chat.example`. Empty: those in the certificate.
    pub names: Vec<String>,
    /// File and line of a `[[certificate]]`. `None`: the certificate of `TLS_CERT_FILE`.
    pub place: Option<String>,
}

impl Certificate {
    /// What a mistake about the certificate is called.
    pub fn cert_subject(&self) -> String {
        self.subject("TLS_CERT_FILE")
    }

    /// What a mistake about the key is called.
    pub fn key_subject(&self) -> String {
        self.subject("TLS_KEY_FILE")
    }

    fn subject(&self, setting: &str) -> String {
        self.place.as_ref().map_or_else(|| setting.to_owned(), |place| format!("certificate ({place})"))
    }
}

/// What happens to a client that names no host of a certificate, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownName {
    /// It gets the first certificate.
    Default,
    /// Its handshake is refused.
    Refuse,
}

impl Choice for UnknownName {
    const ALL: &'static [Self] = &[Self::Default, Self::Refuse];

    fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Refuse => "refuse",
        }
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V12,
    /// TLS 1.3 (RFC 8446).
    V13,
}

impl Choice for TlsVersion {
    const ALL: &'static [Self] = &[Self::V12, Self::V13];

    fn word(self) -> &'static str {
        match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        }
    }
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nobody is asked for one.
    Off,
    /// A client may have none. One that it shows is checked.
    Request,
    /// A client without one is refused.
    Require,
}

impl Choice for ClientAuth {
    const ALL: &'static [Self] = &[Self::Off, Self::Request, Self::Require];

    fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Request => "request",
            Self::Require => "require",
        }
    }
}

/// Whether upstreams learn whom a client's certificate names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientHeaders {
    /// They do not.
    Off,
    /// They do, in fields of their own.
    On,
}

impl Choice for ClientHeaders {
    const ALL: &'static [Self] = &[Self::Off, Self::On];

    fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
        }
    }
}
