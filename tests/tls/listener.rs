//! The listener for HTTPS: what it needs, where it is, and what an upgrade makes of it.

use std::net::{SocketAddr, TcpStream};

use super::files::{Folder, self_signed};
use crate::harness::*;

/// Where the process that wrote this log last listens for HTTPS.
#[track_caller]
pub(super) fn tls_address(gateway: &Gateway) -> Option<SocketAddr> {
    let line = gateway.log().into_iter().rfind(|line| line.contains("gateway is listening"));
    let word = line.as_ref()?.split_whitespace().find_map(|word| word.strip_prefix("tls="))?;
    word.trim_matches('"').parse().ok()
}

#[test]
fn a_certificate_that_cannot_be_used_refuses_the_start() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    folder.write("other.pem", &self_signed(&["chat.test"]).signing_key.serialize_pem());
    folder.write("empty.pem", "");
    folder.write("broken.pem", "-----BEGIN PRIVATE KEY-----\n!hunter2\n-----END PRIVATE KEY-----\n");
    let [cert, other, empty, broken] =
        ["cert.pem", "other.pem", "empty.pem", "broken.pem"].map(|name| folder.path(name));
    for (key, file, expected) in [
        ("TLS_KEY_FILE", &other, format!("TLS_KEY_FILE: {other} is not the key of {cert}")),
        ("TLS_KEY_FILE", &empty, format!("TLS_KEY_FILE: {empty} has no private key in it (an encrypted one")),
        ("TLS_KEY_FILE", &cert, format!("TLS_KEY_FILE: {cert} has no private key in it (an encrypted one")),
        ("TLS_KEY_FILE", &broken, format!("TLS_KEY_FILE: {broken} is not a PEM")),
        ("TLS_CERT_FILE", &other, format!("TLS_CERT_FILE: {other} has no certificate in it")),
        ("TLS_CERT_FILE", &folder.path("none"), "TLS_CERT_FILE: ".to_owned() + &folder.path("none")),
    ] {
        let (code, _, told) = folder.gateway().env(key, file).run(&["run"]);
        assert_eq!((code, told.lines().count()), (Some(2), 1), "{told}");
        assert!(told.starts_with(&expected) && !told.contains("hunter2"), "{told}");
    }
    let (code, _, told) = Gateway::builder().env("TLS_PORT", "0").run(&["check"]);
    assert_eq!(code, Some(2));
    assert_eq!(told, "TLS_CERT_FILE: is missing (TLS_PORT needs a certificate)");
}

#[test]
fn it_listens_on_every_core_and_ends_with_the_drain() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let gateway = folder.gateway().cores("2").start();
    let address = tls_address(&gateway).expect("an address");
    assert_ne!(address, gateway.public);
    eventually("two listeners on each core", || gateway.metric("listening") == 4);
    TcpStream::connect(address).expect("somebody listens");
    assert_eq!(gateway.stop().code(), Some(0));
    assert!(!listens(address));
}

#[test]
fn an_upgrade_hands_the_listener_over() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let gateway = folder.gateway().cores("2").upgradable().start();
    let address = tls_address(&gateway);
    assert!(address.is_some());
    gateway.upgrade().expect("an upgrade");
    assert_eq!(tls_address(&gateway), address);
}

#[test]
fn an_upgrade_may_begin_and_end_tls() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path(name));
    let on = format!("tls_port = 0\ntls_cert_file = '{cert}'\ntls_key_file = '{key}'\n");
    let gateway = Gateway::builder().config("").upgradable().start();
    assert_eq!(tls_address(&gateway), None);
    gateway.rewrite_config(&on);
    gateway.upgrade().expect("an upgrade");
    let address = tls_address(&gateway).expect("an address");
    assert!(listens(address));
    gateway.rewrite_config("");
    gateway.upgrade().expect("an upgrade");
    assert_eq!(tls_address(&gateway), None);
    eventually("nobody listens there any more", || !listens(address));
}

#[test]
fn a_reload_neither_begins_nor_ends_tls() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path(name));
    let on = format!("tls_port = 0\ntls_cert_file = '{cert}'\ntls_key_file = '{key}'\n");
    let gateway = Gateway::builder().config(&on).start();
    let address = tls_address(&gateway).expect("an address");
    gateway.rewrite_config("");
    let told = gateway.reload();
    assert!(told.iter().any(|line| line.contains("TLS_PORT: from \"0\" to \"off\"")), "{told:#?}");
    assert!(listens(address));
}
