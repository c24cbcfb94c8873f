//! One client: handshake, hello, and then question and answer.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use crate::frame::{self, Piece, Side, Splitter};
use crate::handshake;
use crate::plan::Question;
use crate::socket::Socket;

pub struct Tunnel {
    socket: Socket,
    stage: Stage,
    frames: Splitter,
    /// Data frames until the answer is complete.
    awaited: u64,
    /// The payload of a ping that is not complete yet.
    ping: Vec<u8>,
}

enum Stage {
    Handshake(Vec<u8>),
    Hello,
    Open,
}

/// What one turn brought. Nothing is ever in flight but one question, so it brings one thing at most.
#[derive(Clone, Copy)]
pub enum Progress {
    None,
    Opened,
    Answered,
}

impl Tunnel {
    pub fn start(stream: TcpStream, watch: &OwnedFd, key: u64, request: &str) -> io::Result<Self> {
        let mut socket = Socket::new(stream, watch, key)?;
        socket.queue().extend_from_slice(request.as_bytes());
        socket.flush(watch)?;
        let (stage, frames) = (Stage::Handshake(Vec::new()), Splitter::default());
        Ok(Self { socket, stage, frames, awaited: 0, ping: Vec::new() })
    }

    pub fn ask(&mut self, question: &Question, watch: &OwnedFd) -> io::Result<()> {
        self.socket.queue().extend_from_slice(&question.frame);
        if let Some(burst) = question.burst() {
            self.socket.start(burst);
        }
        self.awaited = question.answer_frames;
        self.socket.flush(watch)
    }

    pub fn turn(&mut self, scratch: &mut [u8], watch: &OwnedFd) -> io::Result<Progress> {
        let progress = match self.socket.read(scratch)? {
            Some(bytes) => self.take(&scratch[..bytes])?,
            None => Progress::None,
        };
        self.socket.flush(watch)?;
        Ok(progress)
    }

    fn take(&mut self, mut input: &[u8]) -> io::Result<Progress> {
        if let Stage::Handshake(head) = &mut self.stage {
            head.extend_from_slice(input);
            let Some(end) = handshake::head_bytes(head) else { return Ok(Progress::None) };
            let refused = |status| io::Error::new(ErrorKind::ConnectionRefused, format!("refused: {status}"));
            handshake::check(&String::from_utf8_lossy(&head[..end])).map_err(refused)?;
            input = &input[input.len() - (head.len() - end)..];
            self.stage = Stage::Hello;
            self.awaited = 1;
            frame::put(self.socket.queue(), Side::Client, frame::BINARY, &[b'h'; HELLO_BYTES]);
        }
        let mut progress = Progress::None;
        while let Some(piece) = self.frames.next(&mut input) {
            match piece.header.opcode {
                frame::BINARY | frame::TEXT if piece.is_last() => progress = self.data()?,
                frame::BINARY | frame::TEXT | frame::PONG => {}
                frame::PING => self.pong(&piece),
                _ => return Err(ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(progress)
    }

    /// One data frame is complete.
    fn data(&mut self) -> io::Result<Progress> {
        let unasked = || io::Error::other("a message that nobody asked for");
        self.awaited = self.awaited.checked_sub(1).ok_or_else(unasked)?;
        if self.awaited > 0 {
            return Ok(Progress::None);
        }
        match std::mem::replace(&mut self.stage, Stage::Open) {
            Stage::Open => Ok(Progress::Answered),
            Stage::Handshake(_) | Stage::Hello => Ok(Progress::Opened),
        }
    }

    /// Gateways ping clients that are silent.
    fn pong(&mut self, piece: &Piece) {
        self.ping.extend_from_slice(piece.payload);
        if piece.is_last() {
            frame::put(self.socket.queue(), Side::Client, frame::PONG, &self.ping);
            self.ping.clear();
        }
    }
}

/// The message that every tunnel echoes once, in bytes.
const HELLO_BYTES: usize = 100;
