//! Which certificate a client gets: by the host name that it asks for (RFC 6066 §3, `server_name`).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use crate::config::UnknownName;
use crate::limits::SERVER_NAME_BYTES_MAX;

/// Host names, and what each leads to.
#[derive(Debug, Default)]
struct Names {
    exact: HashMap<String, usize>,
    /// By what stands behind `*.`.
    below: HashMap<String, usize>,
}

impl Names {
    /// Adds a name in lower case. Returns what it led to before.
    fn add(&mut self, name: &str, to: usize) -> Option<usize> {
        match name.strip_prefix("*.") {
            Some(parent) => self.below.insert(parent.to_owned(), to),
            None => self.exact.insert(name.to_owned(), to),
        }
    }

    /// What a name leads to. A wildcard stands for one label (RFC 9525 §6.3).
    fn find(&self, name: &HostName) -> Option<usize> {
        let name = name.as_str();
        let below = || self.below.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(below).copied()
    }
}

/// A host name in lower case, without the dot at its end. No request allocates for one.
struct HostName {
    bytes: [u8; SERVER_NAME_BYTES_MAX],
    length: usize,
}

impl HostName {
    /// `None`: it is longer than a name can be, or not of ASCII alone.
    fn new(name: &[u8]) -> Option<HostName> {
        let name = name.strip_suffix(b".").unwrap_or(name);
        let mut bytes = [0; SERVER_NAME_BYTES_MAX];
        bytes.get_mut(..name.len()).filter(|_| name.is_ascii())?.copy_from_slice(name);
        bytes.make_ascii_lowercase();
        Some(HostName { bytes, length: name.len() })
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// Chooses the certificate of a handshake.
#[derive(Debug)]
pub(super) struct Chooser {
    names: Names,
    certificates: Vec<Certificate>,
    unknown: UnknownName,
}

impl Chooser {
    /// # Errors
    /// Two certificates have one name: a line `KEY: reason` for each of these names.
    pub(super) fn new(certificates: &[Certificate], unknown: UnknownName) -> Result<Chooser, Vec<String>> {
        let (mut names, mut mistakes) = (Names::default(), Vec::new());
        for (index, certificate) in certificates.iter().enumerate() {
            let Certificate { subject, .. } = certificate;
            for name in &certificate.names {
                let before = names.add(name, index).filter(|before| *before != index);
                mistakes.extend(before.map(|before| {
                    format!("{subject}: {name} is a name of {} too", certificates[before].subject)
                }));
            }
            // Nobody would ever get it.
            if certificate.names.is_empty() && index > 0 {
                mistakes.push(format!("{subject}: has no host name"));
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Chooser { names, certificates: certificates.to_vec(), unknown })
    }

    fn choose(&self, name: Option<&str>) -> Option<&Certificate> {
        match (name.and_then(|name| self.find(name.as_bytes())), self.unknown) {
            (Some(index), _) => self.certificates.get(index),
            (None, UnknownName::Default) => self.certificates.first(),
            (None, UnknownName::Refuse) => None,
        }
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.names.find(&HostName::new(name)?)
    }

    /// Whether a client that has asked for one name needs another connection for `host`: the host has a certificate,
    /// and the one of this connection does not cover it.
    pub(super) fn is_misdirected(&self, asked: &str, host: &[u8]) -> bool {
        // What nearly every client asks for is the host of its requests.
        if self.certificates.len() < 2 || asked.as_bytes().eq_ignore_ascii_case(host) {
            return false;
        }
        let Some(host) = HostName::new(host) else { return false };
        let Some(wanted) = self.names.find(&host) else { return false };
        let given = self.find(asked.as_bytes()).unwrap_or(0);
        let covers = |certificate: &Certificate| certificate.facts.covers(host.as_str());
        given != wanted && !self.certificates.get(given).is_some_and(covers)
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).map(|certificate| certificate.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_goes_before_a_wildcard_of_one_label() {
        let mut names = Names::default();
        for (index, name) in ["chat.example", "*.chat.example", "a.chat.example"].into_iter().enumerate() {
            assert_eq!(names.add(name, index), None);
        }
        assert_eq!(names.add("*.chat.example", 1), Some(1));
        for (name, expected) in [
            ("chat.example", Some(0)),
            ("CHAT.example.", Some(0)),
            ("b.chat.example", Some(1)),
            ("a.chat.example", Some(2)),
            ("A.Chat.Example", Some(2)),
            ("a.b.chat.example", None),
            ("example", None),
            ("", None),
            (".", None),
            (".chat.example", Some(1)),
        ] {
            let found = HostName::new(name.as_bytes()).and_then(|name| names.find(&name));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_name_is_bounded_and_of_ascii() {
        let longest = "a".repeat(SERVER_NAME_BYTES_MAX);
        assert_eq!(
            HostName::new(longest.as_bytes()).map(|name| name.as_str().to_owned()),
            Some(longest.clone())
        );
        assert!(HostName::new((longest + "a").as_bytes()).is_none());
        assert!(HostName::new("\u{e4}.example".as_bytes()).is_none());
    }
}
