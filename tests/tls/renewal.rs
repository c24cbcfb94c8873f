//! Certificates that are renewed while the gateway runs, and those that are not.

use std::fs;
use std::os::unix::fs::symlink;

use super::files::{Folder, self_signed};
use crate::harness::*;

/// The log lines with this word in them.
fn lines(gateway: &Gateway, part: &str) -> Vec<String> {
    gateway.log().into_iter().filter(|line| line.contains(part)).collect()
}

fn expiry(gateway: &Gateway) -> u64 {
    gateway.metric("certificate_expiry_timestamp_seconds{certificate=\"TLS_CERT_FILE\"}")
}

#[test]
fn a_renewed_pair_is_in_force_without_a_signal() {
    let folder = Folder::new();
    folder.certify_for(40, &["chat.test"]);
    let gateway = folder.gateway().cores("2").start();
    let before = expiry(&gateway);
    assert!(before.abs_diff(now() + 40 * 86_400) < 7_200, "{before}");
    folder.certify_for(90, &["chat.test", "www.chat.test"]);
    let line = gateway.wait_log("TLS_CERT_FILE is in force");
    assert!(line.contains("names=\"chat.test, www.chat.test\""), "{line}");
    assert!(expiry(&gateway) > before + 49 * 86_400);
    eventually("every core has it", || gateway.metric("config_version") == 4);
    assert_eq!(gateway.admin("/readyz").status, 200);
}

#[test]
fn a_key_that_comes_after_its_certificate_is_waited_for() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let gateway = folder.gateway().start();
    let renewed = self_signed(&["renewed.test"]);
    folder.write("cert.pem", &renewed.cert.pem());
    // The watch has seen it: it looks each second, and its other work goes on.
    folder.write("key.pem", "");
    folder.write("key.pem", &renewed.signing_key.serialize_pem());
    gateway.wait_log("TLS_CERT_FILE is in force");
    assert_eq!(lines(&gateway, "ERROR"), [""; 0]);
}

#[test]
fn links_that_lead_elsewhere_are_followed() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    for name in ["cert", "key"] {
        fs::rename(folder.path(&format!("{name}.pem")), folder.path(&format!("{name}1.pem")))
            .expect("a file");
        symlink(folder.path(&format!("{name}1.pem")), folder.path(&format!("{name}.pem"))).expect("a link");
    }
    let gateway = folder.gateway().start();
    let renewed = self_signed(&["renewed.test"]);
    folder.write("cert2.pem", &renewed.cert.pem());
    folder.write("key2.pem", &renewed.signing_key.serialize_pem());
    for name in ["cert", "key"] {
        // As certbot does it: the link is taken away and made anew.
        fs::remove_file(folder.path(&format!("{name}.pem"))).expect("a link");
        symlink(folder.path(&format!("{name}2.pem")), folder.path(&format!("{name}.pem"))).expect("a link");
    }
    gateway.wait_log("TLS_CERT_FILE is in force");
    assert_eq!(lines(&gateway, "ERROR"), [""; 0]);
}

#[test]
fn a_pair_that_does_not_match_changes_nothing_and_is_told_once() {
    let folder = Folder::new();
    folder.certify_for(40, &["chat.test"]);
    let gateway = folder.gateway().start();
    let before = expiry(&gateway);
    folder.write("key.pem", &self_signed(&["chat.test"]).signing_key.serialize_pem());
    gateway.wait_log("certificates: not renewed");
    let told = lines(&gateway, "ERROR certificates:");
    assert!(told.len() == 2 && told[0].contains("is not the key of"), "{told:#?}");
    let refused = gateway.reload();
    assert!(refused.iter().any(|line| line.contains("reload: TLS_KEY_FILE: ")), "{refused:#?}");
    folder.certify_for(90, &["chat.test"]);
    gateway.wait_log("TLS_CERT_FILE is in force");
    assert!(expiry(&gateway) > before);
    assert_eq!(lines(&gateway, "ERROR certificates:").len(), 2);
}

#[test]
fn a_reload_takes_the_pair_at_another_path() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path(name));
    let toml =
        |cert: &str, key: &str| format!("tls_port = 0\ntls_cert_file = '{cert}'\ntls_key_file = '{key}'\n");
    let gateway = Gateway::builder().config(&toml(&cert, &key)).start();
    let other = Folder::new();
    other.certify(&["other.test"]);
    gateway.rewrite_config(&toml(&other.path("cert.pem"), &other.path("key.pem")));
    let told = gateway.reload();
    assert!(told.iter().any(|line| line.contains("TLS_CERT_FILE is in force")), "{told:#?}");
    assert!(told.iter().any(|line| line.contains("names=\"other.test\"")), "{told:#?}");
    gateway.rewrite_config(&toml(&other.path("cert.pem"), &key));
    let told = gateway.reload();
    assert!(told.iter().any(|line| line.contains("is not the key of")), "{told:#?}");
    assert!(told.iter().any(|line| line.contains("the running configuration stays")), "{told:#?}");
}

#[test]
fn an_expiry_that_is_near_is_told_and_one_that_is_over_does_not_stop_the_start() {
    let folder = Folder::new();
    for (days, expected) in [(6, Some(" WARN TLS_CERT_FILE: the certificate expires on ")), (30, None)] {
        folder.certify_for(days, &["chat.test"]);
        let gateway = folder.gateway().start();
        match expected {
            Some(expected) => drop(gateway.wait_log(expected)),
            None => assert_eq!(lines(&gateway, "the certificate expire"), [""; 0]),
        }
    }
    folder.certify_for(-1, &["chat.test"]);
    let gateway = folder.gateway().start();
    let line = gateway.wait_log("TLS_CERT_FILE: the certificate expired on ");
    assert!(line.contains("ERROR"), "{line}");
    let (code, shown, _) = folder.gateway().run(&["check"]);
    assert_eq!(code, Some(0));
    let row = shown.lines().find(|line| line.starts_with("  TLS_CERT_FILE  chat.test  issued by "));
    assert!(row.is_some_and(|row| row.contains("expired on ")), "{shown}");
}

#[test]
fn certificates_of_a_file_are_named_by_their_lines() {
    let folder = Folder::new();
    folder.certify(&["chat.test"]);
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path(name));
    let one = format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n");
    let gateway = Gateway::builder().config(&format!("tls_port = 0\n{one}")).start();
    let text = gateway.admin("/metrics").text();
    let line = text.lines().find(|line| line.starts_with("realchat_gateway_certificate_expiry")).expect("it");
    assert!(line.contains(".toml:2)\",names=\"chat.test\"}"), "{line}");
    let (code, _, told) = Gateway::builder().config(&format!("tls_port = 0\n{one}{one}")).run(&["run"]);
    assert_eq!(code, Some(2));
    assert!(
        told.starts_with("certificate (") && told.contains(":5): chat.test is a name of certificate ("),
        "{told}"
    );
}
