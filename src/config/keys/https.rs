//! The settings under "From HTTP to HTTPS", and what they mean together.

use std::path::PathBuf;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::keys::tls::TLS_PORT;
use crate::config::layers::Layers;
use crate::config::meaning::{Https, HttpsRedirect, Tls};
use crate::config::value::{Parsed, count, quoted};

/// The settings under "From HTTP to HTTPS".
pub const SECTION: Section = Section {
    heading: "From HTTP to HTTPS",
    heading_in_check: "From HTTP to HTTPS",
    keys: &[&HTTPS_REDIRECT, &HSTS, &ACME_CHALLENGE_DIR],
};

pub const HTTPS_REDIRECT: Key<HttpsRedirect> = Key {
    env: "HTTPS_REDIRECT",
    flag: "https-redirect",
    value_name: "on|off|PORT",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`on`, `off` or a port",
    help: "Whether a request in the clear is answered with a redirect to HTTPS (308): `on`, `off`, or the port of \
           HTTPS as clients know it",
    more: "`on`: the port is that of `TLS_PORT`. Not for health checks and challenges ([tls.md](tls.md#redirects)).",
    parse: redirect,
    shown: Shown::Value(|config| match config.https.redirect {
        HttpsRedirect::Off => "off".to_owned(),
        HttpsRedirect::On => "on".to_owned(),
        HttpsRedirect::Port(port) => port.to_string(),
    }),
    on_reload: OnReload::Takes,
};

pub const HSTS: Key<Option<String>> = Key {
    env: "HSTS",
    flag: "hsts",
    value_name: "VALUE",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`max-age=SECONDS`, with `; includeSubDomains` and `; preload` if wanted, or `off`",
    help: "`Strict-Transport-Security` of every response over HTTPS, or `off`",
    more: "It takes the place of an upstream's own.",
    parse: hsts,
    shown: Shown::Value(|config| config.https.hsts.clone().unwrap_or_else(|| "off".to_owned())),
    on_reload: OnReload::Takes,
};

pub const ACME_CHALLENGE_DIR: Key<PathBuf, NoDefault> = Key {
    env: "ACME_CHALLENGE_DIR",
    flag: "acme-challenge-dir",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a folder",
    help: "Folder whose files are served below `/.well-known/acme-challenge/` (ACME, HTTP-01)",
    more: "Without authentication. Unset: the path is like any other.",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| {
        config.https.challenges.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    }),
    on_reload: OnReload::NeedsRestart(|running, wanted| {
        wanted.https.challenges.clone_from(&running.https.challenges);
    }),
};

/// From HTTP to HTTPS. A redirect needs somewhere to lead to.
pub(crate) fn https(layers: &mut Layers, tls: &Tls) -> Https {
    let redirect = layers.value(&HTTPS_REDIRECT);
    if redirect == HttpsRedirect::On && !layers.any_is_wrong(&[&TLS_PORT]) {
        match tls.port {
            None => {
                layers.refuse(&HTTPS_REDIRECT, &format!("has no port to lead to: {} is off", TLS_PORT.env))
            }
            Some(0) => {
                let why = format!("has no port to lead to: {} is 0 (write the port)", TLS_PORT.env);
                layers.refuse(&HTTPS_REDIRECT, &why);
            }
            Some(_) => {}
        }
    }
    Https { redirect, hsts: layers.value(&HSTS), challenges: layers.option(&ACME_CHALLENGE_DIR) }
}

fn redirect(value: &str) -> Parsed<HttpsRedirect> {
    match value {
        "off" => Ok(HttpsRedirect::Off),
        "on" => Ok(HttpsRedirect::On),
        port => count(port, 1, u16::MAX)
            .map(HttpsRedirect::Port)
            .map_err(|_| format!("{} is none of on, off and a port", quoted(value))),
    }
}

/// RFC 6797 §6.1: directives, `max-age` among them.
fn hsts(value: &str) -> Parsed<Option<String>> {
    if value == "off" {
        return Ok(None);
    }
    let mut directives: Vec<String> =
        value.split(';').map(|directive| directive.trim().to_ascii_lowercase()).collect();
    let is_known = |directive: &String| match directive.strip_prefix("max-age=") {
        Some(seconds) => count(seconds, 0, u32::MAX).is_ok(),
        None => matches!(directive.as_str(), "includesubdomains" | "preload"),
    };
    let has_age = directives.iter().any(|directive| directive.starts_with("max-age="));
    let count = directives.len();
    let all_known = directives.iter().all(is_known);
    directives.sort_unstable_by(|one, other| one.split('=').next().cmp(&other.split('=').next()));
    directives.dedup_by(|one, other| one.split('=').next() == other.split('=').next());
    if !has_age || !all_known || directives.len() != count {
        return Err(format!("{} is not a policy (use max-age=63072000; includeSubDomains)", quoted(value)));
    }
    Ok(Some(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{lowered, lowered_toml, moves, refuses};

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (&HTTPS_REDIRECT, "8443", "HTTPS_REDIRECT 8443"),
                (&HSTS, "max-age=1; preload", "HSTS max-age=1; preload"),
                (&ACME_CHALLENGE_DIR, "/acme", "ACME_CHALLENGE_DIR /acme"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&HTTPS_REDIRECT, "true"),
            (&HTTPS_REDIRECT, "0"),
            (&HTTPS_REDIRECT, "65536"),
            (&HTTPS_REDIRECT, "on"),
            (&HSTS, "on"),
            (&HSTS, "includeSubDomains"),
            (&HSTS, "max-age=-1"),
            (&HSTS, "max-age=1; max-age=2"),
            (&HSTS, "max-age=1;"),
            (&HSTS, "max-age=1\r\nX: y"),
        ]);
    }

    #[test]
    fn a_redirect_leads_to_the_port_of_tls() {
        let file = |port: &str| {
            lowered_toml(&format!(
                "tls_port = {port}\ntls_cert_file = 'c'\ntls_key_file = 'k'\nhttps_redirect = 'on'"
            ))
        };
        assert_eq!(file("443").expect("valid").config.redirect_port(), Some(443));
        let told = file("0").map(|_| ()).unwrap_err().to_string();
        assert_eq!(told, "HTTPS_REDIRECT: has no port to lead to: TLS_PORT is 0 (write the port)");
        let elsewhere = lowered(&[(&HTTPS_REDIRECT, "8443")]).expect("another process has it").config;
        assert_eq!(elsewhere.redirect_port(), Some(8443));
        assert_eq!(lowered(&[]).expect("valid").config.redirect_port(), None);
    }
}
