//! Requests on a connection with another certificate than that of their host.

use std::fs;

use super::client::HttpsClient;
use super::files::Folder;
use super::listener::tls_address;
use super::peer::Peer;
use crate::harness::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A configuration with a certificate for each of these lists of names, in `0.cert`, `1.cert` …
fn certificates(folder: &Folder, names: &[&[&str]]) -> String {
    let mut toml = "tls_port = 0\n".to_owned();
    for (index, names) in names.iter().enumerate() {
        folder.certify(names);
        let [cert, key] = ["cert", "key"].map(|kind| {
            let [from, to] =
                [format!("{kind}.pem"), format!("{index}.{kind}")].map(|file| folder.path(&file));
            fs::rename(from, &to).expect("our own file");
            to
        });
        toml += &format!("[[certificate]]\ncert = '{cert}'\nkey = '{key}'\n");
    }
    toml
}

/// A GET of one's own profile, from this host.
fn me(host: &str) -> String {
    format!("GET /api/v1/users/me HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\r\n", token("ann"))
}

/// The status and the code of an answer.
fn status(peer: &mut Peer, request: &str) -> (u16, bool) {
    let head = peer.send(request).read_until(b"\r\n\r\n");
    let head = String::from_utf8(head).expect("a head");
    let length = head.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = Vec::new();
    while body.len() < length.unwrap_or(0) {
        body.extend(peer.read().expect("a body"));
    }
    let is_misdirected = String::from_utf8_lossy(&body).contains("\"code\":\"misdirected_request\"");
    (head[9..12].parse().expect("a status"), is_misdirected)
}

#[test]
fn a_host_of_another_certificate_gets_421_and_the_connection_goes_on() {
    let folder = Folder::new();
    let toml = certificates(&folder, &[&["one.test"], &["two.test", "*.shared.test"], &["a.shared.test"]]);
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().config(&toml).everywhere(&origin).env("ACCESS_LOG", "stdout").start();
    let address = tls_address(&gateway).expect("an address");
    let client = HttpsClient::trusting(&folder, &["0.cert", "1.cert", "2.cert"]);
    for (asked, host, expected) in [
        ("one.test", "One.Test.:8443", 200),
        ("one.test", "two.test", 421),
        ("one.test", "TWO.test.:443", 421),
        ("two.test", "one.test", 421),
        ("two.test", "b.shared.test", 200),
        // Its own certificate is another one, but this one covers it too.
        ("b.shared.test", "a.shared.test", 200),
        ("a.shared.test", "b.shared.test", 421),
        // Nobody has a certificate for these.
        ("one.test", "three.test", 200),
        ("one.test", "127.0.0.1", 200),
        ("one.test", "[::1]:443", 200),
    ] {
        let mut peer = Peer::with(client.session(asked), address);
        assert_eq!(status(&mut peer, &me(host)), (expected, expected == 421), "{asked} {host}");
        assert_eq!(status(&mut peer, &me(asked)), (200, false), "the connection is one for {asked}");
    }
    let line = gateway.wait_stdout("misdirected_request");
    assert!(line.contains("\"status\":421") && line.contains("\"sni\":\"one.test\""), "{line}");
    let forwarded = origin.requests();
    let forwarded = forwarded.iter().filter(|request| request.field("X-Forwarded-Host") == Some("two.test"));
    assert_eq!(forwarded.count(), 2, "those on its own connections");
}

#[test]
fn health_checks_and_trusted_proxies_use_any_connection() {
    let folder = Folder::new();
    let toml = certificates(&folder, &[&["one.test"], &["two.test"]]);
    let origin = Origin::fixed(OK);
    let builder = Gateway::builder().config(&toml).everywhere(&origin);
    let client = HttpsClient::trusting(&folder, &["0.cert", "1.cert"]);
    let gateway = builder.clone().start();
    let mut peer = Peer::with(client.session("one.test"), tls_address(&gateway).expect("an address"));
    let health = "GET /healthz HTTP/1.1\r\nHost: two.test\r\n\r\n";
    assert_eq!(status(&mut peer, health), (200, false));
    assert_eq!(status(&mut peer, &me("two.test")), (421, true));
    let gateway = builder.env("TRUSTED_PROXIES", "127.0.0.1").start();
    let mut peer = Peer::with(client.session("one.test"), tls_address(&gateway).expect("an address"));
    assert_eq!(status(&mut peer, &me("two.test")), (200, false));
}

#[test]
fn one_certificate_takes_every_host() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
    let mut peer = Peer::connect(gateway.tls());
    assert_eq!(status(&mut peer, &me("other.test")), (200, false));
}
