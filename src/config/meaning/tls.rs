//! TLS towards clients: its listener and its certificates.

use std::path::PathBuf;

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Port of the TLS listener, at the address of the public one. 0: the kernel chooses one. `None`: there is none.
    pub port: Option<u16>,
    /// The certificates. The first one is the default. Not empty if there is a port.
    pub certificates: Vec<Certificate>,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM of the certificate and its chain.
    pub cert: PathBuf,
    /// PEM of its private key.
    pub key: PathBuf,
}

impl Certificate {
    /// What a mistake about the certificate is called.
    pub fn cert_subject(&self) -> String {
        "TLS_CERT_FILE".to_owned()
    }

    /// What a mistake about the key is called.
    pub fn key_subject(&self) -> String {
        "TLS_KEY_FILE".to_owned()
    }
}
