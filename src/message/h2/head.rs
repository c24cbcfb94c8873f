//! The head of a response as a block of fields, and the frames that it leaves in.

use super::state::State;
use super::stream::StreamId;
use crate::http2::frame::{END_HEADERS, END_STREAM, HEADER_BYTES, Kind};
use crate::http2::hpack::{NO_TABLE, Out};
use crate::http2::response;
use crate::limits::FRAME_BYTES_MAX;
use crate::net::Buffer;

/// A block of fields that waits for room.
pub struct H2Head {
    block: Buffer,
    /// The status; 0: it is a trailer section.
    status: u16,
}

impl Out for Buffer {
    fn put(&mut self, bytes: &[u8]) {
        self.put_all([bytes]);
    }
}

impl H2Head {
    /// The block of a head that was written as lines, the first of which has the status.
    pub fn of_text(text: Buffer) -> H2Head {
        let mut block = text.sibling();
        let (status, lines) = split(text.filled());
        response::put_head(&mut block, status, lines);
        H2Head { block, status }
    }

    /// The block of a trailer section.
    pub(super) fn of_trailers<'l>(lines: impl Iterator<Item = &'l [u8]>, mut block: Buffer) -> H2Head {
        for line in lines {
            response::put_lines(&mut block, &[line, b"\r\n"].concat());
        }
        H2Head { block, status: 0 }
    }

    /// Puts the block into the output, if there is room for the whole of it. False: there is none.
    pub(super) fn put(&mut self, state: &mut State, id: StreamId, ends_stream: bool) -> bool {
        let block = self.block.filled();
        let frames = (block.len() + 1).div_ceil(FRAME_BYTES_MAX).max(1);
        if state.output.room() < block.len() + 1 + frames * HEADER_BYTES {
            return false;
        }
        let first: &[u8] = if state.has_sent_block { &[] } else { &[NO_TABLE] };
        state.has_sent_block = true;
        let (part, mut rest) = block.split_at(block.len().min(FRAME_BYTES_MAX - first.len()));
        let end = |rest: &[u8]| if rest.is_empty() { END_HEADERS } else { 0 };
        let flags = end(rest) | if ends_stream { END_STREAM } else { 0 };
        let at = state.output.put(Kind::Headers, flags, id, [first, part]);
        while !rest.is_empty() {
            let (part, more) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
            state.output.put(Kind::Continuation, end(more), id, [part, &[]]);
            rest = more;
        }
        state.budget.moved();
        if let Some(stream) = state.streams.get(id) {
            stream.part.last_frame = Some(at);
            if self.status >= 200 {
                stream.part.answered = (self.status, block.len() as u64);
            }
        }
        state.wake_writer();
        true
    }

    /// To be called before a wait: the block takes no more memory than it needs.
    pub(super) fn park(&mut self) {
        self.block.park();
    }

    /// Bytes of the block.
    pub(super) fn bytes(&self) -> usize {
        self.block.len()
    }
}

/// `HTTP/1.1 200 OK`, CRLF, and the lines.
fn split(text: &[u8]) -> (u16, &[u8]) {
    let end = memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1);
    let digits = text[..end].split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    let status = digits.iter().fold(0, |status: u16, digit| status * 10 + u16::from(digit & 0xf));
    (status, &text[end..])
}
