//! Connections that have had one answer and then do nothing, for measuring what each of them takes.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::answer::Answered;
use crate::connection::{Connection, Lost, Progress};
use crate::events::Events;
use crate::load::SCRATCH_BYTES;
use crate::plan::Hold;

pub fn run(plan: &Hold) -> io::Result<()> {
    raise_open_files();
    let mut held = Held::open(plan)?;
    println!("{}", held.json());
    if plan.stepped {
        held.hold()?;
        println!("{}", held.json());
    }
    Ok(())
}

pub struct Held<'p> {
    plan: &'p Hold,
    watch: OwnedFd,
    /// `None`: it was closed by the other side.
    connections: Vec<Option<Connection>>,
    answered: usize,
    is_over: bool,
    events: Events,
    scratch: Vec<u8>,
}

impl<'p> Held<'p> {
    /// Opens all of them, a few at a time: no listener's queue shall overflow. Errors: one does not open, or has no
    /// answer after which it stays.
    pub fn open(plan: &'p Hold) -> io::Result<Self> {
        let watch = epoll::create(CreateFlags::CLOEXEC)?;
        let (connections, events, scratch) = (Vec::new(), Events::default(), vec![0; SCRATCH_BYTES]);
        let mut held = Self { plan, watch, connections, answered: 0, is_over: false, events, scratch };
        let mut since = Instant::now();
        while held.answered < plan.connections {
            while held.connections.len() < plan.connections.min(held.answered + OPENING_MAX) {
                let key = held.connections.len() as u64;
                held.connections.push(Some(Connection::open(plan.request.to, &held.watch, key)?));
            }
            let before = held.answered;
            held.turn()?;
            if held.answered > before {
                since = Instant::now();
            } else if since.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("{before} of {} connections opened", plan.connections)));
            }
        }
        Ok(held)
    }

    /// Until there is a line of standard input, or no more of it.
    fn hold(&mut self) -> io::Result<()> {
        epoll::add(&self.watch, io::stdin(), EventData::new_u64(STDIN), EventFlags::IN)?;
        let since = Instant::now();
        while !self.is_over {
            self.turn()?;
            if since.elapsed() > HELD_MAX {
                return Err(io::Error::other("held for too long"));
            }
        }
        Ok(())
    }

    pub fn turn(&mut self) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        for event in events.wait(&self.watch, TICK_NS)? {
            match event.data.u64() {
                STDIN => self.is_over |= is_line_or_end()?,
                index => self.serve(index as usize)?,
            }
        }
        self.events = events;
        Ok(())
    }

    fn serve(&mut self, index: usize) -> io::Result<()> {
        let Some(connection) = &mut self.connections[index] else { return Ok(()) };
        match connection.turn(&mut self.scratch, &self.watch) {
            Ok(Progress::None) => Ok(()),
            Ok(Progress::Opened) => {
                connection.ask(&self.plan.request.bytes).map_err(|lost| told(index, lost))
            }
            Ok(Progress::Answered(Answered { status: 200, keep_alive: true })) => {
                self.answered += 1;
                Ok(())
            }
            Ok(Progress::Answered(answered)) => Err(told(index, answered)),
            Err(lost) if connection.is_asked() || matches!(lost, Lost::Refused(_)) => Err(told(index, lost)),
            Err(_) => {
                self.connections[index] = None;
                Ok(())
            }
        }
    }

    pub fn json(&self) -> String {
        format!("{{\"open\": {}}}", self.connections.iter().flatten().count())
    }
}

/// Raises the soft limit of open files to the hard one. Where that fails, opening says so.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn is_line_or_end() -> io::Result<bool> {
    let mut bytes = [0; 64];
    let count = io::stdin().read(&mut bytes)?;
    Ok(count == 0 || bytes[..count].contains(&b'\n'))
}

fn told(index: usize, what: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("connection {index}: {what:?}"))
}

/// No connection has this number.
const STDIN: u64 = u64::MAX;
/// Connections that have had no answer yet: below the backlog of any listener.
const OPENING_MAX: usize = 64;
/// Longer without any progress is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who was forgotten ends after so long.
const HELD_MAX: Duration = Duration::from_secs(3600);
const TICK_NS: u64 = 100_000_000;
