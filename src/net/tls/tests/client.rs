//! The client's side against the server of `rustls`: whom it trusts, and what an idle connection may say.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::{give, on_a_core, take_all, unsent};
use crate::net::tls::fault::{CertificateFault, Fault};
use crate::net::tls::session::Session;
use crate::net::tls::stream::{Handshake, TlsStream};
use crate::net::{BufferPool, Liveness, StreamSocket};

/// A server for these names, and its own certificate as the one to trust.
fn server(names: &[&str], not_after: i32) -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = rcgen::CertificateParams::new(names).expect("names");
    params.not_after = rcgen::date_time_ymd(not_after, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate").der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a usable certificate");
    (Arc::new(server), certificate)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn client(
    root: CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a root");
    let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    Arc::new(client.expect("versions").with_root_certificates(roots).with_no_client_auth())
}

fn name(text: &str) -> ServerName<'static> {
    ServerName::try_from(text.to_owned()).expect("a name")
}

fn records(server: &mut ServerConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut records).expect("memory");
    }
    records
}

fn hear(server: &mut ServerConnection, mut bytes: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    while !bytes.is_empty() {
        server.read_tls(&mut bytes).expect("records");
        server.process_new_packets().expect("the protocol");
        let mut space = [0; 4096];
        while let Ok(n @ 1..) = server.reader().read(&mut space) {
            heard.extend(&space[..n]);
        }
    }
    heard
}

/// A session and its server after the handshake, whose bytes came in pieces of this size.
fn shake_hands(
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
    mut server: ServerConnection,
    piece: usize,
) -> Result<(Session, ServerConnection, Rc<BufferPool>), Fault> {
    let pool = BufferPool::new();
    let mut session = Session::client(client, name, &pool).expect("a session");
    while session.is_handshaking() || server.is_handshaking() {
        hear(&mut server, &unsent(&mut session));
        give(&mut session, &records(&mut server), piece)?;
    }
    Ok((session, server, pool))
}

#[test]
fn a_handshake_with_a_server_and_its_answers_may_be_cut_at_every_byte() {
    let (config, root) = server(&["orders.example"], 2100);
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        for piece in [1, 2, 3, 5, 7, 64, 1000, 1 << 14] {
            let far = ServerConnection::new(config.clone()).expect("a server");
            let client = client(root.clone(), versions);
            let (mut session, mut far, pool) =
                shake_hands(client, name("orders.example"), far, piece).expect("a handshake");
            assert_eq!(session.seal(b"GET / ", b"and body").expect("a record"), 14);
            assert_eq!(hear(&mut far, &unsent(&mut session)), b"GET / and body");
            far.writer().write_all(&[b'a'; 30_000]).expect("room");
            let mut got = Vec::new();
            for part in records(&mut far).chunks(piece) {
                give(&mut session, part, piece).expect("records");
                got.extend(take_all(&mut session).expect("plaintext"));
            }
            assert!(got == [b'a'; 30_000], "in pieces of {piece}");
            session.park();
            assert_eq!(pool.held(), 0, "an idle session holds nothing");
        }
    }
}

#[test]
fn a_certificate_that_proves_nothing_is_refused_with_its_reason() {
    let versions = rustls::DEFAULT_VERSIONS;
    let (config, root) = server(&["orders.example", "10.0.0.1", "::1"], 2100);
    let (expired, expired_root) = server(&["orders.example"], 2001);
    let stranger = {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, "a stranger");
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().clone()
    };
    for (config, root, wanted, expected) in [
        (&config, &root, "orders.example", None),
        (&config, &root, "10.0.0.1", None),
        (&config, &root, "::1", None),
        (&config, &root, "other.example", Some(CertificateFault::WrongName)),
        (&config, &root, "10.0.0.2", Some(CertificateFault::WrongName)),
        (&config, &stranger, "orders.example", Some(CertificateFault::UnknownIssuer)),
        (&expired, &expired_root, "orders.example", Some(CertificateFault::Expired)),
    ] {
        let far = ServerConnection::new(config.clone()).expect("a server");
        let shaken = shake_hands(client(root.clone(), versions), name(wanted), far, 1 << 14);
        assert_eq!(shaken.err(), expected.map(Fault::ServerCertificate), "{wanted}");
    }
}

#[test]
fn a_session_with_a_server_goes_on_elsewhere_with_all_that_it_held() {
    fn moves<T: Send>(parted: T) -> T {
        parted
    }
    let (config, root) = server(&["orders.example"], 2100);
    let far = ServerConnection::new(config).expect("a server");
    let client = client(root, rustls::DEFAULT_VERSIONS);
    let (mut session, mut far, pool) =
        shake_hands(client, name("orders.example"), far, 1 << 14).expect("a handshake");
    far.writer().write_all(b"early frames").expect("room");
    let sent = records(&mut far);
    give(&mut session, &sent[..sent.len() - 5], 1 << 14).expect("records");
    let parted = moves(session.part());
    assert_eq!(pool.held(), 0);
    let pool = BufferPool::new();
    let mut session = Session::join(parted, &pool);
    give(&mut session, &sent[sent.len() - 5..], 1 << 14).expect("the rest of a record");
    assert_eq!(take_all(&mut session).expect("plaintext"), b"early frames");
    assert_eq!(session.seal(b"up", &[]).expect("a record"), 2);
    assert_eq!(hear(&mut far, &unsent(&mut session)), b"up");
}

/// A connection on a pair of sockets after its handshake: the gateway's end, and the raw far end.
fn pair(pool: &Rc<BufferPool>) -> (TlsStream, UnixStream, ServerConnection) {
    let (config, root) = server(&["orders.example"], 2100);
    let (near, mut far) = UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("a mode");
    far.set_nonblocking(true).expect("a mode");
    let socket = StreamSocket::new(OwnedFd::from(near)).expect("a place in the runtime");
    let client = client(root, rustls::DEFAULT_VERSIONS);
    let stream = TlsStream::client(socket, client, name("orders.example"), pool).expect("a session");
    let mut server = ServerConnection::new(config).expect("a server");
    loop {
        match stream.handshake().expect("a handshake") {
            Handshake::Step => stream.step().expect("a step"),
            Handshake::Send => assert!(stream.try_flush().expect("a peer")),
            Handshake::Receive => {
                listen(&mut far, &mut server);
                far.write_all(&records(&mut server)).expect("room");
                stream.receive().expect("a peer");
            }
            Handshake::Done => break,
        }
    }
    (stream, far, server)
}

fn listen(far: &mut UnixStream, server: &mut ServerConnection) -> Vec<u8> {
    let (mut space, mut heard) = (vec![0; 1 << 16], Vec::new());
    while let Ok(n @ 1..) = far.read(&mut space) {
        heard.extend(hear(server, &space[..n]));
    }
    heard
}

#[test]
fn tickets_and_new_keys_leave_an_idle_connection_as_it_was_and_bytes_do_not() {
    on_a_core(async {
        let pool = BufferPool::new();
        let (stream, mut far, mut server) = pair(&pool);
        listen(&mut far, &mut server);
        let tickets = records(&mut server);
        assert!(!tickets.is_empty(), "a server sends tickets behind the handshake");
        far.write_all(&tickets[..7]).expect("room");
        assert_eq!((stream.liveness(), stream.held()), (Liveness::Quiet, 7), "a part says nothing");
        far.write_all(&tickets[7..]).expect("room");
        assert_eq!((stream.liveness(), stream.held()), (Liveness::Quiet, 0));
        server.refresh_traffic_keys().expect("new keys");
        far.write_all(&records(&mut server)).expect("room");
        assert_eq!((stream.liveness(), stream.held()), (Liveness::Quiet, 0));
        assert_eq!(pool.held(), 0, "an idle connection holds nothing");

        assert_eq!(stream.try_send_both(b"GET", &[]).expect("a peer"), Some(3));
        assert_eq!(listen(&mut far, &mut server), b"GET");
        server.writer().write_all(b"answer").expect("room");
        far.write_all(&records(&mut server)).expect("room");
        assert_eq!(stream.liveness(), Liveness::Bytes);
        assert_eq!(stream.try_recv(&mut [0; 9]).expect("a peer"), Some(6));

        server.send_close_notify();
        far.write_all(&records(&mut server)).expect("room");
        assert_eq!(stream.liveness(), Liveness::HalfClosed);
    });
}

#[test]
fn a_server_that_speaks_plain_http_is_told_from_one_that_breaks_the_protocol() {
    on_a_core(async {
        for (said, expected) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Fault::PlainHttp),
            (b"220 mail.example ESMTP\r\n", Fault::Protocol),
            (b"", Fault::Closed),
        ] {
            let (near, mut far) = UnixStream::pair().expect("a pair");
            near.set_nonblocking(true).expect("a mode");
            let socket = StreamSocket::new(OwnedFd::from(near)).expect("a place in the runtime");
            let (_, root) = server(&["a.example"], 2100);
            let config = client(root, rustls::DEFAULT_VERSIONS);
            let stream =
                TlsStream::client(socket, config, name("a.example"), &BufferPool::new()).expect("a session");
            far.write_all(said).expect("room");
            far.shutdown(std::net::Shutdown::Write).expect("an end");
            let fault = loop {
                match stream.handshake() {
                    Err(fault) => break fault,
                    Ok(Handshake::Send) => assert!(stream.try_flush().expect("a peer")),
                    Ok(Handshake::Step) => {
                        let _ = stream.step();
                    }
                    Ok(_) => {
                        stream.receive().expect("a peer");
                    }
                }
            };
            assert_eq!(fault, expected, "{said:?}");
        }
    });
}
