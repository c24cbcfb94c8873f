//! A certificate with its chain and its private key, from two PEM files.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::facts::Facts;
use super::suites;
use crate::config::{self, read_file, read_secret_file};

/// A certificate that can be served.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// What a log line calls it: its setting, or its line in the configuration file.
    pub subject: String,
    /// What it says of itself.
    pub facts: Facts,
    /// The host names that it serves.
    pub names: Vec<String>,
    /// The chain and the key, as handshakes use them.
    pub key: Arc<CertifiedKey>,
    /// SHA-256 of both files.
    digest: [u8; 32],
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Certificate) -> bool {
        (&self.subject, &self.names, &self.digest) == (&other.subject, &other.names, &other.digest)
    }
}

impl Certificate {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// One line `KEY: reason` for the first mistake.
    pub fn load(files: &config::Certificate) -> Result<Certificate, String> {
        let of_cert = |why: String| format!("{}: {why}", files.cert_subject());
        let of_key = |why: String| format!("{}: {why}", files.key_subject());
        let (cert_path, key_path) = (files.cert.display(), files.key.display());
        let cert = read_file(&files.cert).map_err(of_cert)?;
        let key = read_secret_file(&files.key).map_err(of_key)?;
        let digest = digest(&[&cert, &key]);
        let chain = chain(&cert).map_err(|why| of_cert(format!("{cert_path} {why}")))?;
        let facts = Facts::read(&chain[0]).map_err(|why| of_cert(format!("{cert_path} {why}")))?;
        let key = private_key(&key).map_err(|why| of_key(format!("{key_path} {why}")))?;
        let key = CertifiedKey::from_der(chain, key, &suites::provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => of_key(format!("{key_path} is not the key of {cert_path}")),
            rustls::Error::InvalidCertificate(_) => {
                of_cert(format!("{cert_path} holds a certificate that cannot be read"))
            }
            error => of_key(format!("{key_path} cannot be used: {error}")),
        })?;
        let names = if files.names.is_empty() { facts.hosts.clone() } else { files.names.clone() };
        if let Some(name) = names.iter().find(|name| !facts.covers(name)) {
            return Err(of_cert(format!("{name} is no name of {cert_path}, which has {}", facts.names())));
        }
        Ok(Certificate { subject: files.cert_subject(), facts, names, key: Arc::new(key), digest })
    }
}

/// SHA-256 of several texts, each after its length.
pub(super) fn digest(texts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// The certificates of a PEM file, at least one.
pub(super) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|_| "is not a PEM".to_owned())?;
    if chain.is_empty() { Err("has no certificate in it".to_owned()) } else { Ok(chain) }
}

pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => "has no private key in it (an encrypted one cannot be read)".to_owned(),
        // Not the error's own words: they may show a line of the key.
        _ => "is not a PEM".to_owned(),
    })
}
