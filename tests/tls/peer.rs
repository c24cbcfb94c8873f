//! A TLS client without anything in between: it sees how a connection ends, and may break the protocol.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::{ClientConnection, HandshakeKind};

use crate::harness::*;

pub(super) struct Peer {
    pub(super) tls: ClientConnection,
    pub(super) stream: TcpStream,
    arrived: Vec<u8>,
}

impl Peer {
    /// After the handshake.
    #[track_caller]
    pub(super) fn connect(address: SocketAddr) -> Peer {
        let mut peer = Peer::begin(address);
        peer.finish_handshake();
        peer
    }

    /// After the handshake of this session.
    #[track_caller]
    pub(super) fn with(session: ClientConnection, address: SocketAddr) -> Peer {
        let mut peer = Peer::begin(address);
        peer.tls = session;
        peer.finish_handshake();
        peer
    }

    #[track_caller]
    pub(super) fn finish_handshake(&mut self) {
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.stream).expect("a handshake");
        }
    }

    /// Before it.
    #[track_caller]
    pub(super) fn begin(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the gateway accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Peer { tls: tls::session(), stream, arrived: Vec::new() }
    }

    pub(super) fn kind(&self) -> Option<HandshakeKind> {
        self.tls.handshake_kind()
    }

    /// What the client has to say next, as records.
    pub(super) fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).expect("memory");
        }
        records
    }

    #[track_caller]
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Peer {
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let n = self.tls.writer().write(rest).expect("room");
            rest = &rest[n..];
            let records = self.records();
            self.stream.write_all(&records).expect("the gateway reads");
        }
        self
    }

    /// Says close_notify, and nothing more.
    pub(super) fn close(&mut self) {
        self.tls.send_close_notify();
        let records = self.records();
        self.stream.write_all(&records).expect("the gateway reads");
    }

    /// Some plaintext; none at the end. An end without close_notify is an error.
    pub(super) fn read(&mut self) -> io::Result<Vec<u8>> {
        if !self.arrived.is_empty() {
            return Ok(std::mem::take(&mut self.arrived));
        }
        loop {
            let mut space = vec![0; 1 << 16];
            match self.tls.reader().read(&mut space) {
                Ok(n) => {
                    space.truncate(n);
                    return Ok(space);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.tls.read_tls(&mut self.stream)?;
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Plaintext up to and with this; what follows stays.
    #[track_caller]
    pub(super) fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            if let Some(at) = all.windows(end.len()).position(|window| window == end) {
                self.arrived = all.split_off(at + end.len());
                return all;
            }
            let some = self.read().expect("more");
            assert!(!some.is_empty(), "the end after {}", show(&all));
            all.extend(some);
        }
    }

    /// Everything to the end, and whether the end was said.
    pub(super) fn read_to_end(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut all = Vec::new();
        loop {
            match self.read() {
                Ok(some) if some.is_empty() => return (all, Ok(())),
                Ok(some) => all.extend(some),
                Err(error) => return (all, Err(error)),
            }
        }
    }

    /// The status of the answer to a request, whose body ends as said.
    #[track_caller]
    pub(super) fn ask(&mut self, request: &Request, end: &[u8]) -> u16 {
        let answer = self.send(request.bytes()).read_until(end);
        let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {}", show(&answer)))
    }
}
