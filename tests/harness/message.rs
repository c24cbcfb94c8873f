//! Reading HTTP/1.1 messages from a socket, strictly, for both ends of the gateway.
//!
//! It shares no code with the gateway: a mistake there must not hide itself here.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;

/// A start line and its fields, as received. Bytes over 0x7f are read as Latin-1, so nothing is lost.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The request line or the status line.
    pub start: String,
    /// Names and values in the order and case received; only the white space around a value is gone.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of the only field of this name, in any case.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times: {self:?}", all.len());
        all.first().copied()
    }

    /// The values of every field of this name, in any case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether a comma-separated field contains this member, in any case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.all(name).iter().flat_map(|v| v.split(',')).any(|m| m.trim().eq_ignore_ascii_case(member))
    }

    /// One word of the start line.
    pub fn word(&self, index: usize) -> &str {
        self.start.splitn(3, ' ').nth(index).unwrap_or_default()
    }

    fn parse(bytes: &[u8]) -> io::Result<Head> {
        let text = latin1(bytes);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) =
                line.split_once(':').ok_or_else(|| broken(&format!("no colon in {line:?}")))?;
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(broken(&format!("{name:?} is no field name")));
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        if text.replace("\r\n", "").chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err(broken(&format!("control byte in head {text:?}")));
        }
        Ok(Head { start, fields })
    }
}

/// Where the body of a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Nothing follows.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// When the sender closes.
    Close,
}

impl Framing {
    /// The framing that the fields name, or `otherwise`.
    pub fn of(head: &Head, otherwise: Framing) -> io::Result<Framing> {
        match (head.all("content-length").as_slice(), head.all("transfer-encoding").as_slice()) {
            ([], []) => Ok(otherwise),
            ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) => {
                length.parse().map(Framing::Length).map_err(|_| broken("content-length out of range"))
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            _ => Err(broken(&format!("ambiguous framing: {head:?}"))),
        }
    }
}

/// What a body turned out to be.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// The bytes without their framing.
    pub bytes: Vec<u8>,
    /// The trailer fields.
    pub trailers: Vec<(String, String)>,
    /// The sender stopped before the end.
    pub truncated: bool,
}

/// A socket and what was read from it but not used.
#[derive(Debug)]
pub struct Wire {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    /// The first bytes used since [`Wire::head`] was last called, as they came.
    pub raw: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(super::PATIENCE)).expect("a read timeout");
        stream.set_write_timeout(Some(super::PATIENCE)).expect("a write timeout");
        Wire { stream, buffer: Vec::new(), raw: Vec::new() }
    }

    /// The next head; `None` when the peer closed before its first byte.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        self.raw.clear();
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.take(end + 4);
                return Head::parse(&head[..end]).map(Some);
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(broken("the head does not end"));
            }
            if self.fill()? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(short("closed in the head")) };
            }
        }
    }

    /// The body after a head. Ends early, and says so, when the sender does.
    pub fn body(&mut self, framing: Framing) -> io::Result<Body> {
        let mut body = Body::default();
        let outcome = match framing {
            Framing::Empty => Ok(()),
            Framing::Length(length) => self.exactly(length, &mut body.bytes),
            Framing::Chunked => self.chunks(&mut body),
            Framing::Close => self.rest(&mut body.bytes),
        };
        match outcome {
            Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                body.truncated = true;
                Ok(body)
            }
            outcome => outcome.map(|()| body),
        }
    }

    /// Everything until the peer closes.
    pub fn rest(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let all = self.buffer.len();
            into.extend(self.take(all));
            if self.fill()? == 0 {
                return Ok(());
            }
        }
    }

    /// Up to so many bytes of whatever comes next; 0 at the end.
    pub fn some(&mut self, max: usize) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        let count = self.buffer.len().min(max);
        Ok(self.take(count))
    }

    /// Reads so many bytes and forgets them. Returns how many came before the end.
    pub fn skip(&mut self, length: u64) -> io::Result<u64> {
        let kept = self.buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        self.buffer.drain(..kept);
        let mut skipped = kept as u64;
        let mut space = vec![0; 1 << 18];
        while skipped < length {
            let room = space.len().min(usize::try_from(length - skipped).unwrap_or(usize::MAX));
            match self.stream.read(&mut space[..room])? {
                0 => break,
                count => skipped += count as u64,
            }
        }
        Ok(skipped)
    }

    fn exactly(&mut self, mut length: u64, into: &mut Vec<u8>) -> io::Result<()> {
        while length > 0 {
            let some = self.some(length.min(1 << 16) as usize)?;
            if some.is_empty() {
                return Err(short("closed in the body"));
            }
            length -= some.len() as u64;
            into.extend(some);
        }
        Ok(())
    }

    fn chunks(&mut self, body: &mut Body) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default();
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(broken(&format!("{line:?} is no chunk size")));
            }
            let size = u64::from_str_radix(digits, 16).map_err(|_| broken("chunk size out of range"))?;
            if size == 0 {
                break;
            }
            self.exactly(size, &mut body.bytes)?;
            if !self.line()?.is_empty() {
                return Err(broken("chunk data without its CRLF"));
            }
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(());
            }
            body.trailers.extend(Head::parse(format!("\r\n{line}").as_bytes())?.fields);
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\n") {
                let line = self.take(end + 1);
                let line = line.strip_suffix(b"\r\n").ok_or_else(|| broken("bare LF"))?;
                return Ok(latin1(line));
            }
            if self.fill()? == 0 {
                return Err(short("closed in a line"));
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken: Vec<u8> = self.buffer.drain(..count).collect();
        let room = RAW_MAX.saturating_sub(self.raw.len());
        self.raw.extend(&taken[..taken.len().min(room)]);
        taken
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut space = [0; 1 << 14];
        let count = self.stream.read(&mut space)?;
        self.buffer.extend(&space[..count]);
        Ok(count)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| b as char).collect()
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn short(what: &str) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, what)
}

const HEAD_MAX: usize = 1 << 18;
const RAW_MAX: usize = 1 << 18;
