//! A client of HTTP/2 that says what a test wants it to say, frame by frame.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// The last four bytes of its payload, or those of a GOAWAY that are its code.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// A connection.
pub struct H2Client {
    stream: TcpStream,
    received: Vec<u8>,
    decoder: fluke_hpack::Decoder<'static>,
    /// What has come on streams that nobody has asked for yet.
    seen: Vec<RawFrame>,
    block: Vec<u8>,
}

/// What a stream has answered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The blocks of fields: interim heads, the head, trailers.
    pub blocks: Vec<Vec<(String, String)>>,
    pub body: Vec<u8>,
    /// The stream was reset with this code.
    pub reset: Option<u32>,
    pub has_ended: bool,
}

impl Answer {
    /// The status of the final head.
    #[track_caller]
    pub fn status(&self) -> u16 {
        let statuses = self.blocks.iter().filter_map(|block| value(block, ":status"));
        let last = statuses.map(|status| status.parse::<u16>().expect("a status")).next_back();
        last.unwrap_or_else(|| panic!("no status: {self:?}"))
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.blocks.iter().find_map(|block| value(block, name))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of a problem answer.
    #[track_caller]
    pub fn code(&self) -> String {
        let value: serde_json::Value = serde_json::from_slice(&self.body).expect("a problem");
        value["code"].as_str().expect("a code").to_owned()
    }
}

fn value<'b>(block: &'b [(String, String)], name: &str) -> Option<&'b str> {
    block.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
}

/// A frame in bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A block of fields, without any table.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.extend(number(text.len()));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn number(number: usize) -> Vec<u8> {
    if number < 127 {
        return vec![number as u8];
    }
    let (mut bytes, mut left) = (vec![127], number - 127);
    while left >= 128 {
        bytes.push((left % 128 + 128) as u8);
        left /= 128;
    }
    bytes.push(left as u8);
    bytes
}

/// The fields of a request's head, and then these.
pub fn head<'a>(method: &'a str, path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "chat.test")];
    [&pseudo[..], more].concat()
}

impl H2Client {
    /// A connection whose settings are exchanged.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> H2Client {
        let mut client = H2Client::silent(address);
        client.send(PREFACE).send(frame(SETTINGS, 0, 0, ""));
        let settings = client.next().expect("settings");
        assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
        client.send(frame(SETTINGS, ACK, 0, ""));
        client
    }

    /// A connection on which nothing was said.
    #[track_caller]
    pub fn silent(address: SocketAddr) -> H2Client {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option");
        let (received, seen, block) = Default::default();
        H2Client { stream, received, decoder: fluke_hpack::Decoder::new(), seen, block }
    }

    /// Sends bytes. That the other end is gone is for the next read to find.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut H2Client {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Sends the head of a request. `ends`: there is no body.
    pub fn begin(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) -> &mut H2Client {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.send(frame(HEADERS, flags, stream, block(fields)))
    }

    pub fn get(&mut self, stream: u32, path: &str, token: &str) -> &mut H2Client {
        let bearer = format!("Bearer {token}");
        self.begin(stream, &head("GET", path, &[("authorization", &bearer)]), true)
    }

    /// Sends bytes of a body.
    pub fn data(&mut self, stream: u32, data: impl AsRef<[u8]>, ends: bool) -> &mut H2Client {
        self.send(frame(DATA, u8::from(ends), stream, data))
    }

    /// The next frame. `None`: the connection is over.
    #[track_caller]
    pub fn next(&mut self) -> Option<RawFrame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing came in time; so far: {:?}", self.seen)
                }
                Err(_) => return None,
            }
        }
    }

    fn take(&mut self) -> Option<RawFrame> {
        let header: [u8; 9] = self.received.get(..9)?.try_into().expect("nine bytes");
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = self.received.get(9..9 + length)?.to_vec();
        self.received.drain(..9 + length);
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        Some(RawFrame { kind: header[3], flags: header[4], stream, payload })
    }

    /// The next frame of this kind; others are kept.
    #[track_caller]
    pub fn wait(&mut self, kind: u8) -> RawFrame {
        if let Some(at) = self.seen.iter().position(|frame| frame.kind == kind) {
            return self.seen.remove(at);
        }
        loop {
            match self.next() {
                Some(frame) if frame.kind == kind => return frame,
                Some(frame) => self.seen.push(frame),
                None => panic!("the connection ended without a frame {kind}: {:?}", self.seen),
            }
        }
    }

    /// The whole answer on a stream. Frames of other streams are kept.
    #[track_caller]
    pub fn answer(&mut self, stream: u32) -> Answer {
        let mut answer = Answer::default();
        loop {
            let frame = match self.seen.iter().position(|frame| frame.stream == stream) {
                Some(at) => self.seen.remove(at),
                None => match self.next() {
                    Some(frame) => frame,
                    None => panic!("the connection ended within {answer:?}; kept: {:?}", self.seen),
                },
            };
            // Blocks of other streams: without a table on the other side they may be decoded later.
            if frame.stream != stream {
                self.seen.push(frame);
                continue;
            }
            match frame.kind {
                HEADERS | CONTINUATION => {
                    self.block.extend_from_slice(&frame.payload);
                    if frame.flags & END_HEADERS != 0 {
                        let block = std::mem::take(&mut self.block);
                        let fields = self.decoder.decode(&block).expect("a block of fields");
                        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
                        answer.blocks.push(fields.into_iter().map(|(n, v)| (text(n), text(v))).collect());
                    }
                    answer.has_ended |= frame.kind == HEADERS && frame.flags & END_STREAM != 0;
                }
                DATA => {
                    answer.body.extend_from_slice(&frame.payload);
                    answer.has_ended |= frame.flags & END_STREAM != 0;
                }
                RST_STREAM => answer.reset = Some(frame.code()),
                WINDOW_UPDATE => {}
                kind => panic!("a frame {kind} on a stream"),
            }
            let is_over = answer.has_ended && (frame.kind != HEADERS || frame.flags & END_HEADERS != 0);
            if is_over || answer.reset.is_some() {
                return answer;
            }
        }
    }

    /// The connection ends with this code.
    #[track_caller]
    pub fn expect_goaway(&mut self, code: u32) {
        loop {
            match self.next() {
                Some(frame) if frame.kind == GOAWAY => {
                    assert_eq!(frame.code(), code);
                    break;
                }
                Some(frame) => self.seen.push(frame),
                None => panic!("no GOAWAY: {:?}", self.seen),
            }
        }
        self.expect_closed();
    }

    /// The connection ends.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        while let Some(frame) = self.next() {
            self.seen.push(frame);
        }
    }

    /// The connection answers: a PING comes back.
    #[track_caller]
    pub fn expect_alive(&mut self) {
        self.send(frame(PING, 0, 0, "alive?!?"));
        let answer = self.wait(PING);
        assert_eq!((answer.flags, &answer.payload[..]), (ACK, &b"alive?!?"[..]));
    }

    /// What has come and was not asked for.
    pub fn seen(&self) -> &[RawFrame] {
        &self.seen
    }

    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a shutdown");
    }
}
