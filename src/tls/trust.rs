//! Whom the gateway trusts to vouch for a server: the authorities of the system, or those of one file.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::certificate::{chain, digest};
use crate::config::read_secret_file;

/// Authorities.
#[derive(Clone)]
pub(super) struct Trust {
    pub(super) roots: Arc<RootCertStore>,
    /// SHA-256 of their certificates.
    pub(super) digest: [u8; 32],
}

impl Trust {
    /// Those of the system. It has some that cannot be read now and then: the others count. Blocks.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn of_system() -> Result<Trust, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs.iter().cloned());
        if added == 0 {
            let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
            return Err(format!("the system has no authorities{why}"));
        }
        Ok(Trust::new(roots, &found.certs))
    }

    /// Those of a file, all of which have to be usable. Blocks.
    ///
    /// # Errors
    /// Why it cannot be used: one sentence with its path.
    pub(super) fn of_file(path: &Path) -> Result<Trust, String> {
        let shown = path.display();
        let certificates = chain(&read_secret_file(path)?).map_err(|why| format!("{shown} {why}"))?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let added = roots.add(certificate.clone());
            added.map_err(|_| format!("{shown} has a certificate in it that cannot be read"))?;
        }
        Ok(Trust::new(roots, &certificates))
    }

    fn new(roots: RootCertStore, certificates: &[CertificateDer<'_>]) -> Trust {
        // The system tells its own in any order.
        let mut texts: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
        texts.sort_unstable();
        Trust { roots: Arc::new(roots), digest: digest(&texts) }
    }
}
