//! Secrets: each has a setting of its own and a setting that names a file.

use std::path::{Path, PathBuf};

use super::key::{Key, NoDefault};
use super::layers::Layers;
use super::meaning::Secret;
use super::regular_file::{self, RegularFile};
use super::written::Written;

/// The two settings of a secret.
#[derive(Clone, Copy)]
pub(super) struct SecretKeys {
    /// Holds the secret.
    pub(super) value: &'static Key<Secret, NoDefault>,
    /// Names the file that holds the secret.
    pub(super) file: &'static Key<PathBuf, NoDefault>,
}

/// A secret and where it was found.
pub(super) struct FoundSecret {
    pub(super) secret: Secret,
    /// The setting, with its place if a configuration file holds it.
    pub(super) subject: String,
}

impl SecretKeys {
    /// The secret of the nearest layer that has one of the two settings.
    pub(super) fn find(self, layers: &mut Layers) -> Option<FoundSecret> {
        match layers.written.iter().find_map(|written| self.read(written))? {
            Ok(found) => Some(found),
            Err(Wrong { subject, why }) => {
                layers.mistakes.add(&subject, &why);
                None
            }
        }
    }

    /// The secret of one layer. `None`: the layer has neither setting.
    fn read(self, written: &Written) -> Option<Result<FoundSecret, Wrong>> {
        let SecretKeys { value, file } = self;
        Some(match (written.get(value), written.get(file)) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                let why = format!("is written beside {}: keep one of them", file.env);
                Err(Wrong { subject: written.subject(value), why })
            }
            (Some(text), None) => not_empty(text.as_bytes().to_vec(), written.subject(value), "is empty"),
            (None, Some("")) => Err(Wrong { subject: written.subject(file), why: "is empty".to_owned() }),
            (None, Some(path)) => {
                let subject = written.subject(file);
                match regular_file::read(Path::new(path)) {
                    Ok(RegularFile { exposure: Some(why), .. }) => Err(Wrong { subject, why }),
                    Ok(RegularFile { bytes, .. }) => {
                        not_empty(without_line_break(bytes), subject, "names an empty file")
                    }
                    Err(why) => Err(Wrong { subject, why }),
                }
            }
        })
    }
}

/// A mistake about a secret.
struct Wrong {
    subject: String,
    why: String,
}

fn not_empty(bytes: Vec<u8>, subject: String, why: &str) -> Result<FoundSecret, Wrong> {
    if bytes.is_empty() {
        return Err(Wrong { subject, why: why.to_owned() });
    }
    Ok(FoundSecret { secret: Secret(bytes), subject })
}

/// The bytes without the line break that editors put at the end of a file.
pub(super) fn without_line_break(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last().is_some_and(|byte| b"\r\n".contains(byte)) {
        bytes.pop();
    }
    bytes
}

/// Judges a secret that signs tokens: no PEM, and with a warning if it is short.
pub(super) fn judge_signing_secret(secret: &Secret) -> Result<Option<String>, &'static str> {
    // Anyone who has the public key could sign tokens if it were taken for an HMAC secret.
    if secret.0.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err("is a PEM; an HS256 secret is random bytes (openssl rand -base64 48)");
    }
    Ok(is_short(secret).then(|| {
        format!(
            "is shorter than {SECRET_BYTES_SAFE} bytes and can be guessed from a token (openssl rand -base64 48)"
        )
    }))
}

/// Whether a secret can be guessed from a token.
pub(super) fn is_short(secret: &Secret) -> bool {
    secret.0.len() < SECRET_BYTES_SAFE
}

/// A secret of this many bytes cannot be guessed (RFC 7518 §3.2: at least the size of the hash).
pub(super) const SECRET_BYTES_SAFE: usize = 32;
