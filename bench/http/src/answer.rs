//! An answer as it arrives in any pieces: its status, and where it ends (RFC 9112 §6.3). Bodies are counted, not kept.
//!
//! Known framings are a length, chunks, and statuses without a body. An answer that only the end of its connection
//! would end is refused: nobody sends those to a client that keeps its connections.

use std::mem;

#[derive(Default)]
pub struct Answer {
    stage: Stage,
    /// The start of a head or a line that is not complete yet.
    held: Vec<u8>,
    status: u16,
    keep_alive: bool,
}

#[derive(Default, Clone, Copy)]
enum Stage {
    #[default]
    Head,
    /// So many bytes of the body are to come.
    Length(u64),
    ChunkSize,
    /// So many bytes of the chunk are to come.
    Chunk(u64),
    /// The line break behind a chunk.
    ChunkEnd,
    Trailers,
}

/// An answer that is complete.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    pub status: u16,
    /// The connection may be used again.
    pub keep_alive: bool,
}

/// Why this is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    Head,
    HeadTooLong,
    /// Neither a length nor chunks, or both, or two lengths, or another coding.
    Framing,
    Chunk,
    /// There is more than one answer to one request.
    Surplus,
}

impl Answer {
    /// What has arrived next. `None`: there is more to come.
    pub fn take(&mut self, input: &[u8]) -> Result<Option<Answered>, Broken> {
        let mut held = mem::take(&mut self.held);
        let mut rest = input;
        if !held.is_empty() {
            held.extend_from_slice(input);
            rest = &held;
        }
        loop {
            let used = match self.stage {
                Stage::Head => self.head(rest)?,
                Stage::Length(left) => Some(self.body(rest, left, Stage::Length)),
                Stage::Chunk(left) => Some(self.body(rest, left, Stage::Chunk)),
                Stage::ChunkSize => self.chunk_size(rest)?,
                Stage::ChunkEnd => self.chunk_end(rest)?,
                Stage::Trailers => self.trailer(rest),
            };
            let Some(used) = used else {
                if rest.len() > HEAD_BYTES_MAX {
                    return Err(Broken::HeadTooLong);
                }
                self.held = rest.to_vec();
                return Ok(None);
            };
            rest = &rest[used..];
            match self.stage {
                Stage::Length(0) if !rest.is_empty() => return Err(Broken::Surplus),
                Stage::Length(0) => {
                    self.stage = Stage::Head;
                    return Ok(Some(Answered { status: self.status, keep_alive: self.keep_alive }));
                }
                Stage::Chunk(0) => self.stage = Stage::ChunkEnd,
                Stage::Length(_) | Stage::Chunk(_) if rest.is_empty() => return Ok(None),
                _ => {}
            }
        }
    }

    /// The length of the head, once all of it is here.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(bytes).map_err(|_| Broken::Head)? else {
            return Ok(None);
        };
        self.status = head.code.ok_or(Broken::Head)?;
        let values = |name| {
            let named = head.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
            named.map(|field| field.value.trim_ascii())
        };
        let says = |option: &[u8]| {
            values("connection")
                .flat_map(|value| value.split(|byte| *byte == b','))
                .any(|given| given.trim_ascii().eq_ignore_ascii_case(option))
        };
        // RFC 9112 §9.3: 1.1 persists unless it says close, 1.0 only if it says so.
        self.keep_alive = if head.version == Some(0) { says(b"keep-alive") } else { !says(b"close") };
        let mut lengths = values("content-length");
        let mut codings = values("transfer-encoding");
        self.stage = match (self.status, lengths.next(), codings.next()) {
            // RFC 9110 §15.2: an interim answer; the final one is still to come.
            (100..=199, _, _) => Stage::Head,
            (204 | 304, _, _) => Stage::Length(0),
            (_, Some(length), None) if lengths.next().is_none() => Stage::Length(number(length)?),
            (_, None, Some(coding))
                if coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() =>
            {
                Stage::ChunkSize
            }
            _ => return Err(Broken::Framing),
        };
        Ok(Some(length))
    }

    fn body(&mut self, bytes: &[u8], left: u64, stage: fn(u64) -> Stage) -> usize {
        let used = left.min(bytes.len() as u64);
        self.stage = stage(left - used);
        used as usize
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        match httparse::parse_chunk_size(bytes).map_err(|_| Broken::Chunk)? {
            httparse::Status::Partial => Ok(None),
            httparse::Status::Complete((used, size)) => {
                self.stage = if size == 0 { Stage::Trailers } else { Stage::Chunk(size) };
                Ok(Some(used))
            }
        }
    }

    fn chunk_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        match bytes {
            [b'\r', b'\n', ..] => {
                self.stage = Stage::ChunkSize;
                Ok(Some(2))
            }
            [] | [b'\r'] => Ok(None),
            _ => Err(Broken::Chunk),
        }
    }

    /// One line; an empty one is the end.
    fn trailer(&mut self, bytes: &[u8]) -> Option<usize> {
        let length = bytes.windows(2).position(|two| two == b"\r\n")?;
        if length == 0 {
            self.stage = Stage::Length(0);
        }
        Some(length + 2)
    }
}

/// Digits and nothing else.
fn number(digits: &[u8]) -> Result<u64, Broken> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    text.and_then(|text| text.parse().ok()).ok_or(Broken::Framing)
}

/// A head or a line longer than this is nobody's answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of one head.
const FIELDS_MAX: usize = 64;
