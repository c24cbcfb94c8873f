//! Asking at a fixed rate: an open loop, which knows when each request is due and never waits for an answer first.
//!
//! ```text
//!   due        sent            answered
//!    ├──────────┼─────────────────┤
//!    │          └── uncorrected ──┘      what the client of a closed loop would see
//!    └────────── latency ─────────┘      what a user sees who wanted to ask when it was due
//! ```
//!
//! A request that finds no free connection waits in line. When a proxy stands still the line grows, and all that stand
//! in it count with the time that they have waited: a generator that stops asking while it waits leaves them out (Gil
//! Tene, "How NOT to Measure Latency"). The line is a range of the schedule's numbers and takes no memory; its bound is
//! a time. What is not answered `PATIENCE_NS` after the end of the schedule is an error, and counts in the latency with
//! the time for which it has waited.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags};

use crate::answer::Answered;
use crate::connection::{Connection, Lost, Progress};
use crate::events::Events;
use crate::plan::Plan;
use crate::report::Report;
use crate::schedule::Schedule;

pub fn run(plan: &Plan) -> io::Result<()> {
    let report = Load::open(plan)?.measure()?;
    report.losses().for_each(|line| eprintln!("{line}"));
    println!("{}", report.json());
    Ok(())
}

pub struct Load<'p> {
    plan: &'p Plan,
    schedule: Schedule,
    report: Report,
    watch: OwnedFd,
    places: Vec<Place>,
    /// Places whose connection may be asked. Who has rested longest is next, so that all of them take part.
    free: VecDeque<usize>,
    /// Places without a connection, and when to open one, soonest first.
    vacant: VecDeque<(u64, usize)>,
    /// The next request: what is due from here on stands in line.
    next: u64,
    /// All times below are nanoseconds since then.
    start: Instant,
    events: Events,
    scratch: Vec<u8>,
}

/// Where there is one connection after the other.
struct Place {
    connection: Option<Connection>,
    /// Since when it has been free.
    free_ns: u64,
    /// The request that is under way.
    index: u64,
    sent_ns: u64,
}

impl<'p> Load<'p> {
    /// Opens all connections. Errors: no epoll, or one of them does not open.
    pub fn open(plan: &'p Plan) -> io::Result<Self> {
        // Else the kernel may end every wait 50 µs late (prctl(2), PR_SET_TIMERSLACK).
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let mut load = Self {
            plan,
            schedule: Schedule::new(plan),
            report: Report::new(plan),
            watch: epoll::create(CreateFlags::CLOEXEC)?,
            places: Vec::new(),
            free: VecDeque::new(),
            vacant: VecDeque::new(),
            next: 0,
            start: Instant::now(),
            events: Events::default(),
            scratch: vec![0; SCRATCH_BYTES],
        };
        for place in 0..plan.connections {
            load.places.push(Place { connection: None, free_ns: 0, index: 0, sent_ns: 0 });
            load.fill(place);
        }
        while load.free.len() < plan.connections {
            load.turn(PATIENCE_NS)?;
            if !load.vacant.is_empty() || load.now_ns() > PATIENCE_NS {
                let lost: Vec<_> = load.report.losses().collect();
                return Err(io::Error::other(format!("the connections do not open: {}", lost.join(", "))));
            }
        }
        Ok(load)
    }

    /// To the end of the schedule, and until all is answered.
    pub fn measure(mut self) -> io::Result<Report> {
        self.start = Instant::now();
        self.places.iter_mut().for_each(|place| place.free_ns = 0);
        loop {
            self.ask_what_is_due();
            self.fill_vacant();
            let (now_ns, over_ns) = (self.now_ns(), self.over_ns());
            if now_ns >= over_ns {
                break;
            }
            let left_ns = self.wake_ns().min(over_ns).saturating_sub(now_ns);
            if left_ns < WAKING_NS {
                // The origin may have the CPU first: it shall not be slower for our sake.
                rustix::thread::sched_yield();
            }
            self.turn(left_ns.saturating_sub(WAKING_NS))?;
        }
        self.give_up();
        self.report.measured = Duration::from_nanos(self.now_ns() - self.schedule.measured_ns());
        Ok(self.report)
    }

    fn ask_what_is_due(&mut self) {
        while self.next < self.schedule.total && self.schedule.due_ns(self.next) <= self.now_ns() {
            let Some(place) = self.free.pop_front() else { return };
            let (index, sent_ns) = (self.next, self.now_ns());
            self.next += 1;
            let asked = &mut self.places[place];
            (asked.index, asked.sent_ns) = (index, sent_ns);
            if self.schedule.is_measured(index) {
                // Both the request and the connection were there by then: the rest is ours.
                self.report.was_late(sent_ns - self.schedule.due_ns(index).max(asked.free_ns));
            }
            let connection = asked.connection.as_mut().expect("a free place has a connection");
            if let Err(lost) = connection.ask(&self.plan.request.bytes) {
                self.lose(place, lost);
            }
        }
    }

    /// When the next thing is to be done that no event tells of.
    fn wake_ns(&self) -> u64 {
        let may_ask = self.next < self.schedule.total && !self.free.is_empty();
        let due_ns = if may_ask { self.schedule.due_ns(self.next) } else { u64::MAX };
        self.vacant.front().map_or(due_ns, |(open_ns, _)| due_ns.min(*open_ns))
    }

    /// When nothing more is waited for.
    fn over_ns(&self) -> u64 {
        let is_under_way = |place: &Place| place.connection.as_ref().is_some_and(Connection::is_asked);
        let is_answered = self.next == self.schedule.total && !self.places.iter().any(is_under_way);
        self.schedule.end_ns() + if is_answered { 0 } else { PATIENCE_NS }
    }

    fn turn(&mut self, wait_ns: u64) -> io::Result<()> {
        // Taken out while the connections are served from it.
        let mut events = std::mem::take(&mut self.events);
        for event in events.wait(&self.watch, wait_ns)? {
            self.serve(event.data.u64() as usize);
        }
        self.events = events;
        Ok(())
    }

    fn serve(&mut self, place: usize) {
        let Some(connection) = &mut self.places[place].connection else { return };
        match connection.turn(&mut self.scratch, &self.watch) {
            Ok(Progress::None) => {}
            Ok(Progress::Opened) => self.set_free(place, self.now_ns()),
            Ok(Progress::Answered(answered)) => self.take_answer(place, answered),
            Err(lost) => self.lose(place, lost),
        }
    }

    fn take_answer(&mut self, place: usize, answered: Answered) {
        let now_ns = self.now_ns();
        let Place { index, sent_ns, .. } = self.places[place];
        if self.schedule.is_measured(index) {
            let due_ns = self.schedule.due_ns(index);
            self.report.answered(answered.status, now_ns - due_ns, now_ns - sent_ns);
        }
        if answered.keep_alive {
            self.set_free(place, now_ns);
        } else {
            self.places[place].connection = None;
            self.vacant.push_front((now_ns, place));
        }
    }

    fn set_free(&mut self, place: usize, now_ns: u64) {
        self.places[place].free_ns = now_ns;
        self.free.push_back(place);
    }

    /// The connection has ended, and the request on it, if there was one, has no answer. In the warm-up it counts, too:
    /// what breaks there has not been warmed up.
    fn lose(&mut self, place: usize, lost: Lost) {
        self.report.lost(lost);
        self.places[place].connection = None;
        self.free.retain(|free| *free != place);
        self.vacant.push_back((self.now_ns() + REOPEN_NS, place));
    }

    fn fill_vacant(&mut self) {
        while let Some(&(open_ns, place)) = self.vacant.front()
            && open_ns <= self.now_ns()
        {
            self.vacant.pop_front();
            self.fill(place);
        }
    }

    fn fill(&mut self, place: usize) {
        match Connection::open(self.plan.request.to, &self.watch, place as u64) {
            Ok(connection) => self.places[place].connection = Some(connection),
            Err(error) => self.lose(place, Lost::Refused(error.kind())),
        }
    }

    /// What is under way or in line has waited in vain.
    fn give_up(&mut self) {
        let now_ns = self.now_ns();
        let asked =
            self.places.iter().filter(|place| place.connection.as_ref().is_some_and(Connection::is_asked));
        let in_line = self.next..self.schedule.total;
        for index in asked.map(|place| place.index).chain(in_line) {
            if self.schedule.is_measured(index) {
                self.report.unanswered(now_ns - self.schedule.due_ns(index));
            }
        }
    }

    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// How long after the end of the schedule an answer is waited for, and for all connections to open, in nanoseconds.
const PATIENCE_NS: u64 = 5_000_000_000;
/// So long before something is due there is no sleep any more, in nanoseconds: waking up takes 20 to 45 µs here.
const WAKING_NS: u64 = 50_000;
/// A connection that was lost is opened anew so much later, in nanoseconds: a proxy that is gone is not flooded.
const REOPEN_NS: u64 = 10_000_000;
/// One read, in bytes: large answers shall cost few of them.
pub const SCRATCH_BYTES: usize = 256 * 1024;
