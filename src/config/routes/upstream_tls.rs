//! TLS to an upstream: what a file says of it.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::report::Report;
use crate::config::meaning::{OwnCertificate, Upstream, UpstreamTls};
use crate::config::value::quoted;
use crate::config::written::WrittenUpstreamTls;

/// Completes what the URL means with what is written beside it. A harmless value takes the place of a wrong one.
pub(super) fn complete(
    upstream: &mut Upstream,
    written: Option<&WrittenUpstreamTls>,
    report: &mut Report<'_>,
) {
    let mut report = report.within("tls");
    match (&mut upstream.tls, written) {
        (Some(tls), written) => {
            if let Some(written) = written {
                *tls = lower(tls, written, &mut report);
            }
            if !judge_name(&tls.server_name, written, &mut report) {
                tls.server_name = "localhost".to_owned();
            }
        }
        (None, Some(_)) => report.add(" is only for an https:// url"),
        (None, None) => {}
    }
}

fn lower(of_url: &UpstreamTls, written: &WrittenUpstreamTls, report: &mut Report<'_>) -> UpstreamTls {
    let WrittenUpstreamTls { ca_file, server_name, cert_file, key_file } = written;
    for (key, file) in [("ca_file", ca_file), ("cert_file", cert_file), ("key_file", key_file)] {
        if file.as_deref() == Some("") {
            report.add(&format!(".{key} is empty"));
        }
    }
    let certificate = match (cert_file, key_file) {
        (Some(cert), Some(key)) => {
            Some(OwnCertificate { cert: PathBuf::from(cert), key: PathBuf::from(key) })
        }
        (Some(_), None) => {
            report.add(".key_file is missing beside tls.cert_file");
            None
        }
        (None, Some(_)) => {
            report.add(".cert_file is missing beside tls.key_file");
            None
        }
        (None, None) => None,
    };
    UpstreamTls {
        server_name: server_name.as_deref().map_or_else(|| of_url.server_name.clone(), unbracketed),
        ca: ca_file.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from),
        certificate,
    }
}

/// A name or address in lower case, an IPv6 address without its brackets.
fn unbracketed(name: &str) -> String {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(name).to_ascii_lowercase()
}

/// A certificate has DNS names and IP addresses; other hosts cannot be proven.
fn judge_name(name: &str, written: Option<&WrittenUpstreamTls>, report: &mut Report<'_>) -> bool {
    if ServerName::try_from(name).is_ok() {
        return true;
    }
    match written.and_then(|written| written.server_name.as_ref()) {
        Some(written) => {
            report.add(&format!(".server_name {} is neither a host name nor an address", quoted(written)))
        }
        None => report
            .add(&format!(".server_name is missing: no certificate can be for the host {}", quoted(name))),
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::config::describe;
    use crate::config::keys::upstreams::UPSTREAM_AUTH_URL;
    use crate::config::testing::{lowered, lowered_toml};
    use crate::config::{OwnCertificate, UpstreamTls};

    const ROUTE: &str = "[[route]]\nname = 'r'\npaths = ['/']\nupstream = 'auth'\n";

    fn file(upstream: &str) -> String {
        format!("[upstreams.auth]\n{upstream}\n{ROUTE}")
    }

    fn told(upstream: &str) -> String {
        lowered_toml(&file(upstream)).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn every_key_has_its_meaning_and_check_shows_it() {
        let text = file(
            "url = 'https://10.0.0.1'\n[upstreams.auth.tls]\nca_file = '/ca.pem'\nserver_name = 'Auth.Internal'\n\
             cert_file = '/own.pem'\nkey_file = '/own.key'",
        );
        let config = lowered_toml(&text).expect("valid").config;
        let certificate = OwnCertificate { cert: "/own.pem".into(), key: "/own.key".into() };
        let expected = UpstreamTls {
            server_name: "auth.internal".to_owned(),
            ca: Some("/ca.pem".into()),
            certificate: Some(certificate),
        };
        assert_eq!(config.upstreams[0].tls, Some(expected));
        let shown = "https://10.0.0.1:443, ca_file = /ca.pem, server_name = auth.internal, cert_file = /own.pem, \
                     key_file = /own.key\n";
        assert!(describe(&config).contains(shown), "{}", describe(&config));
    }

    #[test]
    fn an_address_is_a_name_too() {
        let tls = |text: &str| lowered_toml(&file(text)).expect("valid").config.upstreams[0].tls.clone();
        assert_eq!(tls("url = 'https://[::1]:1'").expect("TLS").server_name, "::1");
        assert_eq!(
            tls("url = 'https://a'\ntls.server_name = '[2001:DB8::1]'").expect("TLS").server_name,
            "2001:db8::1"
        );
    }

    #[test]
    fn refuses_what_makes_no_sense_with_its_key() {
        let upstream = "upstream \"auth\" (gateway.toml:1): ";
        for (text, why) in [
            ("url = 'https://a'\ntls.cert_file = '/c'", "tls.key_file is missing beside tls.cert_file"),
            ("url = 'https://a'\ntls.key_file = '/c'", "tls.cert_file is missing beside tls.key_file"),
            ("url = 'https://a'\ntls.ca_file = ''", "tls.ca_file is empty"),
            (
                "url = 'https://a'\ntls.server_name = 'a b'",
                "tls.server_name \"a b\" is neither a host name nor",
            ),
            ("url = 'http://a'\ntls.ca_file = '/c'", "tls is only for an https:// url"),
            ("url = 'http+unix://%2Fa'\ntls = {}", "tls is only for an https:// url"),
        ] {
            let told = told(text);
            assert!(told.starts_with(&format!("{upstream}{why}")), "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
        let told = told("url = 'https://a'\ntls.verify = false");
        assert!(told.contains("`verify` is not a key here"), "{told}");
    }

    #[test]
    fn a_setting_may_move_an_upstream_to_tls_and_off_it() {
        let moved = lowered(&[(&UPSTREAM_AUTH_URL, "https://accounts:8443")]).expect("valid").config;
        assert_eq!(moved.upstreams[0].tls.as_ref().map(|tls| tls.server_name.as_str()), Some("accounts"));
        let text =
            format!("upstream_auth_url = 'http://b'\n{}", file("url = 'https://a'\ntls.ca_file = '/c'"));
        let lowered = lowered_toml(&text).expect("valid");
        assert_eq!(lowered.config.upstreams[0].tls, None);
        assert_eq!(lowered.warnings, ["upstreams.auth: tls has no effect, its URL is not https"]);
        let text =
            format!("upstream_auth_url = 'https://b'\n{}", file("url = 'http://a'\ntls.ca_file = '/c'"));
        let tls = lowered_toml(&text).expect("valid").config.upstreams[0].tls.clone().expect("TLS");
        assert_eq!((tls.server_name.as_str(), tls.ca), ("b", Some("/c".into())));
    }
}
