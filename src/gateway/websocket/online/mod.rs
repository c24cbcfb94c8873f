//! What Redis is told of a core's WebSockets: which there are, of whom, and what becomes of them.
//!
//! ```text
//!  handshake ── enter ──▶ ┌─────────┐  renewed in a third of the lease   {rc:u:<user>}  sorted set: socket → lease end
//!  tunnel    ── begin ──▶ │ ledger  │ ────────── attendance.lua ───────▶
//!            ── leave ──▶ ├─────────┤
//!                         │ outbox  │ ──────────── events.lua ─────────▶ {rc}:events   stream
//!                         └─────────┘  64 at a time, some calls per tick  {rc}:online   sorted set: user → lease end
//! ```
//!
//! Nothing here waits for Redis but a handshake under a bound over all instances, for as long as one call may take.
//! Everything else is noted and told by a task of the core, which the ticker begins when there is something to tell.
//! When an instance dies its sockets lapse with their leases; when Redis loses everything, it knows all of them again
//! after a third of the lease.

mod attend;
pub mod attendance;
pub mod event;
mod instance;
pub mod ledger;
mod metrics;
pub mod outbox;
pub mod socket_id;
mod task;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

pub use self::attend::{Arrival, Full, arrive};
pub use self::attendance::Attendance;
use self::event::{Event, EventKind, Reason};
pub use self::instance::Instance;
use self::ledger::Ledger;
pub use self::metrics::OnlineMetrics;
use self::outbox::Outbox;
pub use self::socket_id::SocketId;
pub use self::task::{finish, tick};
use super::leashes::{Order, Pull};
use super::tunnel::Farewell;
use crate::clock;
use crate::config;
use crate::limits::LEAVES_QUEUED_MAX;
use crate::telemetry::TunnelEnd;
use crate::ws::code;

/// The sockets of one core as Redis knows them. It outlives every configuration.
pub struct Online {
    instance: Arc<Instance>,
    core: usize,
    settings: RefCell<Rc<config::Online>>,
    next_number: Cell<u64>,
    ledger: RefCell<Ledger<Option<Pull>>>,
    outbox: RefCell<Outbox>,
    /// Sockets that have closed and still have their places in Redis.
    leaves: RefCell<VecDeque<Leave>>,
    /// The task is under way.
    is_busy: Cell<bool>,
    /// Redis is left alone until then.
    rests_until_ms: Cell<u64>,
    /// When the set of those online was looked through.
    swept_ms: Cell<u64>,
    /// When the log was told of what Redis refuses.
    told_ms: Cell<Option<u64>>,
    metrics: Arc<OnlineMetrics>,
}

/// A socket that gives its place back.
#[derive(Debug, Clone)]
struct Leave {
    id: SocketId,
    user: Rc<str>,
    reason: Reason,
}

/// Evidence that this core renews the lease of a tunnel. Dropped without a word, the tunnel goes on in another process,
/// or this one ends: the lease will tell.
pub struct Attending {
    online: Rc<Online>,
    id: SocketId,
}

impl Online {
    /// Of one core. Nothing is told before there are settings.
    pub fn new(instance: Arc<Instance>, core: usize, metrics: Arc<OnlineMetrics>) -> Online {
        Online {
            instance,
            core,
            settings: RefCell::new(Rc::new(config::Online::off())),
            next_number: Cell::new(0),
            ledger: RefCell::default(),
            outbox: RefCell::default(),
            leaves: RefCell::default(),
            is_busy: Cell::new(false),
            rests_until_ms: Cell::new(0),
            swept_ms: Cell::new(0),
            told_ms: Cell::new(None),
            metrics,
        }
    }

    /// From now on these settings hold. What was told under others and is wanted no more is forgotten.
    pub fn configure(&self, settings: &config::Online) {
        if settings.events.is_none() {
            self.outbox.borrow_mut().clear();
        }
        if !settings.is_on() {
            self.leaves.borrow_mut().clear();
            self.ledger.borrow_mut().forget_leases();
        }
        *self.settings.borrow_mut() = Rc::new(settings.clone());
    }

    fn settings(&self) -> Rc<config::Online> {
        self.settings.borrow().clone()
    }

    /// The name of one more socket.
    fn next_id(&self) -> SocketId {
        let number = self.next_number.replace(self.next_number.get() + 1);
        let opened_ms = clock::unix_us() / 1_000;
        SocketId { opened_ms, instance: self.instance.number, core: self.core as u32, number }
    }

    /// A tunnel begins, here or on another core.
    pub fn opened(&self, attendance: &Attendance) {
        let Attendance { id, user, route, .. } = attendance;
        self.tell(Event {
            kind: EventKind::Open,
            user: user.as_deref().map(Rc::from),
            socket: Some(*id),
            route: Some(Rc::from(&**route)),
            reason: Reason::None,
            at_us: clock::unix_us(),
        });
    }

    /// A tunnel goes on on this core, which renews its lease from now on. `pull`: by what it is told to end.
    pub fn keep(self: &Rc<Online>, attendance: &Attendance, pull: Option<Pull>) -> Attending {
        let Attendance { id, user, route, is_entered } = attendance;
        let now_ms = clock::now_ms();
        let due_ms = if *is_entered { now_ms + self.lease_ms() / 4 } else { now_ms };
        let whose = (user.as_deref().map(Rc::from), Rc::from(&**route));
        self.ledger.borrow_mut().enter(*id, whose, pull, due_ms);
        Attending { online: self.clone(), id: *id }
    }

    fn leave(&self, id: SocketId, reason: Reason) {
        let Some(entry) = self.ledger.borrow_mut().leave(&id) else { return };
        self.tell(Event {
            kind: EventKind::Close,
            user: entry.user.clone(),
            socket: Some(id),
            route: Some(entry.route),
            reason,
            at_us: clock::unix_us(),
        });
        if let Some(user) = entry.user {
            self.give_back(Leave { id, user, reason });
        }
    }

    /// A place in Redis is free. Where too many wait, its lease ends by itself.
    fn give_back(&self, leave: Leave) {
        let mut leaves = self.leaves.borrow_mut();
        if self.settings.borrow().is_on() && leaves.len() < LEAVES_QUEUED_MAX {
            leaves.push_back(leave);
        }
    }

    /// Notes an event, if anybody wants events.
    fn tell(&self, event: Event) {
        if self.settings.borrow().events.is_none() {
            return;
        }
        let is_seen = event.kind == EventKind::Seen;
        if !self.outbox.borrow_mut().push(event) && !is_seen {
            self.metrics.events_dropped.add(1);
        }
    }

    /// A user has a first socket, still has one, or has none any more, at this time of Redis' clock.
    fn tell_presence(&self, kind: EventKind, user: &Rc<str>, reason: Reason, at_us: u64) {
        self.tell(Event { kind, user: Some(user.clone()), socket: None, route: None, reason, at_us });
    }

    /// A socket has lost its place to a newer one: it ends, if it is one of this core's.
    fn end_replaced(&self, id: &SocketId) {
        let ledger = self.ledger.borrow();
        let Some(pull) = ledger.get(id).and_then(|entry| entry.leash.as_ref()) else { return };
        if let Some(farewell) = Farewell::new(code::REPLACED, "replaced") {
            pull.end(&Order { end: TunnelEnd::Replaced, farewell: farewell.into() });
        }
    }

    fn lease_ms(&self) -> u64 {
        self.settings.borrow().lease.as_millis() as u64
    }
}

impl Attending {
    /// The tunnel has ended, for this reason.
    pub fn end(self, reason: TunnelEnd) {
        self.online.leave(self.id, Reason::Word(reason.text()));
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        self.online.ledger.borrow_mut().leave(&self.id);
    }
}

/// The script of [`attend`] and [`task`], behind that of the rate limiter.
const ATTENDANCE: usize = 1;
/// The script of events.
const EVENTS: usize = 2;
/// Their texts.
pub const SCRIPTS: [&str; 2] = [include_str!("attendance.lua"), include_str!("events.lua")];
