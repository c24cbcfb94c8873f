//! Certificates and keys as files.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{Builder, Gateway, now};

/// A folder of certificates, removed when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("realchat-tls-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("a file in our own folder");
    }

    /// Writes a new self-signed certificate and its key as `cert.pem` and `key.pem`.
    pub(super) fn certify(&self, names: &[&str]) {
        let made = self_signed(names);
        self.write("cert.pem", &made.cert.pem());
        self.write("key.pem", &made.signing_key.serialize_pem());
    }

    /// The same, valid for so many days from now.
    pub(super) fn certify_for(&self, days: i64, names: &[&str]) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("host names");
        let expires_s = now() as i64 + days * 86_400 + 3_600;
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(expires_s.unsigned_abs());
        let key = rcgen::KeyPair::generate().expect("a key");
        self.write("cert.pem", &params.self_signed(&key).expect("a certificate").pem());
        self.write("key.pem", &key.serialize_pem());
    }

    /// A gateway with these two files and a TLS listener.
    pub(super) fn gateway(&self) -> Builder {
        let builder = Gateway::builder().env("TLS_PORT", "0");
        builder.env("TLS_CERT_FILE", &self.path("cert.pem")).env("TLS_KEY_FILE", &self.path("key.pem"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A new certificate of a new key.
pub(super) fn self_signed(names: &[&str]) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    rcgen::generate_simple_self_signed(names).expect("a certificate")
}
