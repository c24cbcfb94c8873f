//! Handshakes in memory: a client and a termination, joined by two buffers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion};
use rustls::{RootCertStore, ServerConnection};

use super::client::{Name, Subject};
use super::suites;
use super::{Termination, client};
use crate::config::{
    Certificate, ClientAuth, ClientHeaders, Http2, ProxyProtocol, Tls, TlsVersion, UnknownName,
};

/// An authority, and a folder for what it issues.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new() -> Authority {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let folder = std::env::temp_dir().join(format!("realchat-authority-{}-{number}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        fs::write(folder.join("ca.pem"), issuer.pem()).expect("a file");
        Authority { issuer, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Issues a certificate, as `FILE.pem` and `FILE.key`.
    fn issue(&self, file: &str, params: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().expect("a key");
        let issued = params.signed_by(&key, &self.issuer).expect("a certificate");
        let [cert, key_path] = ["pem", "key"].map(|kind| self.path(&format!("{file}.{kind}")));
        fs::write(&cert, issued.pem()).expect("a file");
        fs::write(&key_path, key.serialize_pem()).expect("a file");
        Certificate { cert, key: key_path, names: Vec::new(), place: None }
    }

    /// The same for hosts.
    fn certify(&self, file: &str, hosts: &[&str]) -> Certificate {
        self.issue(file, &for_hosts(hosts))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        roots
    }

    /// A client that trusts this authority and shows this certificate.
    fn client(&self, versions: TlsVersion, own: Option<&Certificate>) -> Arc<ClientConfig> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let versions: &[_] = match versions {
            TlsVersion::V12 => &[&rustls::version::TLS12],
            TlsVersion::V13 => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(self.roots());
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let cert = CertificateDer::from_pem_file(&own.cert).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(&own.key).expect("a key");
                builder.with_client_auth_cert(vec![cert], key).expect("a pair")
            }
        })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn for_hosts(hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    CertificateParams::new(hosts).expect("host names")
}

fn settings(certificates: &[&Certificate]) -> Tls {
    Tls {
        proxy_protocol: ProxyProtocol::Off,
        port: Some(443),
        certificates: certificates.iter().map(|one| (*one).clone()).collect(),
        unknown_name: UnknownName::Default,
        version_min: TlsVersion::V12,
        http2: Http2::Off,
        ticket_keys: None,
        client_auth: ClientAuth::Off,
        client_ca: None,
        client_headers: ClientHeaders::Off,
    }
}

#[track_caller]
fn load(tls: &Tls) -> Arc<Termination> {
    Termination::load(tls, None).expect("a termination").expect("a listener")
}

fn mistakes(tls: &Tls) -> Vec<String> {
    Termination::load(tls, None).map(|_| ()).expect_err("a mistake")
}

/// A whole handshake, and the tickets behind it.
fn handshake(
    client: &Arc<ClientConfig>,
    termination: &Termination,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(client.clone(), name)?;
    let mut server = ServerConnection::new(termination.server.clone())?;
    loop {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut up).expect("memory");
        }
        let mut up = up.as_slice();
        while !up.is_empty() {
            server.read_tls(&mut up).expect("memory");
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut down).expect("memory");
        }
        let mut rest = down.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory");
            client.process_new_packets()?;
        }
        if down.is_empty() && !client.wants_write() {
            assert!(!client.is_handshaking() && !server.is_handshaking());
            return Ok((client, server));
        }
    }
}

/// How the second of two connections of a client came about.
#[track_caller]
fn second(client: &Arc<ClientConfig>, first: &Termination, then: &Termination) -> HandshakeKind {
    handshake(client, first, "a.test").expect("a handshake");
    let (_, server) = handshake(client, then, "a.test").expect("another handshake");
    server.handshake_kind().expect("a handshake")
}

/// The file of the certificate that a client gets.
#[track_caller]
fn shown(client: &ClientConnection, of: &[&Certificate]) -> usize {
    let got = &client.peer_certificates().expect("a certificate")[0];
    let is_this = |one: &&Certificate| CertificateDer::from_pem_file(&one.cert).expect("a file") == *got;
    of.iter().position(is_this).expect("one of them")
}

#[test]
fn speaks_modern_tls_and_nothing_else() {
    let authority = Authority::new();
    let termination = load(&settings(&[&authority.certify("a", &["a.test"])]));
    for (version, expected) in
        [(TlsVersion::V12, ProtocolVersion::TLSv1_2), (TlsVersion::V13, ProtocolVersion::TLSv1_3)]
    {
        let (client, server) =
            handshake(&authority.client(version, None), &termination, "a.test").expect("a handshake");
        assert_eq!((client.protocol_version(), server.handshake_kind().is_some()), (Some(expected), true));
        let group = client.negotiated_key_exchange_group().expect("a group").name();
        let hybrid = if version == TlsVersion::V13 { NamedGroup::X25519MLKEM768 } else { NamedGroup::X25519 };
        assert_eq!(group, hybrid);
    }
    for suite in &suites::provider().cipher_suites {
        let name = format!("{:?}", suite.suite());
        let is_modern = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        assert!(is_modern && (name.contains("_GCM_") || name.contains("CHACHA20_POLY1305")), "{name}");
    }
}

#[test]
fn negotiates_http_1_1_by_name() {
    let authority = Authority::new();
    let termination = load(&settings(&[&authority.certify("a", &["a.test"])]));
    let offers = |protocols: &[&str]| {
        let mut client = (*authority.client(TlsVersion::V13, None)).clone();
        client.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (client, _) = handshake(&Arc::new(client), &termination, "a.test")?;
        Ok::<_, rustls::Error>(client.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(offers(&["h2", "http/1.1"]), Ok(Some(b"http/1.1".to_vec())));
    assert_eq!(offers(&[]), Ok(None));
    assert!(offers(&["h2"]).is_err());
}

#[test]
fn negotiates_h2_where_it_is_on_and_the_client_has_it() {
    let authority = Authority::new();
    let on = Tls { http2: Http2::On, ..settings(&[&authority.certify("a", &["a.test"])]) };
    let termination = load(&on);
    let offers = |protocols: &[&str]| {
        let mut client = (*authority.client(TlsVersion::V13, None)).clone();
        client.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (client, _) = handshake(&Arc::new(client), &termination, "a.test")?;
        Ok::<_, rustls::Error>(client.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(offers(&["http/1.1", "h2"]), Ok(Some(b"h2".to_vec())));
    assert_eq!(offers(&["http/1.1"]), Ok(Some(b"http/1.1".to_vec())));
    assert_eq!(offers(&[]), Ok(None));
    assert!(offers(&["h3"]).is_err());
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let authority = Authority::new();
    let one = authority.certify("one", &["a.test", "b.test"]);
    let other = authority.certify("other", &["*.a.test"]);
    let third = Certificate {
        names: vec!["x.a.test".to_owned()],
        place: Some("gateway.toml:9".to_owned()),
        ..authority.certify("third", &["x.a.test", "y.test"])
    };
    let all = [&one, &other, &third];
    let tls = settings(&all);
    let client = authority.client(TlsVersion::V13, None);
    let termination = load(&tls);
    for (name, expected) in [("a.test", 0), ("b.test", 0), ("z.a.test", 1), ("X.A.test", 2)] {
        let (client, _) = handshake(&client, &termination, name).expect(name);
        assert_eq!(shown(&client, &all), expected, "{name}");
    }
    // `y.test` is in the third certificate, but not one of the names that it is to serve.
    let told = handshake(&client, &termination, "y.test").map(|_| ()).expect_err("another's certificate");
    assert!(matches!(told, rustls::Error::InvalidCertificate(_)), "{told}");
    for (asked, host, expected) in [
        ("a.test", "b.test", false),
        ("a.test", "z.a.test", true),
        ("x.a.test", "z.a.test", true),
        ("z.a.test", "x.a.test", false),
        ("a.test", "y.test", false),
        ("a.test", "", false),
        // It got the first one.
        ("nobody.test", "b.test", false),
        ("nobody.test", "X.A.test.", true),
    ] {
        assert_eq!(termination.is_misdirected(asked, host.as_bytes()), expected, "{asked} {host}");
    }
    let refusing = load(&Tls { unknown_name: UnknownName::Refuse, ..tls });
    assert!(handshake(&client, &refusing, "a.test").is_ok());
    for name in ["y.test", "127.0.0.1"] {
        let told = handshake(&client, &refusing, name).map(|_| ()).expect_err(name);
        assert!(matches!(told, rustls::Error::General(_)), "{told:?}");
    }
}

#[test]
fn mistakes_name_both_places() {
    let authority = Authority::new();
    let one = authority.certify("one", &["a.test", "b.test"]);
    let place = Some("gateway.toml:9".to_owned());
    let other = Certificate { place: place.clone(), ..authority.certify("other", &["b.test"]) };
    assert_eq!(
        mistakes(&settings(&[&one, &other])),
        ["certificate (gateway.toml:9): b.test is a name of TLS_CERT_FILE too"]
    );
    let wrong = Certificate { names: vec!["c.test".to_owned()], ..other.clone() };
    let told = mistakes(&settings(&[&one, &wrong]));
    assert!(told[0].starts_with("certificate (gateway.toml:9): c.test is no name of "), "{told:?}");
    let nameless = Certificate { place, ..authority.certify("nameless", &[]) };
    assert_eq!(mistakes(&settings(&[&one, &nameless])), ["certificate (gateway.toml:9): has no host name"]);
    assert!(Termination::load(&settings(&[&nameless]), None).is_ok(), "the default needs no name");
    let [absent, swapped] = [
        Certificate { cert: authority.path("none"), ..one.clone() },
        Certificate { key: other.key.clone(), ..one },
    ];
    let told = mistakes(&settings(&[&absent, &swapped]));
    assert!(told.len() == 2 && told[0].contains("cannot be read") && told[1].contains("is not the key of"));
}

#[test]
fn the_oldest_version_is_the_operators_choice() {
    let authority = Authority::new();
    let tls = settings(&[&authority.certify("a", &["a.test"])]);
    let modern = load(&Tls { version_min: TlsVersion::V13, ..tls.clone() });
    assert!(handshake(&authority.client(TlsVersion::V13, None), &modern, "a.test").is_ok());
    let old = authority.client(TlsVersion::V12, None);
    assert!(handshake(&old, &modern, "a.test").is_err());
    assert!(handshake(&old, &load(&tls), "a.test").is_ok());
}

#[test]
fn sessions_resume_where_the_ticket_keys_are_the_same() {
    let authority = Authority::new();
    let one = authority.certify("a", &["a.test"]);
    let own = settings(&[&one]);
    let write = |keys: &[&str]| fs::write(authority.path("keys"), keys.join("\n")).expect("a file");
    let shared = Tls { ticket_keys: Some(authority.path("keys")), ..own.clone() };
    let [old, new] = ["0a".repeat(48), "0b".repeat(80)];
    for version in [TlsVersion::V12, TlsVersion::V13] {
        let client = || authority.client(version, None);
        let termination = load(&own);
        assert_eq!(second(&client(), &termination, &termination), HandshakeKind::Resumed);
        let another = load(&own);
        assert_ne!(second(&client(), &termination, &another), HandshakeKind::Resumed, "two processes");
        let reloaded = Termination::load(&own, Some(termination.ticket_secrets()))
            .expect("a reload")
            .expect("a listener");
        assert!(Termination::is_same(Some(&reloaded), Some(&termination)));
        assert_eq!(second(&client(), &termination, &reloaded), HandshakeKind::Resumed, "one process");
        write(&[&old]);
        let [first, twin] = [load(&shared), load(&shared)];
        assert_eq!(second(&client(), &first, &twin), HandshakeKind::Resumed, "two processes, one file");
        write(&[&new, &old]);
        let rotated = load(&shared);
        assert!(!Termination::is_same(Some(&rotated), Some(&first)));
        assert_eq!(second(&client(), &first, &rotated), HandshakeKind::Resumed, "the key before");
        write(&[&new]);
        assert_ne!(second(&client(), &first, &load(&shared)), HandshakeKind::Resumed, "a key that is gone");
        assert_eq!(second(&client(), &rotated, &load(&shared)), HandshakeKind::Resumed, "the new key seals");
    }
    let told = mistakes(&Tls { ticket_keys: Some(authority.path("a.pem")), ..own });
    assert!(told[0].starts_with("TLS_TICKET_KEYS_FILE: ") && told[0].contains("has in line 1 no 48 or 80"));
}

#[test]
fn a_renewed_certificate_is_shown_and_sessions_go_on() {
    let authority = Authority::new();
    let before = authority.certify("a", &["a.test"]);
    let tls = settings(&[&before]);
    let client = authority.client(TlsVersion::V13, None);
    let first = load(&tls);
    let (connection, _) = handshake(&client, &first, "a.test").expect("a handshake");
    let shown = connection.peer_certificates().expect("a certificate")[0].clone();
    authority.certify("a", &["a.test"]);
    let renewed = Termination::load(&tls, Some(first.ticket_secrets())).expect("a pair").expect("a listener");
    assert!(!Termination::is_same(Some(&renewed), Some(&first)));
    let (_, server) = handshake(&client, &renewed, "a.test").expect("a handshake");
    assert_eq!(server.handshake_kind(), Some(HandshakeKind::Resumed));
    let stranger = authority.client(TlsVersion::V13, None);
    let (connection, _) = handshake(&stranger, &renewed, "a.test").expect("a handshake");
    assert_ne!(connection.peer_certificates().expect("a certificate")[0], shown);
}

#[test]
fn clients_certificates_are_asked_for_and_verified() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let own = authority.certify("client", &["worker.test"]);
    let foreign = stranger.certify("client", &["worker.test"]);
    let off = settings(&[&authority.certify("a", &["a.test"])]);
    let with =
        |client_auth| load(&Tls { client_auth, client_ca: Some(authority.path("ca.pem")), ..off.clone() });
    let [request, require] = [ClientAuth::Request, ClientAuth::Require].map(with);
    for version in [TlsVersion::V12, TlsVersion::V13] {
        let nobody = authority.client(version, None);
        let known = authority.client(version, Some(&own));
        let unknown = authority.client(version, Some(&foreign));
        assert!(handshake(&nobody, &require, "a.test").is_err());
        assert!(handshake(&nobody, &request, "a.test").is_ok());
        for termination in [&request, &require] {
            let (_, server) = handshake(&known, termination, "a.test").expect("a handshake");
            let shown = server.peer_certificates().expect("a certificate");
            assert_eq!(client::names(&shown[0]).names, [Name::Dns("worker.test".to_owned())]);
            assert!(handshake(&unknown, termination, "a.test").is_err());
        }
        // What a session had to satisfy goes into the key of its ticket.
        let lax =
            Termination::load(&off, Some(require.ticket_secrets())).expect("a pair").expect("a listener");
        let strict = Termination::load(&require_of(&require), Some(lax.ticket_secrets()))
            .expect("a pair")
            .expect("a listener");
        let mild = authority.client(version, None);
        handshake(&mild, &lax, "a.test").expect("a handshake");
        assert!(handshake(&mild, &strict, "a.test").is_err(), "a session from before is not resumed");
        assert_eq!(second(&authority.client(version, Some(&own)), &strict, &require), HandshakeKind::Resumed);
    }
    fs::write(authority.path("ca.pem"), "").expect("a file");
    let told =
        mistakes(&Tls { client_auth: ClientAuth::Require, client_ca: Some(authority.path("ca.pem")), ..off });
    assert_eq!(told, ["TLS_CLIENT_CA_FILE: the file has no certificate in it"]);
}

fn require_of(termination: &Termination) -> Tls {
    termination.settings().clone()
}

#[test]
fn a_clients_certificate_names_whom_a_field_can_hold() {
    let authority = Authority::new();
    let mut params = for_hosts(&["worker.test"]);
    params.distinguished_name.push(DnType::CommonName, "Worker 7");
    let text = |text: &str| text.to_owned().try_into().expect("ASCII");
    params.subject_alt_names.push(SanType::Rfc822Name(text("ops@worker.test")));
    params.subject_alt_names.push(SanType::URI(text("spiffe://realchat/worker")));
    params.subject_alt_names.push(SanType::URI(text("spiffe://a\r\nX-Internal-User-Id: 1")));
    params.subject_alt_names.push(SanType::URI(text(&"u".repeat(257))));
    let der = |file: &str| CertificateDer::from_pem_file(authority.path(file)).expect("a certificate");
    authority.issue("named", &params);
    let names = [
        Name::Dns("worker.test".to_owned()),
        Name::Email("ops@worker.test".to_owned()),
        Name::Uri("spiffe://realchat/worker".to_owned()),
    ];
    let expected = Subject { common_name: Some("Worker 7".to_owned()), names: names.into() };
    assert_eq!(client::names(&der("named.pem")), expected);
    params.subject_alt_names.push(SanType::URI(text("spiffe://a,DNS:admin.test")));
    params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 7].into()));
    authority.issue("listed", &params);
    let told = client::Verified::read(&der("listed.pem"));
    let expected = "DNS:worker.test, email:ops@worker.test, URI:spiffe://realchat/worker, IP:10.0.0.7";
    assert_eq!(
        (&*told.common_name, &*told.names),
        ("Worker 7", expected),
        "a comma makes no two names of one"
    );
    for name in ["Ann\u{e9}", "a\nb", " a", ""] {
        params.distinguished_name.push(DnType::CommonName, name);
        authority.issue("odd", &params);
        assert_eq!(client::names(&der("odd.pem")).common_name, None, "{name:?}");
    }
    let hosts: Vec<String> = (0..40).map(|nth| format!("h{nth}.test")).collect();
    authority.certify("many", &hosts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(client::names(&der("many.pem")).names.len(), crate::limits::CLIENT_NAMES_MAX);
    let whole = der("named.pem");
    for length in 0..whole.len() {
        assert_eq!(client::names(&whole[..length]), Subject::default(), "{length}");
    }
}

#[test]
fn check_shows_names_issuer_and_expiry() {
    let authority = Authority::new();
    let mut params = for_hosts(&["a.test", "127.0.0.1"]);
    params.not_after = rcgen::date_time_ymd(2031, 5, 17);
    let termination = load(&settings(&[&authority.issue("a", &params)]));
    let facts = &termination.certificates()[0].facts;
    assert_eq!((facts.expires_unix_s, facts.names().as_str()), (1_936_742_400, "a.test, 127.0.0.1"));
    let shown = |days: u64| termination.describe(1_936_742_400 - days * 86_400);
    assert_eq!(
        shown(10),
        "\nCertificates\n  TLS_CERT_FILE  a.test  issued by CN=Test authority, expires on 2031-05-17, in 10 days\n"
    );
    let after = termination.describe(1_936_742_401);
    assert!(after.contains("expired on 2031-05-17"), "{after}");
}

#[test]
fn a_key_that_anybody_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let authority = Authority::new();
    let one = authority.certify("a", &["a.test"]);
    let open =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own");
    open(&one.key, 0o666);
    let told = mistakes(&settings(&[&one]));
    assert!(told[0].starts_with("TLS_KEY_FILE: ") && told[0].contains("writable by everybody"), "{told:?}");
    open(&one.key, 0o640);
    load(&settings(&[&one]));
}
