//! What upstreams learn of clients' certificates.

use std::sync::Arc;

use rcgen::SanType;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use super::authority::{Authority, Issued};
use super::files::Folder;
use super::listener::tls_address;
use super::peer::Peer;
use crate::harness::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const FIELDS: [&str; 3] =
    ["X-Internal-Client-Verified", "X-Internal-Client-Subject", "X-Internal-Client-San"];

/// A client that speaks one version, with a certificate or without. It keeps its tickets.
fn client(
    folder: &Folder,
    version: &'static SupportedProtocolVersion,
    own: Option<&Issued>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(folder.path("cert.pem")).expect("a file");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
    let builder = builder.expect("a version").with_root_certificates(roots);
    Arc::new(match own {
        Some(own) => own.client(builder),
        None => builder.with_no_client_auth(),
    })
}

fn connect(config: &Arc<ClientConfig>, gateway: &Gateway) -> Peer {
    let name = ServerName::try_from("chat.test").expect("a name");
    let session = ClientConnection::new(config.clone(), name).expect("a session");
    Peer::with(session, tls_address(gateway).expect("an address"))
}

/// A request that lies about the client's certificate in every spelling.
fn liar() -> Request {
    let lies = "X-Internal-Client-Verified: yes\r\nX_Internal_Client_Subject: admin\r\n\
                x.internal-client~san: DNS:admin.test\r\nConnection: X-Internal-Client-San\r\n";
    Request::new("GET", "/api/v1/users/me").token("ann").raw(lies)
}

/// What the origin was told last.
fn told(origin: &Origin) -> [Option<String>; 3] {
    let last = origin.last();
    let internal = last.fields.iter().filter(|(name, _)| {
        name.to_ascii_lowercase().replace(['_', '.', '~'], "-").starts_with("x-internal-client")
    });
    assert_eq!(internal.count(), FIELDS.iter().filter(|name| last.field(name).is_some()).count(), "{last:?}");
    FIELDS.map(|name| last.field(name).map(ToOwned::to_owned))
}

fn yes(subject: &str, names: &str) -> [Option<String>; 3] {
    ["yes", subject, names].map(|value| Some(value.to_owned()))
}

#[test]
fn an_upstream_learns_whom_the_certificate_names_also_in_a_resumed_session() {
    let (folder, authority) = (Folder::new(), Authority::new());
    folder.certify(&["chat.test"]);
    folder.write("ca.pem", &authority.pem());
    let uri = |text: &str| SanType::URI(text.try_into().expect("ASCII"));
    let names = vec![
        SanType::DnsName("worker.test".try_into().expect("ASCII")),
        uri("spiffe://realchat/worker"),
        uri("spiffe://a,DNS:admin.test"),
        SanType::IpAddress([10, 0, 0, 7].into()),
    ];
    let worker = authority.issue_to("Worker 7", names);
    let nameless = authority.issue_to("a\r\nX-Internal-User-Id: root", Vec::new());
    let origin = Origin::fixed(OK);
    let builder = folder.gateway().everywhere(&origin).env("TLS_CLIENT_AUTH", "request");
    let builder = builder.env("TLS_CLIENT_CA_FILE", &folder.path("ca.pem"));
    let gateway = builder.clone().env("TLS_CLIENT_HEADERS", "on").start();
    let expected = yes("Worker 7", "DNS:worker.test, URI:spiffe://realchat/worker, IP:10.0.0.7");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let known = client(&folder, version, Some(&worker));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut peer = connect(&known, &gateway);
            for _ in 0..2 {
                assert_eq!(peer.ask(&liar(), b"ok"), 200);
                assert_eq!(told(&origin), expected);
            }
            assert_eq!(peer.kind(), Some(kind));
        }
        let mut peer = connect(&client(&folder, version, Some(&nameless)), &gateway);
        assert_eq!(peer.ask(&liar(), b"ok"), 200);
        assert_eq!(told(&origin), [Some("yes".to_owned()), None, None]);
        assert_eq!(origin.last().field("X-Internal-User-Id"), Some("ann"));
        let mut peer = connect(&client(&folder, version, None), &gateway);
        assert_eq!(peer.ask(&liar(), b"ok"), 200);
        assert_eq!(told(&origin), [None, None, None]);
    }
    // Nor does a request in the clear, nor one to a gateway that is not to tell.
    gateway.ask(liar());
    assert_eq!(told(&origin), [None, None, None]);
    let silent = builder.start();
    let mut peer = connect(&client(&folder, &rustls::version::TLS13, Some(&worker)), &silent);
    assert_eq!(peer.ask(&liar(), b"ok"), 200);
    assert_eq!(told(&origin), [None, None, None]);
}

#[test]
fn the_service_of_a_websocket_learns_it_too() {
    let (folder, authority) = (Folder::new(), Authority::new());
    folder.certify(&["chat.test"]);
    folder.write("ca.pem", &authority.pem());
    let origin = echoing();
    let builder = folder.gateway().everywhere(&origin).env("TLS_CLIENT_AUTH", "require");
    let builder = builder.env("TLS_CLIENT_CA_FILE", &folder.path("ca.pem"));
    let gateway = builder.env("TLS_CLIENT_HEADERS", "on").start();
    let worker = authority.issue_to("Worker 7", Vec::new());
    let mut peer = connect(&client(&folder, &rustls::version::TLS13, Some(&worker)), &gateway);
    let head = peer.send(handshake().token("ann").bytes()).read_until(b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", show(&head));
    assert_eq!(told(&origin), [Some("yes".to_owned()), Some("Worker 7".to_owned()), None]);
}

#[test]
fn sixteen_long_names_fit_beside_the_longest_head() {
    let (folder, authority) = (Folder::new(), Authority::new());
    folder.certify(&["chat.test"]);
    folder.write("ca.pem", &authority.pem());
    let name = |nth: usize| SanType::URI(format!("urn:{nth:0252}").try_into().expect("ASCII"));
    let worker = authority.issue_to(&"w".repeat(256), (0..20).map(name).collect());
    let origin = Origin::fixed(OK);
    let builder = folder.gateway().everywhere(&origin).env("TLS_CLIENT_AUTH", "require");
    let builder = builder.env("TLS_CLIENT_CA_FILE", &folder.path("ca.pem"));
    let gateway = builder.env("TLS_CLIENT_HEADERS", "on").start();
    let mut peer = connect(&client(&folder, &rustls::version::TLS13, Some(&worker)), &gateway);
    let request = Request::new("GET", "/api/v1/users/me").token("ann").field("X-Filler", &"f".repeat(32_000));
    assert_eq!(peer.ask(&request, b"ok"), 200);
    let [_, subject, names] = told(&origin).map(Option::unwrap_or_default);
    assert_eq!((subject.len(), names.split(", ").count(), names.len()), (256, 16, 16 * 262 - 2));
}
