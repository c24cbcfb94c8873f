//! What a core needs to speak TLS with clients.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;

use super::certificate::Certificate;
use super::suites::{self, VERSIONS};
use crate::config;

/// The server side of TLS, the same for every core. It is immutable: a renewed certificate makes another one, and a
/// connection keeps the one that it began with.
pub struct Termination {
    /// What a session is made with.
    pub server: Arc<ServerConfig>,
    /// The certificates, in the configuration's order.
    pub certificates: Vec<Certificate>,
}

impl Termination {
    /// Reads the files of a configuration. `None`: it has no TLS listener. Blocks.
    ///
    /// # Errors
    /// Lines of the form `KEY: reason`, one for each mistake.
    pub fn load(tls: &config::Tls) -> Result<Option<Arc<Termination>>, Vec<String>> {
        if tls.port.is_none() {
            return Ok(None);
        }
        let (mut certificates, mut mistakes) = (Vec::new(), Vec::new());
        for files in &tls.certificates {
            match Certificate::load(files) {
                Ok(certificate) => certificates.push(certificate),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let Some(first) = certificates.first() else {
            return Err(vec!["TLS_CERT_FILE: is missing (TLS_PORT needs a certificate)".to_owned()]);
        };
        let mut server = ServerConfig::builder_with_provider(suites::provider())
            .with_protocol_versions(&VERSIONS)
            .map_err(|error| vec![format!("TLS_PORT: {error}")])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(first.key.clone())));
        server.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // The library's own store is one behind a lock, for all cores.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Some(Arc::new(Termination { server: Arc::new(server), certificates })))
    }

    /// Whether two of them serve the same certificates with the same keys.
    pub fn is_same(one: Option<&Termination>, other: Option<&Termination>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => one.certificates == other.certificates,
            (None, None) => true,
            _ => false,
        }
    }
}

/// The name of HTTP/1.1 in the application-layer protocol negotiation (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";
