//! The clients: they open tunnels through a proxy, keep some of them busy for a while, and count what came through.
//!
//! ```text
//!   open all ── {"open": …} ── a line of stdin ── busy for S seconds ── {"messages": …} ── a line of stdin ── end
//!   each says hello once                          closed loop
//! ```
//!
//! Every tunnel has echoed one message before it counts as open: an idle socket of a chat has spoken, too, and a proxy
//! that allocates at the first message shall show it. A busy tunnel asks again when its answer is complete, so nothing
//! is ever in flight but what was asked for, and when the time is over the last answers are awaited.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::frame::{self, Piece, Side, Splitter};
use crate::handshake;
use crate::origin::{EVENTS_MAX, SCRATCH_BYTES, interrupted};
use crate::socket::{Burst, Pattern, Socket};

pub struct Plan {
    pub to: SocketAddr,
    pub path: String,
    pub token: Option<String>,
    pub idle: usize,
    pub busy: usize,
    pub traffic: Traffic,
    pub frame_bytes: usize,
    pub measured: Duration,
    /// Wait for a line of standard input before the measured time, and after it.
    pub stepped: bool,
}

/// What a busy tunnel does.
#[derive(Clone, Copy, PartialEq)]
pub enum Traffic {
    /// A message, and its echo.
    Echo,
    /// Bulk from the origin to the client.
    Down,
    /// Bulk from the client to the origin.
    Up,
}

impl FromStr for Traffic {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "echo" => Ok(Self::Echo),
            "down" => Ok(Self::Down),
            "up" => Ok(Self::Up),
            _ => Err(()),
        }
    }
}

pub fn run(plan: Plan) -> io::Result<()> {
    let mut load = Load::new(plan)?;
    load.open()?;
    if load.plan.stepped {
        println!("{{\"open\": {}}}", load.tunnels.len());
        load.hold()?;
    }
    println!("{}", load.measure()?.json());
    if load.plan.stepped { load.hold() } else { Ok(()) }
}

/// What came through in the measured time. Both messages of an echo count, and the payload of both.
#[derive(Default)]
pub struct Report {
    pub messages: u64,
    pub bytes: u64,
    pub seconds: f64,
}

impl Report {
    fn json(&self) -> String {
        let Self { messages, bytes, seconds } = self;
        format!("{{\"messages\": {messages}, \"bytes\": {bytes}, \"seconds\": {seconds:.3}}}")
    }
}

pub struct Load {
    pub plan: Plan,
    watch: OwnedFd,
    tunnels: Vec<Tunnel>,
    /// Tunnels that are not open yet.
    opening: usize,
    /// Busy tunnels that wait for an answer.
    asking: usize,
    /// What a busy tunnel sends to ask, and what follows it.
    question: Vec<u8>,
    pattern: Option<Rc<Pattern>>,
    hello: Vec<u8>,
    /// When the measured time is over.
    end: Option<Instant>,
    counted: Report,
    stdin: Stdin,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
}

struct Tunnel {
    socket: Socket,
    stage: Stage,
    frames: Splitter,
    /// Frames until the answer is complete.
    awaited: u64,
    /// The payload of a ping that is not complete yet.
    ping: Vec<u8>,
}

enum Stage {
    Handshake(Vec<u8>),
    Hello,
    Open,
}

#[derive(Default)]
struct Stdin {
    lines: VecDeque<()>,
    ended: bool,
}

impl Load {
    pub fn new(plan: Plan) -> io::Result<Self> {
        let watch = epoll::create(CreateFlags::CLOEXEC)?;
        if plan.stepped {
            epoll::add(&watch, io::stdin(), EventData::new_u64(STDIN), EventFlags::IN)?;
        }
        let (mut question, mut hello, mut pattern) = (Vec::new(), Vec::new(), None);
        frame::put(&mut hello, Side::Client, frame::BINARY, &[b'h'; HELLO_BYTES]);
        let frames = frames_per_burst(plan.frame_bytes);
        match plan.traffic {
            Traffic::Echo => {
                frame::put(&mut question, Side::Client, frame::BINARY, &vec![b'x'; plan.frame_bytes]);
            }
            Traffic::Down => {
                let command = format!("send {} {frames}", plan.frame_bytes);
                frame::put(&mut question, Side::Client, frame::TEXT, command.as_bytes());
            }
            Traffic::Up => {
                let command = format!("sink {}", plan.frame_bytes as u64 * frames);
                frame::put(&mut question, Side::Client, frame::TEXT, command.as_bytes());
                pattern = Some(Pattern::new(Side::Client, plan.frame_bytes));
            }
        }
        Ok(Self {
            plan,
            watch,
            tunnels: Vec::new(),
            opening: 0,
            asking: 0,
            question,
            pattern,
            hello,
            end: None,
            counted: Report::default(),
            stdin: Stdin::default(),
            events: Vec::with_capacity(EVENTS_MAX),
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Opens all tunnels, a few at a time: no listener's queue shall overflow.
    pub fn open(&mut self) -> io::Result<()> {
        let all = self.plan.idle + self.plan.busy;
        let request =
            handshake::request(&self.plan.path, &self.plan.to.to_string(), self.plan.token.as_deref());
        let mut since = Instant::now();
        while self.tunnels.len() < all || self.opening > 0 {
            while self.tunnels.len() < all && self.opening < OPENING_MAX {
                let stream = TcpStream::connect_timeout(&self.plan.to, PATIENCE)?;
                let mut socket = Socket::new(stream, &self.watch, self.tunnels.len() as u64)?;
                socket.queue().extend_from_slice(request.as_bytes());
                socket.flush(&self.watch)?;
                let (stage, frames) = (Stage::Handshake(Vec::new()), Splitter::default());
                self.tunnels.push(Tunnel { socket, stage, frames, awaited: 0, ping: Vec::new() });
                self.opening += 1;
            }
            let before = self.opening;
            self.turn()?;
            if self.opening != before {
                since = Instant::now();
            } else if since.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{before} tunnels do not open")));
            }
        }
        Ok(())
    }

    /// Keeps the busy tunnels busy for the measured time, and waits for what was asked last.
    pub fn measure(&mut self) -> io::Result<Report> {
        let start = Instant::now();
        let end = start + self.plan.measured;
        self.end = Some(end);
        for index in 0..self.plan.busy {
            self.ask(index)?;
        }
        while self.asking > 0 || Instant::now() < end {
            self.turn()?;
            if Instant::now() > end + PATIENCE {
                return Err(io::Error::other(format!("{} answers do not come", self.asking)));
            }
        }
        Ok(Report { seconds: start.elapsed().as_secs_f64(), ..std::mem::take(&mut self.counted) })
    }

    /// Nothing but answering pings until there is a line of standard input, or no more of it.
    fn hold(&mut self) -> io::Result<()> {
        let since = Instant::now();
        while self.stdin.lines.pop_front().is_none() && !self.stdin.ended {
            self.turn()?;
            if since.elapsed() > HELD_MAX {
                return Err(io::Error::other("held for too long"));
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        // Both vectors are taken out while the tunnels are served from them.
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK_NS };
        epoll::wait(&self.watch, spare_capacity(&mut events), Some(&tick)).or_else(interrupted)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        for event in &events {
            match event.data.u64() {
                STDIN => self.stdin.read()?,
                index => self.serve(index as usize, &mut scratch).map_err(|e| lost(index, &e))?,
            }
        }
        (self.events, self.scratch) = (events, scratch);
        Ok(())
    }

    fn serve(&mut self, index: usize, scratch: &mut [u8]) -> io::Result<()> {
        if let Some(bytes) = self.tunnels[index].socket.read(scratch)? {
            self.take(index, &scratch[..bytes])?;
        }
        self.tunnels[index].socket.flush(&self.watch)
    }

    fn take(&mut self, index: usize, mut input: &[u8]) -> io::Result<()> {
        let tunnel = &mut self.tunnels[index];
        if let Stage::Handshake(head) = &mut tunnel.stage {
            head.extend_from_slice(input);
            let Some(end) = handshake::head_bytes(head) else { return Ok(()) };
            handshake::check(&String::from_utf8_lossy(&head[..end])).map_err(refused)?;
            input = &input[input.len() - (head.len() - end)..];
            tunnel.stage = Stage::Hello;
            tunnel.awaited = 1;
            tunnel.socket.queue().extend_from_slice(&self.hello);
        }
        while let Some(piece) = self.tunnels[index].frames.next(&mut input) {
            match piece.header.opcode {
                frame::BINARY | frame::TEXT => self.data(index, &piece)?,
                frame::PING => self.tunnels[index].pong(&piece),
                frame::PONG => {}
                _ => return Err(ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(())
    }

    fn data(&mut self, index: usize, piece: &Piece) -> io::Result<()> {
        let tunnel = &mut self.tunnels[index];
        if !piece.is_last() {
            return Ok(());
        }
        tunnel.awaited =
            tunnel.awaited.checked_sub(1).ok_or_else(|| io::Error::other("an answer unasked"))?;
        match tunnel.stage {
            Stage::Open if tunnel.awaited == 0 => self.answered(index),
            Stage::Hello => {
                tunnel.stage = Stage::Open;
                self.opening -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn answered(&mut self, index: usize) -> io::Result<()> {
        let frame_bytes = self.plan.frame_bytes as u64;
        let frames = match self.plan.traffic {
            Traffic::Echo => 2,
            Traffic::Down | Traffic::Up => frames_per_burst(self.plan.frame_bytes),
        };
        self.counted.messages += frames;
        self.counted.bytes += frames * frame_bytes;
        self.asking -= 1;
        if self.end.is_some_and(|end| Instant::now() < end) { self.ask(index) } else { Ok(()) }
    }

    fn ask(&mut self, index: usize) -> io::Result<()> {
        let frames = frames_per_burst(self.plan.frame_bytes);
        let tunnel = &mut self.tunnels[index];
        tunnel.socket.queue().extend_from_slice(&self.question);
        tunnel.awaited = if self.plan.traffic == Traffic::Down { frames } else { 1 };
        if let Some(pattern) = &self.pattern {
            tunnel.socket.start(Burst::new(Rc::clone(pattern), frames));
        }
        self.asking += 1;
        tunnel.socket.flush(&self.watch)
    }
}

impl Tunnel {
    /// Gateways ping clients that are silent.
    fn pong(&mut self, piece: &Piece) {
        self.ping.extend_from_slice(piece.payload);
        if piece.is_last() {
            frame::put(self.socket.queue(), Side::Client, frame::PONG, &self.ping);
            self.ping.clear();
        }
    }
}

impl Stdin {
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64];
        let count = io::stdin().read(&mut bytes)?;
        self.ended |= count == 0;
        self.lines.extend(bytes[..count].iter().filter(|byte| **byte == b'\n').map(|_| ()));
        Ok(())
    }
}

/// Small frames come in bursts, so that asking for them costs nothing beside them.
fn frames_per_burst(frame_bytes: usize) -> u64 {
    (BURST_BYTES / frame_bytes.max(1) as u64).max(1)
}

fn refused(status: String) -> io::Error {
    io::Error::new(ErrorKind::ConnectionRefused, format!("refused: {status}"))
}

fn lost(index: u64, error: &io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::ConnectionRefused => io::Error::other(error.to_string()),
        _ => io::Error::other(format!("tunnel {index} was lost: {error}")),
    }
}

/// No tunnel has this number.
const STDIN: u64 = u64::MAX;
/// The message that every tunnel echoes once, in bytes.
const HELLO_BYTES: usize = 100;
/// Handshakes in flight: below the backlog of any listener on the way.
const OPENING_MAX: usize = 64;
/// One question's worth of bulk, in bytes.
const BURST_BYTES: u64 = 16 * 1024 * 1024;
/// Longer without any progress is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// A load whose driver has died ends by itself.
const HELD_MAX: Duration = Duration::from_secs(600);
/// How often a wait looks at the clock, in nanoseconds.
const TICK_NS: i64 = 20_000_000;
