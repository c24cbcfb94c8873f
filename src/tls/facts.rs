//! What a certificate says of itself: its names, its issuer and its expiry.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::clock;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its host names (RFC 5280 §4.2.1.6), in lower case: `chat.example`, `*.chat.example`.
    pub hosts: Vec<String>,
    /// Its IP addresses.
    pub addresses: Vec<String>,
    /// Who has issued it.
    pub issuer: String,
    /// The last second in which it is valid, since 1970.
    pub expires_unix_s: u64,
}

impl Facts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What is wrong with it: the second half of a sentence.
    pub fn read(der: &CertificateDer<'_>) -> Result<Facts, String> {
        let wrong = |what: &str| format!("holds a certificate that cannot be read: {what}");
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| wrong("it is not X.509"))?;
        let names = certificate.subject_alternative_name().map_err(|_| wrong("its names"))?;
        let (mut hosts, mut addresses) = (Vec::new(), Vec::new());
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(host) => hosts.push(printable(host).to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes).map(|one| one.to_string())),
                _ => {}
            }
        }
        let expires = certificate.validity().not_after.timestamp();
        Ok(Facts {
            hosts,
            addresses,
            issuer: printable(&certificate.issuer().to_string()),
            expires_unix_s: u64::try_from(expires).unwrap_or(0),
        })
    }

    /// Whether the certificate covers a host name, or a wildcard as a whole.
    pub fn covers(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let is_wildcard_of = |name: &String| {
            parent.is_some_and(|parent| name.strip_prefix("*.").is_some_and(|below| below == parent))
        };
        self.hosts.iter().any(|name| name == host || is_wildcard_of(name))
    }

    /// The host names and addresses as text.
    pub fn names(&self) -> String {
        let all: Vec<&str> = self.hosts.iter().chain(&self.addresses).map(String::as_str).collect();
        if all.is_empty() { "no names".to_owned() } else { all.join(", ") }
    }

    /// Whole days until it expires. Negative: it has expired.
    pub fn days_left(&self, now_unix_s: u64) -> i64 {
        let seconds = self.expires_unix_s.cast_signed() - now_unix_s.cast_signed();
        seconds.div_euclid(DAY_S)
    }

    /// The day on which it expires: `2026-12-24`.
    pub fn expiry_date(&self) -> String {
        let (year, month, day) = clock::civil(self.expires_unix_s / DAY_S.cast_unsigned());
        format!("{year:04}-{month:02}-{day:02}")
    }
}

/// An address as a certificate has it (RFC 5280 §4.2.1.6). `None`: it is of no known length.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let sixteen = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    four().or_else(sixteen)
}

/// A text on one line of bounded length, for logs and metrics.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}

const DAY_S: i64 = 86_400;
/// As long as a host name can be (RFC 1035 §2.3.4).
const TEXT_CHARS_MAX: usize = 253;
