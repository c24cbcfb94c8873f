//! Clients' certificates: who is asked for one, and whom it names.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::certificate::chain;
use super::facts::address;
use super::suites;
use crate::config::ClientAuth;
use crate::limits::{CLIENT_NAME_BYTES_MAX, CLIENT_NAMES_MAX};

/// Whom a client's certificate names. Every text is of visible ASCII, with spaces inside at most, and bounded: it can
/// stand in a field. A name that is anything else is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The last common name (RFC 5280 §4.1.2.6).
    pub common_name: Option<String>,
    /// The alternative names (RFC 5280 §4.2.1.6), in their order.
    pub names: Vec<Name>,
}

/// An alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A host.
    Dns(String),
    /// A mailbox.
    Email(String),
    /// A URI, such as a SPIFFE id.
    Uri(String),
    /// An address.
    Ip(IpAddr),
}

/// What upstreams learn of a client's certificate, as the values of fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// The common name. Empty: it has none that a field can hold.
    pub common_name: Box<str>,
    /// The alternative names, `DNS:worker.test, URI:spiffe://realchat/worker`. One with a comma in it is left out: it
    /// would read as two.
    pub names: Box<str>,
}

impl Verified {
    /// What a certificate says. The handshake has verified it.
    pub fn read(certificate: &[u8]) -> Verified {
        let Subject { common_name, names } = names(certificate);
        let names = names.iter().map(Name::to_string).filter(|name| !name.contains(','));
        Verified {
            common_name: common_name.unwrap_or_default().into(),
            names: names.collect::<Vec<_>>().join(", ").into(),
        }
    }
}

/// As OpenSSL shows it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Dns(host) => write!(f, "DNS:{host}"),
            Name::Email(mailbox) => write!(f, "email:{mailbox}"),
            Name::Uri(uri) => write!(f, "URI:{uri}"),
            Name::Ip(address) => write!(f, "IP:{address}"),
        }
    }
}

/// Whom a certificate names. The handshake has verified it; nothing here does. A certificate that cannot be read names
/// nobody.
pub fn names(certificate: &[u8]) -> Subject {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Subject::default() };
    let common_names = certificate.subject().iter_common_name();
    let common_name = common_names.last().and_then(|name| name.as_str().ok()).and_then(visible);
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|found| &found.value.general_names);
    let names = alternatives.filter_map(|name| match name {
        GeneralName::DNSName(host) => visible(host).map(Name::Dns),
        GeneralName::RFC822Name(mailbox) => visible(mailbox).map(Name::Email),
        GeneralName::URI(uri) => visible(uri).map(Name::Uri),
        GeneralName::IPAddress(bytes) => address(bytes).map(Name::Ip),
        _ => None,
    });
    Subject { common_name, names: names.take(CLIENT_NAMES_MAX).collect() }
}

fn visible(text: &str) -> Option<String> {
    let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let is_whole = text.trim() == text && (1..=CLIENT_NAME_BYTES_MAX).contains(&text.len());
    (is_visible && is_whole).then(|| text.to_owned())
}

/// Who checks clients' certificates. `authorities`: PEM.
///
/// # Errors
/// What is wrong with the authorities.
pub(super) fn verifier(auth: ClientAuth, authorities: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if auth == ClientAuth::Off {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    for authority in chain(authorities).map_err(|why| format!("the file {why}"))? {
        roots.add(authority).map_err(|error| format!("an authority cannot be used: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), suites::provider());
    let builder = if auth == ClientAuth::Request { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| error.to_string())
}
