//! A client of HTTPS that trusts one certificate.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use super::files::Folder;
use crate::harness::*;

/// Who asks. It keeps the tickets that it gets.
pub(super) struct HttpsClient(Arc<ClientConfig>);

/// What came back.
pub(super) struct Answered {
    pub(super) text: String,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) is_resumed: bool,
}

impl HttpsClient {
    /// Trusts these certificates of the folder, which are their own authorities.
    pub(super) fn trusting(folder: &Folder, files: &[&str]) -> HttpsClient {
        let mut roots = RootCertStore::empty();
        for file in files {
            roots
                .add(CertificateDer::from_pem_file(folder.path(file)).expect("a file"))
                .expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        HttpsClient(Arc::new(builder.expect("versions").with_root_certificates(roots).with_no_client_auth()))
    }

    /// A session that has not begun.
    pub(super) fn session(&self, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        ClientConnection::new(self.0.clone(), name).expect("a session")
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// The handshake's.
    pub(super) fn ask(&self, at: SocketAddr, name: &str, target: &str) -> std::io::Result<Answered> {
        let socket = TcpStream::connect(at)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(self.session(name), socket);
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let certificate = stream.conn.peer_certificates().expect("a certificate")[0].clone().into_owned();
        let is_resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Answered { text, certificate, is_resumed })
    }

    /// The same, answered.
    #[track_caller]
    pub(super) fn get(&self, at: SocketAddr, name: &str, target: &str) -> Answered {
        self.ask(at, name, target).expect("an answer over TLS")
    }
}
