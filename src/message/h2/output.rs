//! What a connection has to send: the frames of all streams, gathered, so that one write takes them.

use std::io;

use crate::http2::frame::{END_STREAM, HEADER_BYTES, Kind, header};
use crate::limits::{CONTROL_BYTES_RESERVED, CONTROL_BYTES_UNSENT_MAX};
use crate::net::{Buffer, Flush, Transport};

/// Frames that are gathered and not sent.
pub(super) struct Output {
    buffer: Buffer,
    /// Bytes that have left so far: where the buffer begins in all that is sent.
    sent: u64,
    /// Bytes of control frames since the buffer was last empty.
    control: usize,
    /// The kernel takes no more for now.
    pub(super) is_blocked: bool,
}

/// Where the header of a frame stands in all that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameAt(u64);

impl Output {
    pub(super) fn new(buffer: Buffer) -> Output {
        Output { buffer, sent: 0, control: 0, is_blocked: false }
    }

    /// Bytes of frames with content that may be gathered now.
    pub(super) fn room(&self) -> usize {
        self.buffer.free().saturating_sub(CONTROL_BYTES_RESERVED)
    }

    /// Puts a frame, for which there is room.
    pub(super) fn put(&mut self, kind: Kind, flags: u8, stream: u32, payload: [&[u8]; 2]) -> FrameAt {
        let at = FrameAt(self.sent + self.buffer.len() as u64);
        let length = payload[0].len() + payload[1].len();
        self.buffer.put_all([&header(kind, flags, stream, length), payload[0], payload[1]]);
        at
    }

    /// Puts a control frame into the room that is reserved for it. False: there is none, because the peer reads
    /// nothing.
    pub(super) fn put_control(&mut self, frame: &[u8]) -> bool {
        if self.buffer.free() < frame.len() {
            return false;
        }
        self.control += frame.len();
        self.buffer.put(frame);
        true
    }

    /// The peer has to take some of its answers before more of it is read.
    pub(super) fn is_owed_room(&self) -> bool {
        self.control > CONTROL_BYTES_UNSENT_MAX
    }

    /// Makes a frame the last one of its stream, if it has not left. False: it has.
    pub(super) fn end_stream(&mut self, frame: FrameAt) -> bool {
        let Some(at) = frame.0.checked_sub(self.sent) else { return false };
        match self.buffer.filled_mut().get_mut(at as usize + FLAGS_AT) {
            Some(flags) => {
                *flags |= END_STREAM;
                true
            }
            None => false,
        }
    }

    /// Sends as much as the peer takes. True: everything has left.
    pub(super) fn send(&mut self, transport: &Transport) -> io::Result<bool> {
        self.is_blocked = false;
        while !self.buffer.is_empty() {
            let Some(sent) = transport.try_send(self.buffer.filled())? else {
                self.is_blocked = true;
                self.buffer.park();
                return Ok(false);
            };
            self.sent += sent as u64;
            self.buffer.consume(sent);
        }
        self.control = 0;
        self.buffer.release_if_empty();
        self.is_blocked = transport.try_flush()? == Flush::Waiting;
        Ok(!self.is_blocked)
    }

    /// Nothing waits to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && !self.is_blocked
    }

    /// Bytes that have left so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}

/// Where the flags stand in a frame.
const FLAGS_AT: usize = 4;
const _: () = assert!(FLAGS_AT < HEADER_BYTES);
