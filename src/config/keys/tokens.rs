//! The settings under "Tokens", and what they mean together.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::issuers;
use crate::config::key::{AnyKey, InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::keys::process::CONFIG_FILE;
use crate::config::keys_url::{self, PlainHttp};
use crate::config::layers::Layers;
use crate::config::meaning::{
    AlgorithmSet, ClaimPath, Config, Issuer, Jwt, KeySetSource, KeysUrl, Secret, WantedClaims,
};
use crate::config::secret::{FoundSecret, SECRET_BYTES_SAFE, SecretKeys, is_short, judge_signing_secret};
use crate::config::value::{HOUR, duration, items, show_duration, text};

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
        &JWT_ALGORITHMS,
        &JWT_MAX_LIFETIME,
        &JWKS_URL,
        &JWKS_FILE,
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
    more: "Use the variable or a file. Required, unless `JWT_SECRET_FILE`, `JWKS_URL`, `JWKS_FILE` or an `[[issuer]]` \
           is written.",
    parse: |text| Ok(Secret(text.into())),
    shown: Shown::Secret {
        summary: |config| show_secrets(secrets(config)),
        differs: |one, other| secrets(one) != secrets(other),
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
    shown: Shown::Value(|config| {
        shown(config, |issuer| issuer.issuer.clone().unwrap_or_else(|| "not checked".to_owned()))
    }),
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
    shown: Shown::Value(|config| {
        shown(config, |issuer| issuer.audiences.first().cloned().unwrap_or_else(|| "not checked".to_owned()))
    }),
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
    shown: Shown::Value(|config| shown(config, |issuer| show_duration(issuer.leeway))),
    on_reload: OnReload::Takes,
};

pub const JWT_USER_CLAIM: Key<ClaimPath> = Key {
    env: "JWT_USER_CLAIM",
    flag: "jwt-user-claim",
    value_name: "CLAIM",
    in_file: InFile::Scalar,
    default: "sub",
    bounds: "up to 256 bytes",
    help: "Claim that names the user",
    more: "`user.id` and `/user/id` name a claim inside another one. A text or a whole number.",
    parse: issuers::claim,
    shown: Shown::Value(|config| shown(config, |issuer| issuer.user_claim.text.clone())),
    on_reload: OnReload::Takes,
};

pub const JWT_ALGORITHMS: Key<AlgorithmSet, NoDefault> = Key {
    env: "JWT_ALGORITHMS",
    flag: "jwt-algorithms",
    value_name: "NAMES",
    in_file: InFile::List,
    default: NoDefault,
    bounds: "`HS256`, `RS256`, `ES256`, `EdDSA` …",
    help: "Algorithms to which the keys are cut; unset: HS256 for secrets, all that a public key can do",
    more: "",
    parse: |text| issuers::algorithms(&items(text)?.into_iter().map(str::to_owned).collect::<Vec<_>>()),
    shown: Shown::Value(|config| {
        shown(config, |issuer| {
            issuer.algorithms.map_or_else(|| "those of the keys".to_owned(), |set| set.to_string())
        })
    }),
    on_reload: OnReload::Takes,
};

pub const JWT_MAX_LIFETIME: Key<Duration> = Key {
    env: "JWT_MAX_LIFETIME",
    flag: "jwt-max-lifetime",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "0s",
    bounds: "0s to 8784h",
    help: "Longest time from `iat` to `exp`; 0: any",
    more: "",
    parse: |text| duration(text, Duration::ZERO, issuers::LIFETIME_MAX),
    shown: Shown::Value(|config| {
        shown(config, |issuer| issuer.lifetime_max.map_or_else(|| "any".to_owned(), show_duration))
    }),
    on_reload: OnReload::Takes,
};

pub const JWKS_URL: Key<KeysUrl, NoDefault> = Key {
    env: "JWKS_URL",
    flag: "jwks-url",
    value_name: "URL",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "`https`, or `http` to this machine",
    help: "URL of the issuer's key set, whose keys verify tokens",
    more: "Set `JWT_ISSUER` and `JWT_AUDIENCE` with it.",
    parse: |text| keys_url::parse(text, PlainHttp::Loopback),
    shown: Shown::Value(|config| {
        shown(config, |issuer| match &issuer.key_set {
            Some(KeySetSource::Url(url)) => url.as_str().to_owned(),
            _ => "off".to_owned(),
        })
    }),
    on_reload: OnReload::Takes,
};

pub const JWKS_FILE: Key<PathBuf, NoDefault> = Key {
    env: "JWKS_FILE",
    flag: "jwks-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file that not everybody may write",
    help: "File with the issuer's key set, in place of `JWKS_URL`",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| {
        shown(config, |issuer| match &issuer.key_set {
            Some(KeySetSource::File(path)) => path.display().to_string(),
            _ => "off".to_owned(),
        })
    }),
    on_reload: OnReload::Takes,
};

/// Whose tokens are accepted: the issuer of the single settings, if they give it keys, and those of the file.
pub(crate) fn jwt(layers: &mut Layers) -> Jwt {
    let of_file = issuers::of_file(layers);
    let mut all: Vec<Issuer> = single(layers, !of_file.is_empty()).into_iter().collect();
    all.extend(of_file);
    // Routes say what they want to know.
    Jwt { issuers: all, claims: WantedClaims::default() }
}

/// The issuer of the single settings.
fn single(layers: &mut Layers, has_others: bool) -> Option<Issuer> {
    let current = signing_secret(layers, SecretKeys { value: &JWT_SECRET, file: &JWT_SECRET_FILE });
    let key_set = key_set(layers);
    let has_keys = current.is_some() || key_set.is_some();
    // The keys may be in a configuration file that cannot be read.
    let sources: [&dyn AnyKey; 5] = [&JWT_SECRET, &JWT_SECRET_FILE, &JWKS_URL, &JWKS_FILE, &CONFIG_FILE];
    if !has_keys && !has_others && !layers.any_is_wrong(&sources) && !layers.any_is_wrong_of("issuer") {
        layers.refuse(&JWT_SECRET, "is missing (set it, JWT_SECRET_FILE, JWKS_URL or JWKS_FILE)");
    }
    let keys = SecretKeys { value: &JWT_SECRET_PREVIOUS, file: &JWT_SECRET_PREVIOUS_FILE };
    let previous = signing_secret(layers, keys);
    if current.is_some() && current == previous {
        layers.warnings.push("JWT_SECRET_PREVIOUS: is the same as JWT_SECRET".to_owned());
    }
    let issuer = Issuer {
        name: issuers::SINGLE.to_owned(),
        issuer: layers.option(&JWT_ISSUER),
        audiences: layers.option(&JWT_AUDIENCE).into_iter().collect(),
        secrets: current.into_iter().chain(previous).collect(),
        pem: None,
        key_set,
        ca: None,
        algorithms: layers.option(&JWT_ALGORITHMS),
        leeway: layers.value(&JWT_LEEWAY),
        user_claim: layers.value(&JWT_USER_CLAIM),
        lifetime_max: Some(layers.value(&JWT_MAX_LIFETIME)).filter(|lifetime| !lifetime.is_zero()),
        token_types: Vec::new(),
    };
    if !has_keys && has_others {
        return None;
    }
    judge_algorithms(layers, &issuer);
    layers.warnings.extend(issuers::too_open(&issuer).map(|why| format!("JWKS_URL: {why}")));
    Some(issuer)
}

/// Where the key set of the single settings comes from.
fn key_set(layers: &mut Layers) -> Option<KeySetSource> {
    let url = layers.option(&JWKS_URL).map(KeySetSource::Url);
    let file = layers.option(&JWKS_FILE).map(KeySetSource::File);
    if url.is_some() && file.is_some() {
        layers.refuse(&JWKS_FILE, "is written beside JWKS_URL: keep one of them");
    }
    url.or(file)
}

fn judge_algorithms(layers: &mut Layers, issuer: &Issuer) {
    if !issuer.secrets.is_empty() && issuer.secret_algorithms().is_empty() {
        layers.refuse(&JWT_ALGORITHMS, "has none of HS256, HS384 and HS512, which JWT_SECRET needs");
    }
    if issuer.key_set.is_some() && issuer.public_algorithms().is_empty() {
        layers.refuse(&JWT_ALGORITHMS, "has none for the public keys of a key set");
    }
}

fn signing_secret(layers: &mut Layers, keys: SecretKeys) -> Option<Secret> {
    let FoundSecret { secret, subject } = keys.find(layers)?;
    match judge_signing_secret(&secret) {
        Ok(warning) => {
            layers.warnings.extend(warning.map(|warning| format!("{subject}: {warning}")));
            Some(secret)
        }
        Err(why) => {
            layers.mistakes.add(&subject, why);
            None
        }
    }
}

/// A property of the issuer of the single settings, as text.
fn shown(config: &Config, show: fn(&Issuer) -> String) -> String {
    let single = config.jwt.issuers.iter().find(|issuer| issuer.name == issuers::SINGLE);
    single.map_or_else(|| "off".to_owned(), show)
}

fn secrets(config: &Config) -> &[Secret] {
    let single = config.jwt.issuers.iter().find(|issuer| issuer.name == issuers::SINGLE);
    single.map_or(&[], |issuer| &issuer.secrets)
}

fn show_secrets(secrets: &[Secret]) -> String {
    let short = secrets.iter().filter(|secret| is_short(secret)).count();
    let count = if secrets.len() == 1 { "1 secret".to_owned() } else { format!("{} secrets", secrets.len()) };
    match short {
        _ if secrets.is_empty() => "none".to_owned(),
        0 => format!("{count}, {SECRET_BYTES_SAFE} bytes or longer"),
        _ if short == secrets.len() => format!("{count}, TOO SHORT (under {SECRET_BYTES_SAFE} bytes)"),
        _ => format!("{count}, {short} of them TOO SHORT (under {SECRET_BYTES_SAFE} bytes)"),
    }
}

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
                (&JWT_ALGORITHMS, "HS512,HS256", "JWT_ALGORITHMS HS256, HS512"),
                (&JWT_MAX_LIFETIME, "24h", "JWT_MAX_LIFETIME 24h"),
                (&JWKS_URL, "https://id.example/keys", "JWKS_URL https://id.example/keys"),
                (&JWKS_FILE, "/etc/keys.json", "JWKS_FILE /etc/keys.json"),
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
            (&JWT_USER_CLAIM, "a..b"),
            (&JWT_ALGORITHMS, "none"),
            (&JWT_ALGORITHMS, "RS256"),
            (&JWT_MAX_LIFETIME, "9000h"),
            (&JWKS_URL, "http://id.example/keys"),
        ]);
    }

    #[test]
    fn a_secret_in_a_file_loses_its_line_break_and_nothing_else() {
        for (bytes, secret) in [(&b"a b \n"[..], &b"a b "[..]), (b"\xff\xfe\r\n", b"\xff\xfe"), (b"x", b"x")]
        {
            let file = TempFile::new("secret", bytes);
            let config = lowered(&[(&JWT_SECRET_FILE, file.path())]).expect("a secret").config;
            assert_eq!(config.jwt.issuers[0].secrets, [Secret(secret.to_vec())]);
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
        assert_eq!(jwt.issuers[0].secrets, [Secret(GOOD_SECRET.into()), Secret(b"before".to_vec())]);
    }
}
