//! Clients that mean harm, and operators who change things while others are being served.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use super::authority::Authority;
use super::client::HttpsClient;
use super::files::Folder;
use super::listener::tls_address;
use super::peer::Peer;
use crate::harness::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn me() -> Request {
    Request::new("GET", "/api/v1/users/me").token("ann")
}

fn health() -> Request {
    Request::new("GET", "/healthz")
}

/// The same records, each of the handshake cut into many with so many bytes in them.
fn cut(records: &[u8], bytes: usize) -> Vec<u8> {
    let (mut rest, mut out) = (records, Vec::new());
    while let [kind, major, minor, high, low, behind @ ..] = rest {
        let (payload, next) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        for piece in payload.chunks(if *kind == 22 { bytes } else { payload.len() }) {
            out.extend([*kind, *major, *minor]);
            out.extend((piece.len() as u16).to_be_bytes());
            out.extend(piece);
        }
        rest = next;
    }
    out
}

#[test]
fn a_hello_in_records_of_one_byte_is_a_hello() {
    let gateway = Gateway::builder().over_tls().start();
    for bytes in [1, 7, 100] {
        let mut peer = Peer::begin(gateway.tls());
        let hello = cut(&peer.records(), bytes);
        peer.stream.write_all(&hello).expect("room");
        peer.finish_handshake();
        assert_eq!(peer.ask(&health(), b"\r\n\r\n"), 200, "{bytes}");
    }
}

#[test]
fn records_that_come_byte_by_byte_are_records() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
    let mut peer = Peer::begin(gateway.tls());
    while peer.tls.is_handshaking() {
        for byte in peer.records() {
            peer.stream.write_all(&[byte]).expect("room");
        }
        peer.tls.complete_io(&mut peer.stream).expect("a handshake");
    }
    peer.tls.writer().write_all(&me().bytes()).expect("room");
    for byte in peer.records() {
        peer.stream.write_all(&[byte]).expect("room");
    }
    assert!(peer.read_until(b"ok").starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn a_flood_of_new_keys_ends_the_connection() {
    let gateway = Gateway::builder().over_tls().start();
    let mut peer = Peer::connect(gateway.tls());
    assert_eq!(peer.ask(&health(), b"\r\n\r\n"), 200);
    peer.read_until(b"ok");
    let floods = (0..1_000).all(|_| {
        peer.tls.refresh_traffic_keys().expect("new keys");
        let records = peer.records();
        peer.stream.write_all(&records).is_ok()
    });
    let (rest, end) = peer.read_to_end();
    assert!(rest.is_empty() && (!floods || end.is_err()), "{} {end:?}", show(&rest));
    eventually("it is gone", || gateway.metric("connections_open") == 0);
    assert_eq!(Peer::connect(gateway.tls()).ask(&health(), b"\r\n\r\n"), 200);
}

#[test]
fn handshakes_that_go_nowhere_keep_nobody_out() {
    open_many_files();
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
    let mut established = Peer::connect(gateway.tls());
    let held: Vec<Peer> = (0..2_500).map(|_| Peer::begin(gateway.tls())).collect();
    let pending = || gateway.metric("tls_handshakes_pending");
    eventually("the bound is reached", || (1_900..=2_048).contains(&pending()));
    for _ in 0..40 {
        assert_eq!(Peer::connect(gateway.tls()).ask(&me(), b"ok"), 200);
        let _begun = Peer::begin(gateway.tls());
    }
    assert_eq!(established.ask(&me(), b"ok"), 200);
    drop(held);
    eventually("none is pending", || pending() == 0);
}

#[test]
fn a_request_that_came_whole_is_answered_and_what_follows_the_end_is_not() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
    // A close_notify, and a request in the clear behind it.
    let mut peer = Peer::connect(gateway.tls());
    peer.tls.writer().write_all(&me().bytes()).expect("room");
    peer.tls.send_close_notify();
    let mut records = peer.records();
    records.extend(Request::new("GET", "/api/v1/users/smuggled").token("ann").bytes());
    peer.stream.write_all(&records).expect("room");
    let (got, end) = peer.read_to_end();
    assert!(got.ends_with(b"ok") && end.is_ok(), "{} {end:?}", show(&got));
    // No close_notify: what came before is whole all the same.
    let mut peer = Peer::connect(gateway.tls());
    peer.send(me().bytes()).stream.shutdown(Shutdown::Write).expect("a half-close");
    let (got, end) = peer.read_to_end();
    assert!(got.ends_with(b"ok") && end.is_ok(), "{} {end:?}", show(&got));
    let targets: Vec<String> = origin.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/api/v1/users/me", "/api/v1/users/me"]);
}

#[test]
fn a_handshake_that_has_begun_is_finished_by_a_process_that_drains() {
    for upgrades in [true, false] {
        let folder = Folder::new();
        folder.certify(&["chat.test"]);
        let builder = if upgrades { folder.gateway().upgradable() } else { folder.gateway() };
        let mut gateway = builder.start();
        let address = tls_address(&gateway).expect("an address");
        let session = HttpsClient::trusting(&folder, &["cert.pem"]).session("chat.test");
        let [mut half, silent] = [(), ()].map(|()| Peer::begin(address));
        half.tls = session;
        let hello = half.records();
        half.stream.write_all(&hello[..hello.len() / 2]).expect("room");
        eventually("both are pending", || gateway.metric("tls_handshakes_pending") == 2);
        match upgrades {
            true => drop(gateway.upgrade().expect("an upgrade")),
            false => gateway.signal(Signal::TERM),
        }
        half.stream.write_all(&hello[hello.len() / 2..]).expect("room");
        half.finish_handshake();
        assert_eq!(half.ask(&health(), b"\r\n\r\n"), 200);
        drop((half, silent));
        if !upgrades {
            assert_eq!(gateway.wait().code(), Some(0));
        }
    }
}

/// The end of the others, whatever becomes of this test.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Each asks on one connection after another until it is told to stop. Returns how many answers there were.
fn ask_on(at: SocketAddr, client: &HttpsClient, is_over: &AtomicBool) -> usize {
    let mut answers = 0;
    while !is_over.load(Ordering::SeqCst) {
        let answered = client.get(at, "chat.test", "/healthz");
        assert!(answered.text.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answered.text);
        answers += 1;
    }
    answers
}

#[test]
fn no_request_fails_while_certificates_and_ticket_keys_change() {
    let (folder, authority) = (Folder::new(), Authority::new());
    folder.write("ca.pem", &authority.pem());
    let renew = || {
        let issued = authority.issue(&["chat.test"]);
        folder.write("cert.pem", &issued.pem());
        folder.write("key.pem", &issued.key_pem());
    };
    let keys = |nth: usize| format!("{nth:02x}").repeat(48);
    let rotate = |nth: usize| folder.write("keys", &format!("{}\n{}\n", keys(nth), keys(nth - 1)));
    renew();
    rotate(1);
    let gateway = folder.gateway().cores("2").env("TLS_TICKET_KEYS_FILE", &folder.path("keys")).start();
    let address = tls_address(&gateway).expect("an address");
    let (is_over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..3 {
            let client = HttpsClient::trusting(&folder, &["ca.pem"]);
            let (is_over, answers) = (&is_over, &answers);
            scope.spawn(move || answers.fetch_add(ask_on(address, &client, is_over), Ordering::SeqCst));
        }
        let in_force = || gateway.log().iter().filter(|line| line.contains("is in force")).count();
        for nth in 2..5 {
            let before = in_force();
            renew();
            rotate(nth);
            eventually("the new pair is in force", || in_force() > before);
        }
    });
    assert!(answers.load(Ordering::SeqCst) > 20, "{answers:?}");
    assert!(gateway.metric("tls_handshakes_total{kind=\"resumed\"}") > 10);
    let failed = |reason| gateway.metric(&format!("tls_handshake_failures_total{{reason=\"{reason}\"}}"));
    assert_eq!(["protocol", "closed", "no_shared_parameters"].map(failed), [0; 3]);
}

#[test]
fn instances_with_one_file_of_keys_resume_each_others_sessions_in_either_version() {
    let folder = Folder::new();
    folder.write("keys", &"0a".repeat(48));
    let builder = Gateway::builder().over_tls().env("TLS_TICKET_KEYS_FILE", &folder.path("keys"));
    let instances = [builder.clone().start(), builder.start()];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(speaking(version));
        let kinds = [0, 1, 0, 1].map(|nth: usize| {
            let name = ServerName::try_from("chat.test").expect("a name");
            let session = ClientConnection::new(config.clone(), name).expect("a session");
            let mut peer = Peer::with(session, instances[nth].tls());
            assert_eq!(peer.ask(&health(), b"\r\n\r\n"), 200);
            peer.kind() == Some(HandshakeKind::Resumed)
        });
        assert_eq!(kinds, [false, true, true, true], "{version:?}");
    }
}

/// A client of the harness's certificate that speaks one version and has no tickets yet.
fn speaking(version: &'static SupportedProtocolVersion) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(&tls::certificate().cert).expect("a certificate");
    roots.add(certificate).expect("a root");
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
    let mut config = builder.expect("a version").with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(8);
    config
}
