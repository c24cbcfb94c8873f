//! The settings under "TLS", and what they mean together.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::certificates;
use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::keys::listen::{ADMIN_ADDR, PORT, PROXY_PROTOCOL, TRUSTED_PROXIES, is_shared};
use crate::config::layers::Layers;
use crate::config::meaning::{
    Certificate, Choice, ClientAuth, ClientHeaders, Http2, Listen, ProxyProtocol, Tls, TlsVersion,
    UnknownName,
};
use crate::config::value::{Parsed, choice, count, quoted};

/// The settings under "TLS".
pub const SECTION: Section = Section {
    heading: "TLS",
    heading_in_check: "TLS",
    keys: &[
        &TLS_PORT,
        &TLS_PROXY_PROTOCOL,
        &TLS_CERT_FILE,
        &TLS_KEY_FILE,
        &TLS_UNKNOWN_NAME,
        &TLS_MIN_VERSION,
        &HTTP2,
        &TLS_TICKET_KEYS_FILE,
        &TLS_CLIENT_AUTH,
        &TLS_CLIENT_CA_FILE,
        &TLS_CLIENT_HEADERS,
    ],
};

pub const TLS_PORT: Key<Option<u16>> = Key {
    env: "TLS_PORT",
    flag: "tls-port",
    value_name: "PORT",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "0 to 65535, or `off`",
    help: "Port of the listener for HTTPS, at the address of the public one, or `off`",
    more: "0: the kernel chooses one. It needs a certificate ([tls.md](tls.md)).",
    parse: port_or_off,
    shown: Shown::Value(|config| config.tls.port.map_or_else(|| "off".to_owned(), |port| port.to_string())),
    on_reload: OnReload::NeedsRestart(|running, wanted| match wanted.tls.port {
        // The listener goes on, and so do its certificates.
        None => wanted.tls = running.tls.clone(),
        Some(_) => wanted.tls.port = running.tls.port,
    }),
};

pub const TLS_PROXY_PROTOCOL: Key<ProxyProtocol> = Key {
    env: "TLS_PROXY_PROTOCOL",
    flag: "tls-proxy-protocol",
    value_name: "off|on|trusted",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`off`, `on` or `trusted`",
    help: "Which connections of the listener for HTTPS begin with a header of the PROXY protocol, in front of TLS",
    more: "As `PROXY_PROTOCOL`.",
    parse: choice,
    shown: Shown::Value(|config| config.tls.proxy_protocol.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const TLS_CERT_FILE: Key<PathBuf, NoDefault> = Key {
    env: "TLS_CERT_FILE",
    flag: "tls-cert-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file",
    help: "File with a certificate and its chain (PEM), the server's own certificate first",
    more: "Further certificates are `[[certificate]]` of a file.",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| show_pair(&config.tls, |certificate| &certificate.cert)),
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
    shown: Shown::Value(|config| show_pair(&config.tls, |certificate| &certificate.key)),
    on_reload: OnReload::Takes,
};

pub const TLS_UNKNOWN_NAME: Key<UnknownName> = Key {
    env: "TLS_UNKNOWN_NAME",
    flag: "tls-unknown-name",
    value_name: "default|refuse",
    in_file: InFile::Scalar,
    default: "default",
    bounds: "`default` or `refuse`",
    help: "What a client gets that names no host of a certificate, or none: `default` (the first certificate) or \
           `refuse`",
    more: "Clients that ask for an IP address name no host.",
    parse: choice,
    shown: Shown::Value(|config| config.tls.unknown_name.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const TLS_MIN_VERSION: Key<TlsVersion> = Key {
    env: "TLS_MIN_VERSION",
    flag: "tls-min-version",
    value_name: "1.2|1.3",
    in_file: InFile::Scalar,
    default: "1.2",
    bounds: "`1.2` or `1.3`",
    help: "The oldest version of TLS that is spoken",
    more: "",
    parse: choice,
    shown: Shown::Value(|config| config.tls.version_min.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const HTTP2: Key<Http2> = Key {
    env: "HTTP2",
    flag: "http2",
    value_name: "off|on",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`off` or `on`",
    help: "Whether clients of the listener for HTTPS may speak HTTP/2 (ALPN `h2`), beside HTTP/1.1",
    more: "",
    parse: choice,
    shown: Shown::Value(|config| config.tls.http2.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const TLS_TICKET_KEYS_FILE: Key<PathBuf, NoDefault> = Key {
    env: "TLS_TICKET_KEYS_FILE",
    flag: "tls-ticket-keys-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file that not everybody may write, with up to 8 keys",
    help: "File with the keys of session tickets, one a line: 48 or 80 bytes in hex or base64",
    more: "The first one seals, all of them open. Unset: keys of this process, which change every 6 hours.",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| show_file(config.tls.ticket_keys.as_ref())),
    on_reload: OnReload::Takes,
};

pub const TLS_CLIENT_AUTH: Key<ClientAuth> = Key {
    env: "TLS_CLIENT_AUTH",
    flag: "tls-client-auth",
    value_name: "off|request|require",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`off`, `request` or `require`",
    help: "Whether clients show certificates: `off`, `request` (those that have one) or `require`",
    more: "A certificate that is shown and is not valid is refused in either case.",
    parse: choice,
    shown: Shown::Value(|config| config.tls.client_auth.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const TLS_CLIENT_CA_FILE: Key<PathBuf, NoDefault> = Key {
    env: "TLS_CLIENT_CA_FILE",
    flag: "tls-client-ca-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file that not everybody may write",
    help: "File with the certificates of the authorities that issue clients' certificates (PEM)",
    more: "Required with `TLS_CLIENT_AUTH`.",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| show_file(config.tls.client_ca.as_ref())),
    on_reload: OnReload::Takes,
};

pub const TLS_CLIENT_HEADERS: Key<ClientHeaders> = Key {
    env: "TLS_CLIENT_HEADERS",
    flag: "tls-client-headers",
    value_name: "off|on",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`off` or `on`",
    help: "Whether upstreams learn whom a client's certificate names, in `X-Internal-Client-Subject`, `-San` and \
           `-Verified`",
    more: "It needs `TLS_CLIENT_AUTH` ([tls.md](tls.md#certificates-of-clients)).",
    parse: choice,
    shown: Shown::Value(|config| config.tls.client_headers.word().to_owned()),
    on_reload: OnReload::Takes,
};

/// TLS towards clients. Its port is another one than those of the public listener and of the admin listener.
pub(crate) fn tls(layers: &mut Layers, public: &Listen, admin: Option<SocketAddr>) -> Tls {
    let tls = Tls {
        port: layers.value(&TLS_PORT),
        proxy_protocol: layers.value(&TLS_PROXY_PROTOCOL),
        certificates: of_settings(layers).into_iter().chain(certificates::of_file(layers)).collect(),
        unknown_name: layers.value(&TLS_UNKNOWN_NAME),
        version_min: layers.value(&TLS_MIN_VERSION),
        http2: layers.value(&HTTP2),
        ticket_keys: layers.option(&TLS_TICKET_KEYS_FILE),
        client_auth: layers.value(&TLS_CLIENT_AUTH),
        client_ca: layers.option(&TLS_CLIENT_CA_FILE),
        client_headers: layers.value(&TLS_CLIENT_HEADERS),
    };
    judge_client_auth(layers, &tls);
    match (tls.port, tls.certificates.first()) {
        (None, None) => {}
        (None, Some(unused)) => {
            let why = format!("{}: is not used, because {} is off", unused.cert_subject(), TLS_PORT.env);
            layers.warnings.push(why);
        }
        (Some(_), None) if !layers.any_is_wrong(&[&TLS_CERT_FILE, &TLS_KEY_FILE]) => {
            let why = format!("is missing ({} needs a certificate)", TLS_PORT.env);
            layers.refuse(&TLS_CERT_FILE, &why);
        }
        (Some(_), _) => {}
    }
    judge_port(layers, &tls, public, admin);
    tls
}

/// The certificate of the two settings. One of them alone is a mistake.
fn of_settings(layers: &mut Layers) -> Option<Certificate> {
    let (cert, key) = (layers.option(&TLS_CERT_FILE), layers.option(&TLS_KEY_FILE));
    let is_one_wrong = layers.any_is_wrong(&[&TLS_CERT_FILE, &TLS_KEY_FILE]);
    match (cert, key) {
        (Some(cert), Some(key)) => return Some(Certificate { cert, key, names: Vec::new(), place: None }),
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

fn judge_client_auth(layers: &mut Layers, tls: &Tls) {
    match (tls.client_auth, &tls.client_ca) {
        (ClientAuth::Off, Some(_)) => {
            let why =
                format!("{}: is not used, because {} is off", TLS_CLIENT_CA_FILE.env, TLS_CLIENT_AUTH.env);
            layers.warnings.push(why);
        }
        (ClientAuth::Request | ClientAuth::Require, None) if !layers.any_is_wrong(&[&TLS_CLIENT_CA_FILE]) => {
            let why = format!("is missing ({} needs it)", TLS_CLIENT_AUTH.env);
            layers.refuse(&TLS_CLIENT_CA_FILE, &why);
        }
        _ => {}
    }
    if (tls.client_headers, tls.client_auth) == (ClientHeaders::On, ClientAuth::Off)
        && !layers.any_is_wrong(&[&TLS_CLIENT_HEADERS, &TLS_CLIENT_AUTH])
    {
        let why = format!("has no certificates to tell of: {} is off", TLS_CLIENT_AUTH.env);
        layers.refuse(&TLS_CLIENT_HEADERS, &why);
    }
}

fn judge_port(layers: &mut Layers, tls: &Tls, public: &Listen, admin: Option<SocketAddr>) {
    let Some(port) = tls.port else { return };
    if port != 0 && port == public.port && !layers.any_is_wrong(&[&TLS_PORT, &PORT]) {
        layers.refuse(&TLS_PORT, &format!("{port} is the port of the public listener too"));
    }
    let listen = Listen { port, bind: public.bind };
    if let Some(admin) = admin.filter(|admin| is_shared(&listen, *admin))
        && !layers.any_is_wrong(&[&TLS_PORT, &ADMIN_ADDR])
    {
        layers.refuse(&ADMIN_ADDR, &format!("{admin} is the address of the listener for HTTPS too"));
    }
}

/// Headers of the PROXY protocol come from trusted proxies: without any, a listener that wants them serves nobody.
pub(crate) fn proxy_protocol(layers: &mut Layers, trusted: &[IpNet], of_tls: ProxyProtocol) -> ProxyProtocol {
    let wanted = layers.value(&PROXY_PROTOCOL);
    for (key, wanted) in [(&PROXY_PROTOCOL, wanted), (&TLS_PROXY_PROTOCOL, of_tls)] {
        if wanted != ProxyProtocol::Off
            && trusted.is_empty()
            && !layers.any_is_wrong(&[key, &TRUSTED_PROXIES])
        {
            layers.refuse(key, &format!("needs {}: nobody else is believed", TRUSTED_PROXIES.env));
        }
    }
    wanted
}

/// Reads a port, or `off`.
fn port_or_off(value: &str) -> Parsed<Option<u16>> {
    if value == "off" {
        return Ok(None);
    }
    let port = count(value, 0, u16::MAX).map(Some);
    port.map_err(|_| format!("{} is neither off nor a whole number from 0 to 65535", quoted(value)))
}

/// A file of the certificate that the two settings name.
fn show_pair(tls: &Tls, of: fn(&Certificate) -> &PathBuf) -> String {
    show_file(tls.certificates.iter().find(|one| one.place.is_none()).map(of))
}

fn show_file(path: Option<&PathBuf>) -> String {
    path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::AnyKey;
    use crate::config::testing::{lowered, lowered_toml, moves, refuses};

    const PAIR: [(&dyn AnyKey, &str); 2] =
        [(&TLS_CERT_FILE, "/tls/cert.pem"), (&TLS_KEY_FILE, "/tls/key.pem")];

    /// The flags, and the pair of files.
    fn with_pair<'a>(flags: &[(&'a dyn AnyKey, &'a str)]) -> Result<crate::config::Lowered, String> {
        lowered(&[flags, &PAIR[..]].concat()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn headers_of_the_proxy_protocol_come_from_trusted_proxies() {
        let trusted = (&TRUSTED_PROXIES as &dyn AnyKey, "10.0.0.0/8");
        let both =
            lowered(&[trusted, (&PROXY_PROTOCOL, "on"), (&TLS_PROXY_PROTOCOL, "trusted")]).expect("both");
        let config = both.config;
        assert_eq!(
            (config.proxy_protocol, config.tls.proxy_protocol),
            (ProxyProtocol::On, ProxyProtocol::Trusted)
        );
        for wrong in [&[(&PROXY_PROTOCOL as _, "on")][..], &[(&TLS_PROXY_PROTOCOL as _, "trusted")]] {
            let mistakes = lowered(wrong).unwrap_err();
            assert!(mistakes.to_string().contains("needs TRUSTED_PROXIES"), "{mistakes}");
        }
    }

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (&TLS_UNKNOWN_NAME, "refuse", "TLS_UNKNOWN_NAME refuse"),
                (&TLS_MIN_VERSION, "1.3", "TLS_MIN_VERSION 1.3"),
                (&HTTP2, "on", "HTTP2 on"),
                (&TLS_TICKET_KEYS_FILE, "/keys", "TLS_TICKET_KEYS_FILE /keys"),
                (&TLS_CLIENT_CA_FILE, "/ca.pem", "TLS_CLIENT_CA_FILE /ca.pem"),
            ],
        );
    }

    #[test]
    fn a_port_and_a_pair_of_files_make_a_listener() {
        let tls = with_pair(&[(&TLS_PORT, "8443")]).expect("valid").config.tls;
        let [cert, key] = ["/tls/cert.pem".into(), "/tls/key.pem".into()];
        let pair = Certificate { cert, key, names: Vec::new(), place: None };
        assert_eq!((tls.port, tls.certificates), (Some(8443), vec![pair]));
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&TLS_PORT, "65536"),
            (&TLS_PORT, "none"),
            (&TLS_PORT, "-1"),
            (&TLS_UNKNOWN_NAME, "first"),
            (&TLS_MIN_VERSION, "1.1"),
            (&TLS_CLIENT_AUTH, "true"),
            (&TLS_CLIENT_HEADERS, "yes"),
        ]);
    }

    #[test]
    fn half_a_certificate_or_none_is_a_mistake() {
        let told = |flags: &[(&dyn AnyKey, &str)]| lowered(flags).map(|_| ()).unwrap_err().to_string();
        assert_eq!(told(&[(&TLS_PORT, "1")]), "TLS_CERT_FILE: is missing (TLS_PORT needs a certificate)");
        assert_eq!(told(&PAIR[..1]), "TLS_KEY_FILE: is missing beside TLS_CERT_FILE");
        assert_eq!(told(&PAIR[1..]), "TLS_CERT_FILE: is missing beside TLS_KEY_FILE");
    }

    #[test]
    fn what_is_not_used_is_a_warning() {
        let warnings = lowered(&PAIR).expect("valid").warnings;
        assert_eq!(warnings, ["TLS_CERT_FILE: is not used, because TLS_PORT is off"]);
        let warnings = lowered(&[(&TLS_CLIENT_CA_FILE, "/ca.pem")]).expect("valid").warnings;
        assert_eq!(warnings, ["TLS_CLIENT_CA_FILE: is not used, because TLS_CLIENT_AUTH is off"]);
    }

    #[test]
    fn clients_certificates_need_an_authority() {
        let told = with_pair(&[(&TLS_PORT, "1"), (&TLS_CLIENT_AUTH, "require")]).map(|_| ()).unwrap_err();
        assert_eq!(told, "TLS_CLIENT_CA_FILE: is missing (TLS_CLIENT_AUTH needs it)");
        let flags: [(&dyn AnyKey, &str); 3] =
            [(&TLS_CLIENT_AUTH, "request"), (&TLS_CLIENT_CA_FILE, "/ca.pem"), (&TLS_CLIENT_HEADERS, "on")];
        let tls = with_pair(&flags).expect("valid").config.tls;
        assert_eq!((tls.client_auth, tls.client_headers), (ClientAuth::Request, ClientHeaders::On));
        let told = with_pair(&[(&TLS_PORT, "1"), (&TLS_CLIENT_HEADERS, "on")]).map(|_| ()).unwrap_err();
        assert_eq!(told, "TLS_CLIENT_HEADERS: has no certificates to tell of: TLS_CLIENT_AUTH is off");
    }

    #[test]
    fn the_port_is_nobody_elses() {
        for (tls, port, admin, expected) in [
            ("8443", "8443", "off", Some("TLS_PORT: 8443 is the port of the public listener too")),
            ("9901", "8080", "127.0.0.1:9901", Some("ADMIN_ADDR: 127.0.0.1:9901 is the address of the")),
            ("8443", "8080", "127.0.0.1:9901", None),
            ("0", "0", "127.0.0.1:0", None),
        ] {
            let told = with_pair(&[(&TLS_PORT, tls), (&PORT, port), (&ADMIN_ADDR, admin)]).map(|_| ()).err();
            assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
            assert!(
                told.unwrap_or_default().starts_with(expected.unwrap_or_default()),
                "{tls} {port} {admin}"
            );
        }
    }

    #[test]
    fn a_listener_that_a_reload_cannot_close_keeps_its_certificates() {
        let on = with_pair(&[(&TLS_PORT, "8443")]).expect("valid").config;
        let off = lowered(&[]).expect("valid").config;
        assert_eq!(crate::config::settle(&on, off.clone()).tls, on.tls);
        assert_eq!(crate::config::settle(&off, on).tls.port, None);
    }

    #[test]
    fn a_file_has_further_certificates() {
        let toml = "tls_port = 8443\ntls_min_version = 1.3\n\
                    [[certificate]]\ncert = 'a.pem'\nkey = 'a.key'\nnames = ['Chat.example.', '*.chat.example']\n\
                    [[certificate]]\ncert = 'b.pem'\nkey = 'b.key'\n";
        let tls = lowered_toml(toml).expect("valid").config.tls;
        let names: Vec<_> = tls.certificates.iter().map(|one| one.names.join(" ")).collect();
        assert_eq!(names, ["chat.example *.chat.example", ""]);
        assert_eq!(tls.certificates[1].cert_subject(), "certificate (gateway.toml:7)");
    }
}
