//! The certificate of `demo --tls`: self-signed, for this host and this process alone.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use super::random::random_hex;

/// A certificate and its key as files of a new folder, which is removed when this value is dropped.
pub(super) struct SelfSigned(PathBuf);

impl SelfSigned {
    /// Makes a key (ECDSA, P-256) and a certificate for the names of this host.
    ///
    /// # Errors
    /// There is no temporary folder to write to, or the library fails.
    pub(super) fn new() -> io::Result<SelfSigned> {
        let names = NAMES.map(str::to_owned).to_vec();
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let folder = std::env::temp_dir().join(format!("realchat-demo-{}", random_hex::<8>()));
        DirBuilder::new().mode(0o700).create(&folder)?;
        let files = SelfSigned(folder);
        files.write(CERT, &made.cert.pem())?;
        files.write(KEY, &made.signing_key.serialize_pem())?;
        Ok(files)
    }

    pub(super) fn cert(&self) -> String {
        self.0.join(CERT).display().to_string()
    }

    pub(super) fn key(&self) -> String {
        self.0.join(KEY).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.0.join(name));
        file?.write_all(text.as_bytes())
    }
}

impl Drop for SelfSigned {
    fn drop(&mut self) {
        // What cannot be removed is of no use to anybody: nobody trusts the certificate.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const CERT: &str = "cert.pem";
const KEY: &str = "key.pem";
