//! What a core needs to speak TLS with clients.

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;

use super::certificate::{Certificate, digest};
use super::client;
use super::material::Material;
use super::names::Chooser;
use super::suites;
use super::tickets::{TicketSecrets, Tickets};
use crate::config;
use crate::config::meaning::{Choice, Http2};

/// The server side of TLS, the same for every core. It is immutable: a renewed certificate makes another one, and a
/// connection keeps the one that it began with.
pub struct Termination {
    /// What a session is made with.
    pub server: Arc<ServerConfig>,
    chooser: Arc<Chooser>,
    material: Material,
}

impl Termination {
    /// Reads the files of a configuration. `own`: the ticket secrets of this process so far, which stay unless the
    /// configuration names a file of them. `None`: the configuration has no TLS listener. Blocks.
    ///
    /// # Errors
    /// Lines of the form `KEY: reason`, one for each mistake.
    pub fn load(
        tls: &config::Tls,
        own: Option<&TicketSecrets>,
    ) -> Result<Option<Arc<Termination>>, Vec<String>> {
        // That a listener has no certificate is a mistake of the configuration already.
        if tls.port.is_none() || tls.certificates.is_empty() {
            return Ok(None);
        }
        let material = Material::read(tls, own)?;
        Termination::new(material).map(Arc::new).map(Some)
    }

    fn new(material: Material) -> Result<Termination, Vec<String>> {
        let Material { tls, certificates, secrets, client_ca } = &material;
        let verifier = client::verifier(tls.client_auth, client_ca)
            .map_err(|why| vec![format!("TLS_CLIENT_CA_FILE: {why}")])?;
        let chooser = Arc::new(Chooser::new(certificates, tls.unknown_name)?);
        let mut server = ServerConfig::builder_with_provider(suites::provider())
            .with_protocol_versions(suites::versions(tls.version_min))
            .map_err(|error| vec![format!("TLS_MIN_VERSION: {error}")])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(chooser.clone());
        // The first one that the client offers as well.
        server.alpn_protocols = match tls.http2 {
            Http2::Off => vec![HTTP_1_1.to_vec()],
            Http2::On => vec![H2.to_vec(), HTTP_1_1.to_vec()],
        };
        let policy = digest(&[tls.client_auth.word().as_bytes(), client_ca]);
        let tickets = Tickets::new(secrets, &policy);
        server.ticketer =
            Arc::new(tickets.map_err(|_| vec!["TLS_TICKET_KEYS_FILE: cannot be used".to_owned()])?);
        // Sessions live in tickets alone. The library's own store is one behind a lock, for all cores.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.ignore_client_order = true;
        // Early data can be replayed (RFC 8446 §8).
        server.max_early_data_size = 0;
        Ok(Termination { server: Arc::new(server), chooser, material })
    }

    /// The same with a new ticket key. `None`: it is not time for one.
    pub fn rotated(&self, now_unix_s: u64) -> Option<Arc<Termination>> {
        let secrets = self.material.secrets.rotated(now_unix_s)?;
        Termination::new(Material { secrets, ..self.material.clone() }).ok().map(Arc::new)
    }

    /// Whether a request for `host` belongs on another connection than one whose client has asked for the name `asked`:
    /// the host has a certificate of its own, and the one of this connection does not cover it.
    pub fn is_misdirected(&self, asked: &str, host: &[u8]) -> bool {
        self.chooser.is_misdirected(asked, host)
    }

    /// What the ticket keys are made from.
    pub fn ticket_secrets(&self) -> &TicketSecrets {
        &self.material.secrets
    }

    /// The certificates, in the configuration's order.
    pub fn certificates(&self) -> &[Certificate] {
        &self.material.certificates
    }

    /// The settings that it was made from.
    pub fn settings(&self) -> &config::Tls {
        &self.material.tls
    }

    /// The files that a configuration names.
    pub fn files(tls: &config::Tls) -> Vec<PathBuf> {
        let pairs = tls.certificates.iter().flat_map(|one| [one.cert.clone(), one.key.clone()]);
        pairs.chain(tls.ticket_keys.clone()).chain(tls.client_ca.clone()).collect()
    }

    /// Whether two of them are made from the same.
    pub fn is_same(one: Option<&Termination>, other: Option<&Termination>) -> bool {
        one.map(|one| &one.material) == other.map(|other| &other.material)
    }

    /// The certificates as `check` prints them.
    pub fn describe(&self, now_unix_s: u64) -> String {
        let mut text = "\nCertificates\n".to_owned();
        for Certificate { subject, facts, names, .. } in self.certificates() {
            let (date, left) = (facts.expiry_date(), facts.days_left(now_unix_s));
            let expiry = match left {
                ..0 => format!("expired on {date}"),
                _ => format!("expires on {date}, in {left} days"),
            };
            let names = if names.is_empty() { facts.names() } else { names.join(", ") };
            // Writing to a String does not fail.
            let _ = writeln!(text, "  {subject}  {names}  issued by {}, {expiry}", facts.issuer);
        }
        text
    }
}

impl fmt::Debug for Termination {
    /// Nothing of its keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Termination(…)")
    }
}

/// The name of HTTP/1.1 in the application-layer protocol negotiation (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";
const H2: &[u8] = b"h2";
