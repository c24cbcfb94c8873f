//! The origin: a WebSocket server that accepts every handshake and does what frames tell it.
//!
//! | frame | what it does |
//! |---|---|
//! | binary | echoed |
//! | text `send BYTES FRAMES` | so many binary frames of so many bytes come back |
//! | text `sink BYTES` | the next so many bytes of binary payload are swallowed, then the text `sunk` comes back |
//! | ping, close | answered |
//!
//! No frame: an idle socket, which costs nothing.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::frame::{self, Piece, Side, Splitter};
use crate::handshake::{self, Answer};
use crate::socket::{Burst, Pattern, Socket};

/// Serves until its lifetime is over: a benchmark that dies leaves nothing behind for long.
pub fn run(listen: SocketAddr, lifetime: Duration) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let watch = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&watch, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut origin = Origin {
        listener,
        watch,
        peers: HashMap::new(),
        next_key: LISTENER + 1,
        patterns: HashMap::new(),
        scratch: vec![0; SCRATCH_BYTES],
    };
    let (end, mut events) = (Instant::now() + lifetime, Vec::with_capacity(EVENTS_MAX));
    while Instant::now() < end {
        events.clear();
        let tick = Timespec { tv_sec: 1, tv_nsec: 0 };
        epoll::wait(&origin.watch, spare_capacity(&mut events), Some(&tick)).or_else(interrupted)?;
        for event in &events {
            match event.data.u64() {
                LISTENER => origin.accept()?,
                key => origin.serve(key),
            }
        }
    }
    Ok(())
}

struct Origin {
    listener: TcpListener,
    watch: OwnedFd,
    peers: HashMap<u64, Peer>,
    next_key: u64,
    /// Bulk frames by the bytes of their payload.
    patterns: HashMap<usize, Rc<Pattern>>,
    scratch: Vec<u8>,
}

struct Peer {
    socket: Socket,
    stage: Stage,
    /// The payload of a text frame that is not complete yet.
    words: Vec<u8>,
    sink_bytes: u64,
}

enum Stage {
    Handshake(Vec<u8>),
    Open(Splitter),
}

impl Origin {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            };
            let socket = Socket::new(stream, &self.watch, self.next_key)?;
            let stage = Stage::Handshake(Vec::new());
            self.peers.insert(self.next_key, Peer { socket, stage, words: Vec::new(), sink_bytes: 0 });
            self.next_key += 1;
        }
    }

    /// One turn of one peer; a peer that leaves or breaks the rules is dropped.
    fn serve(&mut self, key: u64) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let turn =
            peer.read(&mut self.scratch, &mut self.patterns).and_then(|()| peer.socket.flush(&self.watch));
        if turn.is_err() {
            self.peers.remove(&key);
        }
    }
}

impl Peer {
    fn read(&mut self, scratch: &mut [u8], patterns: &mut HashMap<usize, Rc<Pattern>>) -> io::Result<()> {
        let Some(bytes) = self.socket.read(scratch)? else { return Ok(()) };
        let mut input = &scratch[..bytes];
        if let Stage::Handshake(head) = &mut self.stage {
            head.extend_from_slice(input);
            let Some(end) = handshake::head_bytes(head) else { return bounded(head) };
            let (answer, kind) = handshake::answer(&String::from_utf8_lossy(&head[..end]));
            self.socket.queue().extend_from_slice(answer.as_bytes());
            if kind == Answer::Plain {
                // It closes when it has read the answer, or asks again.
                head.clear();
                return Ok(());
            }
            // What is behind the head came with this read.
            input = &input[input.len() - (head.len() - end)..];
            self.stage = Stage::Open(Splitter::default());
        }
        self.take(input, patterns)
    }

    fn take(&mut self, mut input: &[u8], patterns: &mut HashMap<usize, Rc<Pattern>>) -> io::Result<()> {
        loop {
            let Stage::Open(frames) = &mut self.stage else { return Ok(()) };
            let Some(piece) = frames.next(&mut input) else { return Ok(()) };
            match piece.header.opcode {
                frame::BINARY if self.sink_bytes > 0 => self.swallow(&piece),
                frame::BINARY => self.echo(&piece, frame::BINARY),
                frame::TEXT => self.command(&piece, patterns)?,
                frame::PING => self.echo(&piece, frame::PONG),
                frame::PONG => {}
                _ => return self.close(),
            }
        }
    }

    fn echo(&mut self, piece: &Piece, opcode: u8) {
        let queue = self.socket.queue();
        if piece.is_first() {
            frame::put_header(queue, Side::Server, opcode, piece.header.payload_bytes as usize);
        }
        unmask_onto(queue, piece);
    }

    fn swallow(&mut self, piece: &Piece) {
        self.sink_bytes = self.sink_bytes.saturating_sub(piece.payload.len() as u64);
        if self.sink_bytes == 0 {
            frame::put(self.socket.queue(), Side::Server, frame::TEXT, b"sunk");
        }
    }

    /// Answers a Close as far as the socket takes it at once, and ends the connection.
    fn close(&mut self) -> io::Result<()> {
        frame::put(self.socket.queue(), Side::Server, frame::CLOSE, &CLOSE_NORMAL.to_be_bytes());
        self.socket.send()?;
        Err(ErrorKind::ConnectionAborted.into())
    }

    fn command(&mut self, piece: &Piece, patterns: &mut HashMap<usize, Rc<Pattern>>) -> io::Result<()> {
        unmask_onto(&mut self.words, piece);
        if !piece.is_last() {
            return bounded(&self.words);
        }
        let text = String::from_utf8(std::mem::take(&mut self.words)).map_err(io::Error::other)?;
        let mut words = text.split(' ');
        let (verb, mut numbers) = (words.next(), words.map_while(|word| word.parse::<u64>().ok()));
        match (verb, numbers.next(), numbers.next()) {
            (Some("send"), Some(bytes @ 1..=FRAME_BYTES_MAX), Some(frames @ 1..)) => {
                let bytes = bytes as usize;
                let pattern = patterns.entry(bytes).or_insert_with(|| Pattern::new(Side::Server, bytes));
                self.socket.start(Burst::new(Rc::clone(pattern), frames));
            }
            (Some("sink"), Some(bytes), None) => self.sink_bytes = bytes,
            _ => return Err(io::Error::other("an unknown command")),
        }
        Ok(())
    }
}

fn unmask_onto(out: &mut Vec<u8>, piece: &Piece) {
    let start = out.len();
    out.extend_from_slice(piece.payload);
    if let Some(mask) = piece.header.mask {
        frame::apply_mask(&mut out[start..], mask, piece.offset);
    }
}

fn bounded(collected: &[u8]) -> io::Result<()> {
    match collected.len() {
        0..=handshake::HEAD_BYTES_MAX => Ok(()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// A signal that ends nothing is no reason to end.
pub fn interrupted(error: rustix::io::Errno) -> rustix::io::Result<usize> {
    if error == rustix::io::Errno::INTR { Ok(0) } else { Err(error) }
}

const LISTENER: u64 = 0;
const CLOSE_NORMAL: u16 = 1000;
/// A frame that is asked for, in bytes.
const FRAME_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// One read takes what a receive buffer may hold, so that the ends are cheap, in bytes.
pub const SCRATCH_BYTES: usize = 256 * 1024;
pub const EVENTS_MAX: usize = 1024;
