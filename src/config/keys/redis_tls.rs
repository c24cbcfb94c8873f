//! The settings for TLS to Redis.

use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{Config, OwnCertificate, RedisTls};
use crate::config::value::{Parsed, quoted};

pub const REDIS_CA_FILE: Key<PathBuf, NoDefault> = Key {
    env: "REDIS_CA_FILE",
    flag: "redis-ca-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file, with `rediss`",
    help: "File with the authorities that may issue Redis' certificate (PEM); unset: those of the system",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| show(config, |tls| tls.ca.as_deref())),
    on_reload: OnReload::Takes,
};

pub const REDIS_SERVER_NAME: Key<String, NoDefault> = Key {
    env: "REDIS_SERVER_NAME",
    flag: "redis-server-name",
    value_name: "NAME",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a host name or an address, with `rediss`",
    help: "Name that Redis' certificate has to prove; unset: the host of the address",
    more: "In a cluster, unset: what the cluster calls each node.",
    parse: server_name,
    shown: Shown::Value(|config| {
        let name = config.redis.tls.as_ref().and_then(|tls| tls.server_name.clone());
        name.unwrap_or_else(|| NONE.to_owned())
    }),
    on_reload: OnReload::Takes,
};

pub const REDIS_CERT_FILE: Key<PathBuf, NoDefault> = Key {
    env: "REDIS_CERT_FILE",
    flag: "redis-cert-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file, with `rediss`",
    help: "File with the certificate that the gateway shows to Redis (PEM)",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| show(config, |tls| tls.certificate.as_ref().map(|own| &*own.cert))),
    on_reload: OnReload::Takes,
};

pub const REDIS_KEY_FILE: Key<PathBuf, NoDefault> = Key {
    env: "REDIS_KEY_FILE",
    flag: "redis-key-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file, beside `REDIS_CERT_FILE`",
    help: "File with the key of that certificate (PEM)",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Value(|config| show(config, |tls| tls.certificate.as_ref().map(|own| &*own.key))),
    on_reload: OnReload::Takes,
};

/// TLS to Redis, if the address asks for it.
pub(super) fn redis_tls(layers: &mut Layers, is_tls: bool) -> Option<RedisTls> {
    let ca = layers.option(&REDIS_CA_FILE);
    let server_name = layers.option(&REDIS_SERVER_NAME);
    let (cert, key) = (layers.option(&REDIS_CERT_FILE), layers.option(&REDIS_KEY_FILE));
    if !is_tls {
        let written = [
            (ca.is_some(), REDIS_CA_FILE.env),
            (server_name.is_some(), REDIS_SERVER_NAME.env),
            (cert.is_some(), REDIS_CERT_FILE.env),
            (key.is_some(), REDIS_KEY_FILE.env),
        ];
        for (_, key) in written.iter().filter(|(is_written, _)| *is_written) {
            layers.mistakes.add(key, "is written without a rediss:// or rediss-cluster:// address of Redis");
        }
        return None;
    }
    let certificate = match (cert, key) {
        (Some(cert), Some(key)) => Some(OwnCertificate { cert, key }),
        (Some(_), None) => {
            layers.mistakes.add(REDIS_CERT_FILE.env, "is written without REDIS_KEY_FILE");
            None
        }
        (None, Some(_)) => {
            layers.mistakes.add(REDIS_KEY_FILE.env, "is written without REDIS_CERT_FILE");
            None
        }
        (None, None) => None,
    };
    Some(RedisTls { server_name, ca, certificate })
}

fn server_name(text: &str) -> Parsed<String> {
    match ServerName::try_from(text) {
        Ok(_) => Ok(text.to_ascii_lowercase()),
        Err(_) => Err(format!("{} is neither a host name nor an address", quoted(text))),
    }
}

fn show(config: &Config, path: impl Fn(&RedisTls) -> Option<&Path>) -> String {
    let path = config.redis.tls.as_ref().and_then(path);
    path.map_or_else(|| NONE.to_owned(), |path| path.display().to_string())
}

const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::limits::REDIS_ADDR;
    use crate::config::testing::lowered;

    #[test]
    fn tls_has_its_files_and_its_name() {
        let tls = |address| {
            lowered(&[
                (&REDIS_ADDR, address),
                (&REDIS_CA_FILE, "/ca.pem"),
                (&REDIS_SERVER_NAME, "Redis.Internal"),
                (&REDIS_CERT_FILE, "/own.pem"),
                (&REDIS_KEY_FILE, "/own.key"),
            ])
        };
        let certificate = OwnCertificate { cert: "/own.pem".into(), key: "/own.key".into() };
        let expected = RedisTls {
            server_name: Some("redis.internal".to_owned()),
            ca: Some("/ca.pem".into()),
            certificate: Some(certificate),
        };
        for address in ["rediss://h", "rediss-cluster://a,b"] {
            assert_eq!(tls(address).expect(address).config.redis.tls, Some(expected.clone()));
        }
        let told = tls("redis://h").expect_err("no TLS").to_string();
        assert_eq!(told.lines().count(), 4, "{told}");
        assert!(told.contains("REDIS_CA_FILE: is written without a rediss://"), "{told}");
    }

    #[test]
    fn a_certificate_has_a_key_and_a_name_is_one() {
        let told = |key: &dyn crate::config::key::AnyKey, text| {
            lowered(&[(&REDIS_ADDR, "rediss://h"), (key, text)]).expect_err(text).to_string()
        };
        assert_eq!(told(&REDIS_CERT_FILE, "/c"), "REDIS_CERT_FILE: is written without REDIS_KEY_FILE");
        assert_eq!(told(&REDIS_KEY_FILE, "/c"), "REDIS_KEY_FILE: is written without REDIS_CERT_FILE");
        assert!(told(&REDIS_SERVER_NAME, "a b").contains("neither a host name nor an address"));
    }
}
