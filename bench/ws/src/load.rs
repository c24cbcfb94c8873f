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

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::handshake;
use crate::origin::{EVENTS_MAX, SCRATCH_BYTES, interrupted};
use crate::plan::{Plan, Question, Report};
use crate::tunnel::{Progress, Tunnel};

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

pub struct Load {
    plan: Plan,
    question: Question,
    watch: OwnedFd,
    /// The busy ones first.
    tunnels: Vec<Tunnel>,
    /// Tunnels that are not open yet.
    opening: usize,
    /// Busy tunnels that wait for an answer.
    asking: usize,
    /// Answers so far.
    answers: u64,
    /// When the measured time is over.
    end: Option<Instant>,
    stdin: Stdin,
    events: Vec<Event>,
    scratch: Vec<u8>,
}

#[derive(Default)]
struct Stdin {
    /// Lines that nothing has waited for yet.
    lines: usize,
    ended: bool,
}

impl Load {
    pub fn new(plan: Plan) -> io::Result<Self> {
        let watch = epoll::create(CreateFlags::CLOEXEC)?;
        if plan.stepped {
            epoll::add(&watch, io::stdin(), EventData::new_u64(STDIN), EventFlags::IN)?;
        }
        Ok(Self {
            question: Question::new(plan.traffic, plan.frame_bytes),
            plan,
            watch,
            tunnels: Vec::new(),
            opening: 0,
            asking: 0,
            answers: 0,
            end: None,
            stdin: Stdin::default(),
            events: Vec::with_capacity(EVENTS_MAX),
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Opens all tunnels, a few at a time: no listener's queue shall overflow.
    pub fn open(&mut self) -> io::Result<()> {
        let Plan { to, idle, busy, .. } = self.plan;
        let request = handshake::request(&self.plan.path, &to.to_string(), self.plan.token.as_deref());
        let mut since = Instant::now();
        while self.tunnels.len() < idle + busy || self.opening > 0 {
            while self.tunnels.len() < idle + busy && self.opening < OPENING_MAX {
                let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
                let key = self.tunnels.len() as u64;
                self.tunnels.push(Tunnel::start(stream, &self.watch, key, &request)?);
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
        let messages = self.answers * self.question.messages;
        let bytes = messages * self.plan.frame_bytes as u64;
        Ok(Report { messages, bytes, seconds: start.elapsed().as_secs_f64() })
    }

    /// Nothing but answering pings until there is a line of standard input, or no more of it.
    fn hold(&mut self) -> io::Result<()> {
        let since = Instant::now();
        while self.stdin.lines == 0 && !self.stdin.ended {
            self.turn()?;
            if since.elapsed() > HELD_MAX {
                return Err(io::Error::other("held for too long"));
            }
        }
        self.stdin.lines = self.stdin.lines.saturating_sub(1);
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        // Taken out while the tunnels are served from it.
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK_NS };
        epoll::wait(&self.watch, spare_capacity(&mut events), Some(&tick)).or_else(interrupted)?;
        for event in &events {
            match event.data.u64() {
                STDIN => self.stdin.read()?,
                index => self.serve(index as usize).map_err(|e| lost(index, e))?,
            }
        }
        self.events = events;
        Ok(())
    }

    fn serve(&mut self, index: usize) -> io::Result<()> {
        match self.tunnels[index].turn(&mut self.scratch, &self.watch)? {
            Progress::None => Ok(()),
            Progress::Opened => {
                self.opening -= 1;
                Ok(())
            }
            Progress::Answered => {
                self.answers += 1;
                self.asking -= 1;
                if self.end.is_some_and(|end| Instant::now() < end) { self.ask(index) } else { Ok(()) }
            }
        }
    }

    fn ask(&mut self, index: usize) -> io::Result<()> {
        self.asking += 1;
        self.tunnels[index].ask(&self.question, &self.watch)
    }
}

impl Stdin {
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64];
        let count = io::stdin().read(&mut bytes)?;
        self.ended |= count == 0;
        self.lines += bytes[..count].iter().filter(|byte| **byte == b'\n').count();
        Ok(())
    }
}

/// A refusal speaks for itself; anything else is a tunnel that should be there.
fn lost(index: u64, error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::ConnectionRefused => error,
        _ => io::Error::other(format!("tunnel {index} was lost: {error}")),
    }
}

/// No tunnel has this number.
const STDIN: u64 = u64::MAX;
/// Handshakes in flight: below the backlog of any listener on the way.
const OPENING_MAX: usize = 64;
/// Longer without any progress is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// A load whose driver has died ends by itself.
const HELD_MAX: Duration = Duration::from_secs(600);
/// How often a wait looks at the clock, in nanoseconds.
const TICK_NS: i64 = 20_000_000;
