//! The settings under "Tokens", and what they mean together.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::keys::process::CONFIG_FILE;
use crate::config::layers::Layers;
use crate::config::meaning::{Jwt, Secret};
use crate::config::secret::{FoundSecret, SecretKeys};
use crate::config::value::{HOUR, duration, show_duration, text};

/// The settings under "Tokens".
pub const SECTION: Section = Section {
    heading: "Tokens",
    heading_in_check: "Tokens",
    keys: &[
        &JWT_SECRET,
        &JWT_SECRET_FILE,
        &JWT_SECRET_PREVIOUS,
        &JWT_SECRET_PREVIOUS_FILE,
        &JWT_ISSUER,
        &JWT_AUDIENCE,
        &JWT_LEEWAY,
        &JWT_USER_CLAIM,
    ],
};

pub const JWT_SECRET: Key<Secret, NoDefault> = Key {
    env: "JWT_SECRET",
    flag: "jwt-secret",
    value_name: "SECRET",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "not a PEM; under 32 bytes: a warning",
    help: "HS256 secret that signs and verifies (a flag is visible to every user of the host)",
    more: "Use the variable or a file. Required, unless `JWT_SECRET_FILE` is written.",
    parse: |text| Ok(Secret(text.into())),
    shown: Shown::Secret {
        summary: |config| show_secrets(&config.jwt.secrets),
        differs: |one, other| one.jwt.secrets != other.jwt.secrets,
    },
    on_reload: OnReload::Takes,
};

pub const JWT_SECRET_FILE: Key<PathBuf, NoDefault> = Key {
    env: "JWT_SECRET_FILE",
    flag: "jwt-secret-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file",
    help: "File that holds the secret, in place of `JWT_SECRET`",
    more: "Line breaks at its end are not part of the secret.",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const JWT_SECRET_PREVIOUS: Key<Secret, NoDefault> = Key {
    env: "JWT_SECRET_PREVIOUS",
    flag: "jwt-secret-previous",
    value_name: "SECRET",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "as `JWT_SECRET`",
    help: "Secret that still verifies and no longer signs, for rotation",
    more: "",
    parse: |text| Ok(Secret(text.into())),
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const JWT_SECRET_PREVIOUS_FILE: Key<PathBuf, NoDefault> = Key {
    env: "JWT_SECRET_PREVIOUS_FILE",
    flag: "jwt-secret-previous-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file",
    help: "File that holds the previous secret, in place of `JWT_SECRET_PREVIOUS`",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const JWT_ISSUER: Key<String, NoDefault> = Key {
    env: "JWT_ISSUER",
    flag: "jwt-issuer",
    value_name: "ISSUER",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "up to 256 bytes",
    help: "Required value of `iss`; unset: not checked",
    more: "",
    parse: text,
    shown: Shown::Value(|config| config.jwt.issuer.clone().unwrap_or_else(|| "not checked".to_owned())),
    on_reload: OnReload::Takes,
};

pub const JWT_AUDIENCE: Key<String, NoDefault> = Key {
    env: "JWT_AUDIENCE",
    flag: "jwt-audience",
    value_name: "AUDIENCE",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "up to 256 bytes",
    help: "Value that `aud` must be or contain; unset: not checked",
    more: "",
    parse: text,
    shown: Shown::Value(|config| config.jwt.audience.clone().unwrap_or_else(|| "not checked".to_owned())),
    on_reload: OnReload::Takes,
};

pub const JWT_LEEWAY: Key<Duration> = Key {
    env: "JWT_LEEWAY",
    flag: "jwt-leeway",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "0s",
    bounds: "0s to 1h",
    help: "Allowed clock difference for `exp` and `nbf`",
    more: "",
    parse: |text| duration(text, Duration::ZERO, HOUR),
    shown: Shown::Value(|config| show_duration(config.jwt.leeway)),
    on_reload: OnReload::Takes,
};

pub const JWT_USER_CLAIM: Key<String> = Key {
    env: "JWT_USER_CLAIM",
    flag: "jwt-user-claim",
    value_name: "CLAIM",
    in_file: InFile::Scalar,
    default: "sub",
    bounds: "up to 256 bytes",
    help: "Claim that names the user",
    more: "",
    parse: text,
    shown: Shown::Value(|config| config.jwt.user_claim.clone()),
    on_reload: OnReload::Takes,
};

/// How tokens are signed and verified.
pub(crate) fn jwt(layers: &mut Layers) -> Jwt {
    let current = signing_secret(layers, SecretKeys { value: &JWT_SECRET, file: &JWT_SECRET_FILE });
    // The secret may be in a configuration file that cannot be read.
    if current.is_none() && !layers.any_is_wrong(&[&JWT_SECRET, &JWT_SECRET_FILE, &CONFIG_FILE]) {
        layers.refuse(&JWT_SECRET, "is missing (set it, or JWT_SECRET_FILE)");
    }
    let keys = SecretKeys { value: &JWT_SECRET_PREVIOUS, file: &JWT_SECRET_PREVIOUS_FILE };
    let previous = signing_secret(layers, keys);
    if current.is_some() && current == previous {
        layers.warnings.push("JWT_SECRET_PREVIOUS: is the same as JWT_SECRET".to_owned());
    }
    Jwt {
        secrets: current.into_iter().chain(previous).collect(),
        issuer: layers.option(&JWT_ISSUER),
        audience: layers.option(&JWT_AUDIENCE),
        leeway: layers.value(&JWT_LEEWAY),
        user_claim: layers.value(&JWT_USER_CLAIM),
    }
}

/// A secret that signs tokens: no PEM, and with a warning if it is short.
fn signing_secret(layers: &mut Layers, keys: SecretKeys) -> Option<Secret> {
    let FoundSecret { secret, subject } = keys.find(layers)?;
    // Anyone who has the public key could sign tokens if it were taken for an HMAC secret.
    if secret.0.trim_ascii_start().starts_with(b"-----BEGIN") {
        let why = "is a PEM; an HS256 secret is random bytes (openssl rand -base64 48)";
        layers.mistakes.add(&subject, why);
        return None;
    }
    if is_short(&secret) {
        layers.warnings.push(format!(
            "{subject}: is shorter than {SECRET_BYTES_SAFE} bytes and can be guessed from a token \
             (openssl rand -base64 48)"
        ));
    }
    Some(secret)
}

fn is_short(secret: &Secret) -> bool {
    secret.0.len() < SECRET_BYTES_SAFE
}

fn show_secrets(secrets: &[Secret]) -> String {
    let short = secrets.iter().filter(|secret| is_short(secret)).count();
    let count = if secrets.len() == 1 { "1 secret".to_owned() } else { format!("{} secrets", secrets.len()) };
    match short {
        0 => format!("{count}, {SECRET_BYTES_SAFE} bytes or longer"),
        _ if short == secrets.len() => format!("{count}, TOO SHORT (under {SECRET_BYTES_SAFE} bytes)"),
        _ => format!("{count}, {short} of them TOO SHORT (under {SECRET_BYTES_SAFE} bytes)"),
    }
}

/// A secret of this many bytes cannot be guessed (RFC 7518 §3.2: at least the size of the hash).
const SECRET_BYTES_SAFE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::lower::lower;
    use crate::config::testing::{GOOD_SECRET, TempFile, lowered, moves, refuses, settings};

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (&JWT_SECRET, "short", "JWT_SECRET 1 secret, TOO SHORT"),
                (&JWT_SECRET_PREVIOUS, "short", "JWT_SECRET 2 secrets, 1 of them TOO SHORT"),
                (&JWT_ISSUER, "me", "JWT_ISSUER me"),
                (&JWT_AUDIENCE, "you", "JWT_AUDIENCE you"),
                (&JWT_LEEWAY, "5s", "JWT_LEEWAY 5s"),
                (&JWT_USER_CLAIM, "uid", "JWT_USER_CLAIM uid"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&JWT_SECRET_FILE, "/does/not/exist"),
            (&JWT_SECRET_PREVIOUS_FILE, "/dev/null"),
            (&JWT_ISSUER, "a\nb"),
            (&JWT_AUDIENCE, "a\0"),
            (&JWT_LEEWAY, "2h"),
            (&JWT_USER_CLAIM, "a\tb"),
        ]);
    }

    #[test]
    fn a_secret_in_a_file_loses_its_line_break_and_nothing_else() {
        for (bytes, secret) in [(&b"a b \n"[..], &b"a b "[..]), (b"\xff\xfe\r\n", b"\xff\xfe"), (b"x", b"x")]
        {
            let file = TempFile::new("secret", bytes);
            let config = lowered(&[(&JWT_SECRET_FILE, file.path())]).expect("a secret").config;
            assert_eq!(config.jwt.secrets, [Secret(secret.to_vec())]);
        }
        let empty = TempFile::new("empty", b"\n");
        let told = lowered(&[(&JWT_SECRET_FILE, empty.path())]).unwrap_err().to_string();
        assert_eq!(told, "JWT_SECRET_FILE: names an empty file");
    }

    #[test]
    fn a_secret_and_its_file_are_written_in_different_places_or_not_both() {
        let both = lowered(&[(&JWT_SECRET, GOOD_SECRET), (&JWT_SECRET_FILE, "/x")]).unwrap_err();
        assert_eq!(both.to_string(), "JWT_SECRET: is written beside JWT_SECRET_FILE: keep one of them");
        let (near, far) =
            (settings(&[(&JWT_SECRET, GOOD_SECRET)]), settings(&[(&JWT_SECRET_FILE, "/does/not/exist")]));
        assert!(lower(near, far).is_ok(), "the nearer one wins");
    }

    #[test]
    fn a_pem_is_refused_and_short_secrets_are_warned_of() {
        let pem = "-----BEGIN PUBLIC KEY-----\nhunter2";
        let told = lowered(&[(&JWT_SECRET, pem), (&JWT_SECRET_PREVIOUS, pem)]).unwrap_err();
        assert_eq!(told.count(), 2);
        assert!(told.to_string().contains("is a PEM") && !told.to_string().contains("hunter2"));
        let short = lowered(&[(&JWT_SECRET, "hunter2"), (&JWT_SECRET_PREVIOUS, "hunter2")]);
        let told = short.expect("two secrets").warnings;
        assert_eq!(told.len(), 3, "two short ones, which are the same: {told:?}");
        assert!(told[0].starts_with("JWT_SECRET: is shorter than 32 bytes"), "{told:?}");
        assert!(!told.concat().contains("hunter2"));
    }

    #[test]
    fn the_previous_secret_comes_second() {
        let jwt = lowered(&[(&JWT_SECRET_PREVIOUS, "before")]).expect("secrets").config.jwt;
        assert_eq!(jwt.secrets, [Secret(GOOD_SECRET.into()), Secret(b"before".to_vec())]);
    }
}
