//! Which certificate a client gets: by the host name that it asks for (RFC 6066 §3, `server_name`).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use crate::config::UnknownName;

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
    fn find(&self, name: &str) -> Option<usize> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let below = || self.below.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(below).copied()
    }
}

/// Chooses the certificate of a handshake.
#[derive(Debug)]
pub(super) struct Chooser {
    names: Names,
    keys: Vec<Arc<CertifiedKey>>,
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
        let keys = certificates.iter().map(|certificate| certificate.key.clone()).collect();
        if mistakes.is_empty() { Ok(Chooser { names, keys, unknown }) } else { Err(mistakes) }
    }

    fn choose(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        match (name.and_then(|name| self.names.find(name)), self.unknown) {
            (Some(index), _) => self.keys.get(index),
            (None, UnknownName::Default) => self.keys.first(),
            (None, UnknownName::Refuse) => None,
        }
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).cloned()
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
            assert_eq!(names.find(name), expected, "{name}");
        }
    }
}
