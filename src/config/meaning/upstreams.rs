//! The internal services.

use std::path::PathBuf;

use super::balancing::{Balancing, UpstreamBounds};
use super::health::Health;
use super::host_sent::HostSent;
use super::members::{Members, UpstreamAddress};

/// One internal service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in routes, logs and metrics.
    pub name: String,
    /// Where its members come from.
    pub members: Members,
    /// The value of `Host` in requests to it, unless `host_sent` says otherwise; and in probes.
    pub authority: String,
    /// Which `Host` requests have: the upstream's own or the client's.
    pub host_sent: HostSent,
    /// Whether its own authority in `Location` and its kin becomes the client's.
    pub rewrite_location: bool,
    /// Whether a connection to it carries more than one request.
    pub connection_reuse: bool,
    /// TLS to it; `None`: plain TCP, or a Unix socket.
    pub tls: Option<UpstreamTls>,
    /// How its members are chosen.
    pub balancing: Balancing,
    /// Its own bounds.
    pub bounds: UpstreamBounds,
    /// How its members are probed; `None`: they are not.
    pub health: Option<Health>,
}

/// TLS to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name or address that its certificate has to prove, in lower case.
    pub server_name: String,
    /// PEM of the authorities that may issue its certificate. `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate that the gateway shows.
    pub certificate: Option<OwnCertificate>,
}

/// The files of a certificate that the gateway shows to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// PEM of the certificate and its chain.
    pub cert: PathBuf,
    /// PEM of its private key.
    pub key: PathBuf,
}

impl Upstream {
    /// Whether it is the same service, reached in the same way. Its bounds, the choice among its members, their probes
    /// and what of the client it is told may differ.
    pub fn is_same_service(&self, other: &Upstream) -> bool {
        let like = Upstream {
            balancing: self.balancing.clone(),
            bounds: self.bounds.clone(),
            health: self.health.clone(),
            host_sent: self.host_sent.clone(),
            rewrite_location: self.rewrite_location,
            ..other.clone()
        };
        *self == like
    }
}

impl UpstreamTls {
    /// TLS to this address, with the defaults: its own name, the authorities of the system, no certificate of ours.
    pub(crate) fn to(address: &UpstreamAddress) -> UpstreamTls {
        let server_name = match address {
            UpstreamAddress::Tcp { host, .. } => host.clone(),
            UpstreamAddress::Unix(_) => String::new(),
        };
        UpstreamTls { server_name, ca: None, certificate: None }
    }

    /// What is not the default, as an operator writes it: `, ca_file = /run/ca.pem`. `host` is the default of the name.
    pub(crate) fn show(&self, host: &str) -> String {
        let UpstreamTls { server_name, ca, certificate } = self;
        let file = |key: &str, path: &PathBuf| format!(", {key} = {}", path.display());
        let mut shown = ca.as_ref().map_or_else(String::new, |ca| file("ca_file", ca));
        if server_name != host {
            shown.push_str(&format!(", server_name = {server_name}"));
        }
        if let Some(OwnCertificate { cert, key }) = certificate {
            shown.push_str(&file("cert_file", cert));
            shown.push_str(&file("key_file", key));
        }
        shown
    }
}
