//! A client that sends any bytes and reads answers strictly.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::message::{Body, Framing, Head, Wire};
use super::{PATIENCE, show, token};

/// One connection.
pub struct Client {
    wire: Wire,
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the gateway accepts connections");
        Client { wire: Wire::new(stream) }
    }

    /// A client with this address, which must be one of the loopback network.
    pub fn connect_from(source: [u8; 4], address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("an address of this host");
        socket.connect(&address.into()).expect("the gateway listens");
        Client { wire: Wire::new(socket.into()) }
    }

    /// Sends as much as the peer takes: one that refuses early may stop reading, and its answer is what counts.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        if let Err(e) = self.wire.stream.write_all(bytes.as_ref()) {
            let gone = matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
            assert!(gone, "cannot send: {e}");
        }
        self
    }

    /// The next final answer, which must be complete.
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        let response = self.read_partial_response();
        assert!(!response.truncated, "truncated: {response:?}");
        response
    }

    /// The next final answer, complete or not.
    #[track_caller]
    pub fn read_partial_response(&mut self) -> Response {
        let (head, interim) = self.read_final_head();
        let status = status(&head);
        let framing = match status {
            204 | 304 => Framing::Empty,
            _ => Framing::of(&head, Framing::Close).expect("an answer with one framing"),
        };
        let body = self.wire.body(framing).expect("a well-formed body");
        Response::new(status, head, interim, body)
    }

    /// The answer to HEAD.
    #[track_caller]
    pub fn read_bodiless_response(&mut self) -> Response {
        let (head, interim) = self.read_final_head();
        Response::new(status(&head), head, interim, Body::default())
    }

    /// The next head, interim or final.
    #[track_caller]
    pub fn read_head(&mut self) -> Head {
        let head =
            self.wire.head().expect("a well-formed head").expect("an answer, not the end of the connection");
        assert!(head.start.starts_with("HTTP/1.1 "), "{head:?}");
        head
    }

    /// Some bytes of what follows; none at the end.
    #[track_caller]
    pub fn read_some(&mut self) -> Vec<u8> {
        self.wire.some(1 << 16).expect("bytes or the end")
    }

    /// Reads so many bytes and forgets them. Returns how many came before the end.
    #[track_caller]
    pub fn skip(&mut self, length: u64) -> u64 {
        self.wire.skip(length).expect("bytes or the end")
    }

    /// Everything until the peer closes.
    #[track_caller]
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        self.wire.rest(&mut all).unwrap_or_else(|e| panic!("{e} after {}", show(&all)));
        all
    }

    /// The peer closes in order and says nothing more.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let all = self.read_to_close();
        assert!(all.is_empty(), "more than was asked for: {}", show(&all));
    }

    /// Everything until the connection ends, in order or by reset.
    #[track_caller]
    pub fn read_until_gone(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Err(e) = self.wire.rest(&mut all) {
            assert_eq!(e.kind(), ErrorKind::ConnectionReset, "after {}", show(&all));
        }
        all
    }

    /// The connection ends, in order or by reset, and nothing more is said on it.
    #[track_caller]
    pub fn expect_gone(&mut self) {
        let all = self.read_until_gone();
        assert!(all.is_empty(), "more than was asked for: {}", show(&all));
    }

    /// The connection still takes requests, and nothing is left over from the last one.
    #[track_caller]
    pub fn expect_open(&mut self) {
        let response = self.send(Request::new("GET", "/healthz").bytes()).read_response();
        assert_eq!(response.status, 200, "{response:?}");
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&self) {
        self.wire.stream.shutdown(Shutdown::Write).expect("a half-close");
    }

    /// Ends with a reset.
    pub fn reset(self) {
        super::origin::linger_zero(&self.wire.stream);
    }

    pub fn stream(&self) -> &TcpStream {
        &self.wire.stream
    }

    #[track_caller]
    fn read_final_head(&mut self) -> (Head, Vec<Head>) {
        let mut interim = Vec::new();
        loop {
            let head = self.read_head();
            match status(&head) {
                100..200 => interim.push(head),
                _ => return (head, interim),
            }
        }
    }
}

#[track_caller]
fn status(head: &Head) -> u16 {
    let digits = head.word(1);
    assert!(digits.len() == 3, "{head:?}");
    digits.parse().expect("a status of three digits")
}

/// A request that is well-formed unless a test makes it otherwise.
#[derive(Debug, Clone)]
pub struct Request {
    line: String,
    fields: String,
    body: Vec<u8>,
}

impl Request {
    /// HTTP/1.1 with a `Host`.
    pub fn new(method: &str, target: &str) -> Request {
        let line = format!("{method} {target} HTTP/1.1");
        Request { line, fields: "Host: chat.test\r\n".to_owned(), body: Vec::new() }
    }

    /// Adds a field.
    pub fn field(mut self, name: &str, value: &str) -> Request {
        self.fields += &format!("{name}: {value}\r\n");
        self
    }

    /// Adds field lines as they are, CRLF included.
    pub fn raw(mut self, lines: &str) -> Request {
        self.fields += lines;
        self
    }

    /// Carries a valid token of this user.
    pub fn token(self, user: &str) -> Request {
        self.bearer(&token(user))
    }

    /// Carries this token, valid or not.
    pub fn bearer(self, token: &str) -> Request {
        self.field("Authorization", &format!("Bearer {token}"))
    }

    /// Carries a body with its length.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.field("Content-Length", &length)
    }

    /// Carries these bytes after the head, framed by the fields that the test adds.
    pub fn raw_body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = body.as_ref().to_vec();
        self
    }

    /// What goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = format!("{}\r\n{}\r\n", self.line, self.fields).into_bytes();
        bytes.extend(&self.body);
        bytes
    }
}

/// A final answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub head: Head,
    /// The 1xx answers that came before.
    pub interim: Vec<Head>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// The peer stopped before the end of the body.
    pub truncated: bool,
}

impl Response {
    fn new(status: u16, head: Head, interim: Vec<Head>, body: Body) -> Response {
        Response {
            status,
            head,
            interim,
            body: body.bytes,
            trailers: body.trailers,
            truncated: body.truncated,
        }
    }

    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The `code` of the gateway's own problem answer, whose other members are checked in passing.
    #[track_caller]
    pub fn code(&self) -> String {
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        for member in ["type", "title", "request_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {problem}");
        }
        problem["code"].as_str().expect("a code").to_owned()
    }
}
