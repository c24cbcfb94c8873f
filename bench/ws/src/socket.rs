//! One non-blocking connection of either end: what waits to be sent, and what epoll is asked to watch.
//!
//! Small things (handshakes, echoes, control frames) queue in one vector. Bulk is a burst: the same frame over and
//! over, written from a shared pattern, so that the ends copy nothing and the proxy is what costs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::frame::{self, Side};

pub struct Socket {
    stream: TcpStream,
    key: u64,
    watched: EventFlags,
    queued: Vec<u8>,
    queued_sent: usize,
    burst: Option<Burst>,
}

impl Socket {
    /// Takes the connection under the watch of this epoll; `key` comes back with its events.
    pub fn new(stream: TcpStream, watch: &OwnedFd, key: u64) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll::add(watch, stream.as_fd(), EventData::new_u64(key), EventFlags::IN)?;
        let watched = EventFlags::IN;
        Ok(Self { stream, key, watched, queued: Vec::new(), queued_sent: 0, burst: None })
    }

    /// One read; `None` when nothing is there. The end of the stream is an error: nobody here half-closes.
    pub fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.read(scratch) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The queue: what is put here leaves with the next `flush`, before any burst.
    pub fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.queued
    }

    pub fn start(&mut self, burst: Burst) {
        self.burst = Some(burst);
    }

    /// Sends what the socket takes, and watches for room if that was not all.
    pub fn flush(&mut self, watch: &OwnedFd) -> io::Result<()> {
        let blocked = match self.send() {
            Ok(()) => false,
            Err(e) if e.kind() == ErrorKind::WouldBlock => true,
            Err(e) => return Err(e),
        };
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::OUT, blocked);
        // Who does not take its echoes is not listened to either: the queue has a bound.
        wanted.set(EventFlags::IN, self.queued.len() < QUEUED_BYTES_MAX);
        if wanted != self.watched {
            epoll::modify(watch, self.stream.as_fd(), EventData::new_u64(self.key), wanted)?;
            self.watched = wanted;
        }
        Ok(())
    }

    /// Sends all there is, or says `WouldBlock`.
    pub fn send(&mut self) -> io::Result<()> {
        while self.queued_sent < self.queued.len() {
            self.queued_sent += self.stream.write(&self.queued[self.queued_sent..])?;
        }
        self.queued.clear();
        self.queued_sent = 0;
        if self.queued.capacity() > QUEUED_BYTES_KEPT {
            self.queued = Vec::new();
        }
        while let Some(burst) = &mut self.burst {
            burst.sent += self.stream.write(burst.rest())? as u64;
            if burst.sent == burst.total {
                self.burst = None;
            }
        }
        Ok(())
    }
}

/// Whole frames of one size, one after the other.
pub struct Pattern {
    bytes: Vec<u8>,
    frame_bytes: usize,
}

impl Pattern {
    pub fn new(side: Side, payload_bytes: usize) -> Rc<Self> {
        let (mut frame, mut bytes) = (Vec::new(), Vec::new());
        frame::put(&mut frame, side, frame::BINARY, &vec![b'x'; payload_bytes]);
        while bytes.len() < PATTERN_BYTES_MIN {
            bytes.extend_from_slice(&frame);
        }
        Rc::new(Self { bytes, frame_bytes: frame.len() })
    }
}

/// A number of equal frames on their way out.
pub struct Burst {
    pattern: Rc<Pattern>,
    sent: u64,
    total: u64,
}

impl Burst {
    pub fn new(pattern: Rc<Pattern>, frames: u64) -> Self {
        let total = frames * pattern.frame_bytes as u64;
        Self { pattern, sent: 0, total }
    }

    /// What one write can be given: from anywhere in a frame, many frames on.
    fn rest(&self) -> &[u8] {
        let at = (self.sent % self.pattern.frame_bytes as u64) as usize;
        let rest = &self.pattern.bytes[at..];
        &rest[..rest.len().min(usize::try_from(self.total - self.sent).unwrap_or(usize::MAX))]
    }
}

/// A socket's queue this long stops its reading, in bytes.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// A queue that has been longer gives its memory back once empty, in bytes.
const QUEUED_BYTES_KEPT: usize = 4 * 1024;
/// One write of bulk should fill a send buffer, in bytes.
const PATTERN_BYTES_MIN: usize = 512 * 1024;
