//! WebSocket frames (RFC 6455 §5.2) as pure functions over bytes: writing them, and finding them in a stream that
//! arrives in any pieces.

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A client masks. Any mask will do here: nothing on the way may look at payloads.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Who sends a frame decides whether it is masked (§5.1).
#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Client,
    Server,
}

/// The bytes of one frame's header.
pub fn put_header(out: &mut Vec<u8>, side: Side, opcode: u8, payload_bytes: usize) {
    let masked = if side == Side::Client { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    match payload_bytes {
        0..=125 => out.push(masked | payload_bytes as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    if side == Side::Client {
        out.extend_from_slice(&MASK);
    }
}

/// One whole frame.
pub fn put(out: &mut Vec<u8>, side: Side, opcode: u8, payload: &[u8]) {
    put_header(out, side, opcode, payload.len());
    let start = out.len();
    out.extend_from_slice(payload);
    if side == Side::Client {
        apply_mask(&mut out[start..], MASK, 0);
    }
}

/// Masks or unmasks bytes that begin `offset` bytes into a payload.
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: u64) {
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte ^= mask[(offset as usize + at) & 3];
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Header {
    pub opcode: u8,
    pub mask: Option<[u8; 4]>,
    pub payload_bytes: u64,
}

impl Header {
    /// The header at the start of these bytes and its length; `None`: not all of it is here yet.
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (payload_bytes, rest) = match second & 0x7f {
            126 => rest.split_first_chunk().map(|(n, rest)| (u16::from_be_bytes(*n).into(), rest))?,
            127 => rest.split_first_chunk().map(|(n, rest)| (u64::from_be_bytes(*n), rest))?,
            short => (short.into(), rest),
        };
        let (mask, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => rest.split_first_chunk().map(|(mask, rest)| (Some(*mask), rest))?,
        };
        Some((Self { opcode: first & 0x0f, mask, payload_bytes }, bytes.len() - rest.len()))
    }
}

/// A part of one frame's payload, as it came. `offset` bytes of the payload came before it.
pub struct Piece<'a> {
    pub header: Header,
    pub offset: u64,
    pub payload: &'a [u8],
}

impl Piece<'_> {
    pub fn is_first(&self) -> bool {
        self.offset == 0
    }

    pub fn is_last(&self) -> bool {
        self.offset + self.payload.len() as u64 == self.header.payload_bytes
    }
}

/// Where a stream stands between frames.
#[derive(Default)]
pub struct Splitter {
    /// The start of a header that is not complete yet.
    started: Vec<u8>,
    open: Option<(Header, u64)>,
}

impl Splitter {
    /// The next piece in `input`, which moves on; `None` when `input` is used up.
    ///
    /// A frame without payload is one empty piece, and an open frame gives no empty pieces.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        let (header, offset) = match self.open.take() {
            Some(open) => open,
            None => (self.header(input)?, 0),
        };
        let left = header.payload_bytes - offset;
        if input.is_empty() && left > 0 {
            self.open = Some((header, offset));
            return None;
        }
        let (payload, rest) = input.split_at(input.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        *input = rest;
        if (payload.len() as u64) < left {
            self.open = Some((header, offset + payload.len() as u64));
        }
        Some(Piece { header, offset, payload })
    }

    fn header(&mut self, input: &mut &[u8]) -> Option<Header> {
        if self.started.is_empty()
            && let Some((header, bytes)) = Header::parse(input)
        {
            *input = &input[bytes..];
            return Some(header);
        }
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.started.push(byte);
            if let Some((header, _)) = Header::parse(&self.started) {
                self.started.clear();
                return Some(header);
            }
        }
        None
    }
}
