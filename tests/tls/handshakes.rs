//! Handshakes with the real binary: who gets which certificate, and who may resume.

use std::fs;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::client::HttpsClient;
use super::files::Folder;
use super::listener::tls_address;
use crate::harness::*;

fn certificate(folder: &Folder, file: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.path(file)).expect("a certificate")
}

#[test]
fn each_name_has_its_certificate_and_a_foreign_one_is_refused() {
    let folder = Folder::new();
    let mut toml = "tls_port = 0\ntls_unknown_name = 'refuse'\n".to_owned();
    for name in ["one", "two"] {
        folder.certify(&[&format!("{name}.test")]);
        for kind in ["cert", "key"] {
            let [from, to] = [format!("{kind}.pem"), format!("{name}.{kind}")].map(|file| folder.path(&file));
            fs::rename(from, to).expect("our own file");
        }
        let [cert, key] = ["cert", "key"].map(|kind| folder.path(&format!("{name}.{kind}")));
        toml += &format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n");
    }
    let gateway = Gateway::builder().config(&toml).start();
    let address = tls_address(&gateway).expect("an address");
    let client = HttpsClient::trusting(&folder, &["one.cert", "two.cert"]);
    for name in ["one", "two"] {
        let answered = client.get(address, &format!("{name}.test"), "/healthz");
        assert!(answered.text.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answered.text);
        assert!(answered.certificate == certificate(&folder, &format!("{name}.cert")), "{name}");
    }
    let refused = client.ask(address, "three.test", "/healthz").map(|_| ()).expect_err("nobody's name");
    assert!(refused.to_string().contains("alert"), "{refused}");
}

#[test]
fn a_renewed_certificate_is_shown_to_the_next_client() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let gateway = folder.gateway().start();
    let address = tls_address(&gateway).expect("an address");
    let before = HttpsClient::trusting(&folder, &["cert.pem"]);
    before.get(address, "chat.test", "/healthz");
    folder.certify(&["chat.test"]);
    gateway.wait_log("TLS_CERT_FILE is in force");
    let after = HttpsClient::trusting(&folder, &["cert.pem"]);
    eventually("the core shows it", || after.ask(address, "chat.test", "/healthz").is_ok());
    assert!(before.get(address, "chat.test", "/healthz").is_resumed, "its session goes on");
}

#[test]
fn sessions_resume_on_every_core_and_with_one_file_on_every_instance() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    folder.write("keys", &"0a".repeat(48));
    let own = folder.gateway().cores("2");
    let shared = own.clone().env("TLS_TICKET_KEYS_FILE", &folder.path("keys"));
    let resumed = |one: &Gateway, other: &Gateway| {
        let client = HttpsClient::trusting(&folder, &["cert.pem"]);
        let [first, second] = [one, other].map(|gateway| tls_address(gateway).expect("an address"));
        client.get(first, "chat.test", "/healthz");
        // Whichever core takes it.
        (0..8).filter(|_| client.get(second, "chat.test", "/healthz").is_resumed).count()
    };
    let alone = own.clone().start();
    assert_eq!(resumed(&alone, &alone), 8);
    let first = shared.clone().upgradable().start();
    assert_eq!(resumed(&first, &shared.start()), 8);
    // The first connection to a process that has other keys is a whole handshake, and no error.
    let own = own.upgradable().start();
    assert_eq!(resumed(&first, &own), 7);
    for gateway in [first, own] {
        let client = HttpsClient::trusting(&folder, &["cert.pem"]);
        let address = tls_address(&gateway).expect("an address");
        client.get(address, "chat.test", "/healthz");
        gateway.upgrade().expect("an upgrade");
        assert!(client.get(address, "chat.test", "/healthz").is_resumed, "by the new process");
    }
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let builder = folder.gateway().env("TLS_CLIENT_CA_FILE", &folder.path("cert.pem"));
    let client = HttpsClient::trusting(&folder, &["cert.pem"]);
    let lax = builder.clone().env("TLS_CLIENT_AUTH", "request").start();
    client.get(tls_address(&lax).expect("an address"), "chat.test", "/healthz");
    let strict = builder.env("TLS_CLIENT_AUTH", "require").start();
    let address = tls_address(&strict).expect("an address");
    // In TLS 1.3 a client is done before it is refused: it may see the alert or the end of the connection.
    assert!(client.ask(address, "chat.test", "/healthz").is_err());
}
