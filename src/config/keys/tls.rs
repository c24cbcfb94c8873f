//! The settings under "TLS", and what they mean together.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::keys::listen::{ADMIN_ADDR, PORT, is_shared};
use crate::config::layers::Layers;
use crate::config::meaning::{Certificate, Listen, Tls};
use crate::config::value::{Parsed, count, quoted};

/// The settings under "TLS".
pub const SECTION: Section =
    Section { heading: "TLS", heading_in_check: "TLS", keys: &[&TLS_PORT, &TLS_CERT_FILE, &TLS_KEY_FILE] };

pub const TLS_PORT: Key<Option<u16>> = Key {
    env: "TLS_PORT",
    flag: "tls-port",
    value_name: "PORT",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "0 to 65535, or `off`",
    help: "Port of the listener for HTTPS, at the address of the public one, or `off`",
    more: "0: the kernel chooses one. It needs a certificate.",
    parse: port_or_off,
    shown: Shown::Value(|config| config.tls.port.map_or_else(|| "off".to_owned(), |port| port.to_string())),
    on_reload: OnReload::NeedsRestart(|running, wanted| match wanted.tls.port {
        // The listener goes on, and so do its certificates.
        None => wanted.tls = running.tls.clone(),
        Some(_) => wanted.tls.port = running.tls.port,
    }),
};

pub const TLS_CERT_FILE: Key<PathBuf, NoDefault> = Key {
    env: "TLS_CERT_FILE",
    flag: "tls-cert-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file",
    help: "File with a certificate and its chain (PEM), the server's own certificate first",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| show_file(&config.tls, |certificate| &certificate.cert)),
    on_reload: OnReload::Takes,
};

pub const TLS_KEY_FILE: Key<PathBuf, NoDefault> = Key {
    env: "TLS_KEY_FILE",
    flag: "tls-key-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file that not everybody may write",
    help: "File with the private key of that certificate (PEM, not encrypted)",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| show_file(&config.tls, |certificate| &certificate.key)),
    on_reload: OnReload::Takes,
};

/// TLS towards clients. Its port is another one than those of the public listener and of the admin listener.
pub(crate) fn tls(layers: &mut Layers, public: &Listen, admin: Option<SocketAddr>) -> Tls {
    let port = layers.value(&TLS_PORT);
    let certificates: Vec<Certificate> = certificate(layers).into_iter().collect();
    let Some(number) = port else {
        if !certificates.is_empty() {
            let why = format!("{}: is not used, because {} is off", TLS_CERT_FILE.env, TLS_PORT.env);
            layers.warnings.push(why);
        }
        return Tls { port, certificates };
    };
    if certificates.is_empty() && !layers.any_is_wrong(&[&TLS_CERT_FILE, &TLS_KEY_FILE]) {
        let why = format!("is missing ({} needs a certificate)", TLS_PORT.env);
        layers.refuse(&TLS_CERT_FILE, &why);
    }
    if number != 0 && number == public.port && !layers.any_is_wrong(&[&TLS_PORT, &PORT]) {
        layers.refuse(&TLS_PORT, &format!("{number} is the port of the public listener too"));
    }
    let listen = Listen { port: number, bind: public.bind };
    if let Some(admin) = admin.filter(|admin| is_shared(&listen, *admin))
        && !layers.any_is_wrong(&[&TLS_PORT, &ADMIN_ADDR])
    {
        layers.refuse(&ADMIN_ADDR, &format!("{admin} is the address of the listener for HTTPS too"));
    }
    Tls { port, certificates }
}

/// The certificate of the two settings. One of them alone is a mistake.
fn certificate(layers: &mut Layers) -> Option<Certificate> {
    let (cert, key) = (layers.option(&TLS_CERT_FILE), layers.option(&TLS_KEY_FILE));
    let is_one_wrong = layers.any_is_wrong(&[&TLS_CERT_FILE, &TLS_KEY_FILE]);
    match (cert, key) {
        (Some(cert), Some(key)) => return Some(Certificate { cert, key }),
        (Some(_), None) if !is_one_wrong => {
            layers.refuse(&TLS_KEY_FILE, &format!("is missing beside {}", TLS_CERT_FILE.env));
        }
        (None, Some(_)) if !is_one_wrong => {
            layers.refuse(&TLS_CERT_FILE, &format!("is missing beside {}", TLS_KEY_FILE.env));
        }
        _ => {}
    }
    None
}

/// Reads a port, or `off`.
fn port_or_off(value: &str) -> Parsed<Option<u16>> {
    if value == "off" {
        return Ok(None);
    }
    let port = count(value, 0, u16::MAX).map(Some);
    port.map_err(|_| format!("{} is neither off nor a whole number from 0 to 65535", quoted(value)))
}

fn show_file(tls: &Tls, of: fn(&Certificate) -> &PathBuf) -> String {
    tls.certificates.first().map_or_else(|| "none".to_owned(), |one| of(one).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{lowered, refuses};

    const PAIR: [(&dyn crate::config::key::AnyKey, &str); 2] =
        [(&TLS_CERT_FILE, "/tls/cert.pem"), (&TLS_KEY_FILE, "/tls/key.pem")];

    #[test]
    fn a_port_and_a_pair_of_files_make_a_listener() {
        let tls = lowered(&[&[(&TLS_PORT as _, "8443")], &PAIR[..]].concat()).expect("valid").config.tls;
        let pair = Certificate { cert: "/tls/cert.pem".into(), key: "/tls/key.pem".into() };
        assert_eq!(tls, Tls { port: Some(8443), certificates: vec![pair] });
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[(&TLS_PORT, "65536"), (&TLS_PORT, "none"), (&TLS_PORT, "-1")]);
    }

    #[test]
    fn half_a_certificate_or_none_is_a_mistake() {
        let told = |flags: &[(&dyn crate::config::key::AnyKey, &str)]| {
            lowered(flags).map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(told(&[(&TLS_PORT, "1")]), "TLS_CERT_FILE: is missing (TLS_PORT needs a certificate)");
        assert_eq!(told(&PAIR[..1]), "TLS_KEY_FILE: is missing beside TLS_CERT_FILE");
        assert_eq!(told(&PAIR[1..]), "TLS_CERT_FILE: is missing beside TLS_KEY_FILE");
    }

    #[test]
    fn a_certificate_without_a_port_is_a_warning() {
        let warnings = lowered(&PAIR).expect("valid").warnings;
        assert_eq!(warnings, ["TLS_CERT_FILE: is not used, because TLS_PORT is off"]);
    }

    #[test]
    fn the_port_is_nobody_elses() {
        for (tls, port, admin, expected) in [
            ("8443", "8443", "off", Some("TLS_PORT: 8443 is the port of the public listener too")),
            ("9901", "8080", "127.0.0.1:9901", Some("ADMIN_ADDR: 127.0.0.1:9901 is the address of the")),
            ("8443", "8080", "127.0.0.1:9901", None),
            ("0", "0", "127.0.0.1:0", None),
        ] {
            let flags: [(&dyn crate::config::key::AnyKey, &str); 3] =
                [(&TLS_PORT, tls), (&PORT, port), (&ADMIN_ADDR, admin)];
            let told = lowered(&[&flags[..], &PAIR[..]].concat()).map(|_| ());
            let told = told.err().map(|mistakes| mistakes.to_string());
            assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
            assert!(
                told.unwrap_or_default().starts_with(expected.unwrap_or_default()),
                "{tls} {port} {admin}"
            );
        }
    }

    #[test]
    fn a_listener_that_a_reload_cannot_close_keeps_its_certificates() {
        let on = lowered(&[&[(&TLS_PORT as _, "8443")], &PAIR[..]].concat()).expect("valid").config;
        let off = lowered(&[]).expect("valid").config;
        assert_eq!(crate::config::settle(&on, off.clone()).tls, on.tls);
        assert_eq!(crate::config::settle(&off, on).tls.port, None);
    }
}
