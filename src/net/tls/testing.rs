//! Both ends of a TLS connection for tests: the server's is the gateway's, the client's is that of `rustls`.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

use super::gate::Gate;
use super::stream::{Handshake, TlsStream};
use crate::net::{BufferPool, StreamSocket};

struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

fn configs() -> &'static Configs {
    static CONFIGS: OnceLock<Configs> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["chat.example".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a usable certificate");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Configs { server: Arc::new(server), client: Arc::new(client) }
    })
}

pub(super) fn server_config() -> Arc<ServerConfig> {
    configs().server.clone()
}

pub(super) fn client() -> ClientConnection {
    let name = ServerName::try_from("chat.example").expect("a name");
    ClientConnection::new(configs().client.clone(), name).expect("a client")
}

/// What the client has to say, as records.
pub(super) fn say(client: &mut ClientConnection, bytes: &[u8]) -> Vec<u8> {
    client.writer().write_all(bytes).expect("room");
    records(client)
}

pub(super) fn records(client: &mut ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut records).expect("memory");
    }
    records
}

/// Lets the client hear records; gives the plaintext in them.
pub(super) fn hear(client: &mut ClientConnection, mut bytes: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).expect("records");
        client.process_new_packets().expect("the protocol");
        read_plain(client, &mut heard);
    }
    heard
}

pub(super) fn read_plain(client: &mut ClientConnection, into: &mut Vec<u8>) {
    let mut space = [0; 4096];
    while let Ok(n @ 1..) = client.reader().read(&mut space) {
        into.extend(&space[..n]);
    }
}

/// A connection on a pair of sockets: the gateway's end, and the raw far end.
pub(super) fn pair(pool: &Rc<BufferPool>) -> (TlsStream, UnixStream) {
    let (near, far) = UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("a mode");
    far.set_nonblocking(true).expect("a mode");
    let socket = StreamSocket::new(OwnedFd::from(near)).expect("a place in the runtime");
    let in_flight = Rc::<Gate>::default().begin(0).expect("a place");
    let stream = TlsStream::server(socket, server_config(), pool, in_flight).expect("a session");
    (stream, far)
}

/// The far end of a pair: moves what both sides have to say until neither has anything.
pub(super) fn handshake(stream: &TlsStream, far: &mut UnixStream, client: &mut ClientConnection) {
    loop {
        let _ = far.write_all(&records(client));
        match stream.handshake().expect("a handshake") {
            Handshake::Step => stream.step().expect("a step"),
            Handshake::Send => assert!(stream.try_flush().expect("a peer")),
            Handshake::Receive => {
                stream.receive().expect("a peer");
            }
            Handshake::Done => break,
        }
        listen(far, client, &mut Vec::new());
    }
    listen(far, client, &mut Vec::new());
}

/// What has come to the far end goes to the client.
pub(super) fn listen(far: &mut UnixStream, client: &mut ClientConnection, heard: &mut Vec<u8>) {
    let mut space = vec![0; 1 << 16];
    while let Ok(n @ 1..) = far.read(&mut space) {
        heard.extend(hear(client, &space[..n]));
    }
}
