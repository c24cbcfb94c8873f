//! WebSockets by hand: handshakes and frames as bytes, so that a test can send what no library would.

use std::sync::mpsc;

use super::message::Head;
use super::{Client, Exchange, Gateway, Origin, Request, token};

/// A frame as it stands on the wire, its payload unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    pub payload: Vec<u8>,
    pub is_masked: bool,
}

impl Frame {
    pub fn new(first: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame { first, payload: payload.as_ref().to_vec(), is_masked: false }
    }

    pub fn text(text: &str) -> Frame {
        Frame::new(0x81, text)
    }

    pub fn ping(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(0x89, payload)
    }

    pub fn pong(payload: impl AsRef<[u8]>) -> Frame {
        Frame::new(0x8a, payload)
    }

    pub fn close(code: u16, reason: &str) -> Frame {
        Frame::new(0x88, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
    }

    /// The code of a Close frame.
    pub fn code(&self) -> Option<u16> {
        let code = self.payload.first_chunk::<2>().filter(|_| self.first == 0x88)?;
        Some(u16::from_be_bytes(*code))
    }

    /// A server's bytes.
    pub fn plain(&self) -> Vec<u8> {
        self.bytes(None)
    }

    /// A client's bytes.
    pub fn masked(&self) -> Vec<u8> {
        self.bytes(Some([0x11, 0xa5, 0x3c, 0xf0]))
    }

    fn bytes(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        let bit = if mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match self.payload.len() {
            short @ 0..126 => bytes.push(bit | short as u8),
            middle @ 126..0x1_0000 => {
                bytes.push(bit | 126);
                bytes.extend((middle as u16).to_be_bytes());
            }
            long => {
                bytes.push(bit | 127);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        bytes.extend(mask.iter().flatten());
        let key = mask.unwrap_or_default();
        bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    /// The frame at the front of the bytes, taken out of them.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Frame> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, mut at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let is_masked = second & 0x80 != 0;
        let mut key = [0; 4];
        if is_masked {
            key = *bytes.get(at..)?.first_chunk()?;
            at += 4;
        }
        let end = at + length as usize;
        let payload = bytes.get(at..end)?;
        let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        bytes.drain(..end);
        Some(Frame { first, payload, is_masked })
    }
}

/// A handshake on `/ws` without a token.
pub fn handshake() -> Request {
    handshake_on("/ws")
}

/// A handshake on any target.
pub fn handshake_on(target: &str) -> Request {
    Request::new("GET", target)
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", KEY)
}

/// The answer to that handshake, with further lines.
pub fn switching(lines: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{lines}\r\n"
    )
}

/// The client's end of a tunnel.
pub struct Socket {
    client: Client,
    arrived: Vec<u8>,
    /// What the 101 said.
    pub head: Head,
}

impl Socket {
    /// A tunnel of this user's.
    #[track_caller]
    pub fn open(gateway: &Gateway, user: &str) -> Socket {
        Socket::open_with(gateway, &handshake().bearer(&token(user)))
    }

    /// A tunnel by this handshake.
    #[track_caller]
    pub fn open_with(gateway: &Gateway, handshake: &Request) -> Socket {
        let mut client = gateway.client();
        client.send(handshake.bytes());
        Socket::opened(client)
    }

    /// The tunnel of a handshake that was sent.
    #[track_caller]
    pub fn opened(mut client: Client) -> Socket {
        let head = client.read_head();
        assert!(head.start.starts_with("HTTP/1.1 101 "), "{head:?}");
        Socket { client, arrived: Vec::new(), head }
    }

    pub fn send(&mut self, frame: Frame) -> &mut Socket {
        self.send_raw(frame.masked())
    }

    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) -> &mut Socket {
        self.client.send(bytes);
        self
    }

    /// The next frame. The end of the connection is a failure.
    #[track_caller]
    pub fn read(&mut self) -> Frame {
        self.try_read().expect("a frame, not the end of the connection")
    }

    /// The next frame, or the end in order.
    #[track_caller]
    pub fn try_read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.arrived) {
                assert!(!frame.is_masked, "a server's frame is not masked");
                return Some(frame);
            }
            let some = self.client.read_some();
            if some.is_empty() {
                assert!(self.arrived.is_empty(), "the connection ended within a frame");
                return None;
            }
            self.arrived.extend(some);
        }
    }

    /// A Close frame with this code comes, is answered, and then the connection ends in order.
    #[track_caller]
    pub fn expect_goodbye(&mut self, code: u16) -> Frame {
        let frame = self.read();
        assert_eq!(frame.code(), Some(code), "{frame:?}");
        self.send(Frame::close(code, ""));
        assert_eq!(self.try_read(), None, "after a Close frame comes nothing");
        frame
    }

    /// What goes in comes back.
    #[track_caller]
    pub fn expect_echo(&mut self, text: &str) {
        self.send(Frame::text(text));
        assert_eq!(self.read(), Frame::text(text));
    }

    /// The connection itself.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// The upstream's end of a tunnel.
pub struct ServerSide<'e> {
    pub exchange: &'e mut Exchange,
    arrived: Vec<u8>,
}

impl<'e> ServerSide<'e> {
    /// Takes the next handshake; `None`: none came.
    pub fn accept(exchange: &'e mut Exchange) -> Option<ServerSide<'e>> {
        exchange.read_request()?;
        exchange.write(switching(""));
        Some(ServerSide { exchange, arrived: Vec::new() })
    }

    /// Goes on after a 101 that the test wrote itself.
    pub fn switched(exchange: &'e mut Exchange) -> ServerSide<'e> {
        ServerSide { exchange, arrived: Vec::new() }
    }

    pub fn send(&mut self, frame: Frame) {
        self.exchange.write(frame.plain());
    }

    /// The next frame; `None` at the end.
    pub fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.arrived) {
                assert!(frame.is_masked, "a client's frame is masked");
                return Some(Frame { is_masked: false, ..frame });
            }
            let some = self.exchange.read_some();
            if some.is_empty() {
                return None;
            }
            self.arrived.extend(some);
        }
    }

    /// Sends back every data frame, answers pings and the Close frame.
    pub fn echo(&mut self) {
        while let Some(frame) = self.read() {
            match frame.first & 0x0f {
                0x8 => return self.send(frame),
                0x9 => self.send(Frame { first: 0x8a, ..frame }),
                0xa => {}
                _ => self.send(frame),
            }
        }
    }
}

/// An upstream that echoes on a WebSocket, and answers any other request with 200.
pub fn either() -> Origin {
    Origin::new(|exchange| {
        while let Some(request) = exchange.read_request() {
            if request.head.field("upgrade").is_some() {
                exchange.write(switching(""));
                return ServerSide::switched(exchange).echo();
            }
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    })
}

/// An upstream that echoes.
pub fn echoing() -> Origin {
    Origin::new(|exchange| {
        if let Some(mut side) = ServerSide::accept(exchange) {
            side.echo();
        }
    })
}

/// An upstream that tells every frame it got, until the end of the connection (`None`), and answers the Close frame.
pub fn telling() -> (Origin, mpsc::Receiver<Option<Frame>>) {
    let (tell, told) = mpsc::channel();
    let origin = Origin::new(move |exchange| {
        let Some(mut side) = ServerSide::accept(exchange) else { return };
        loop {
            let frame = side.read();
            let _ = tell.send(frame.clone());
            match frame {
                Some(frame) if frame.first == 0x88 => side.send(frame),
                Some(_) => {}
                None => return,
            }
        }
    });
    (origin, told)
}

/// The key of the standard, and its answer (RFC 6455 §1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
