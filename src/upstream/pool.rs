//! Idle connections of one core to one upstream: kept by member, the one used last first, bounded, and checked before
//! they are lent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use tracing::warn;

use super::balance::Random;
use super::member::Member;
use super::metrics::UpstreamMetrics;
use super::quota::{Idlers, Opened};
use crate::clock;
use crate::net::{Liveness, NEVER, Transport};

/// A connection and the member that it leads to.
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) member: Rc<Member>,
    /// Exchanges that it has carried.
    exchanges: u32,
    /// When it has been open for long enough.
    ends_ms: u64,
    /// For how long it may be idle, as the service has said, in milliseconds.
    announced_ms: Cell<u64>,
    _opened: Opened,
}

/// What bounds the idle connections of an upstream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PoolBounds {
    /// How many.
    pub(super) idle: usize,
    /// How long one may be idle.
    pub(super) keep_alive_ms: u64,
    /// How long one is used, about. 0: as long as it lasts.
    pub(super) age_ms: u64,
    /// How many exchanges one carries. 0: any number.
    pub(super) exchanges: u32,
}

/// The idle connections of an upstream, each on the shelf of its member.
pub(super) struct Pool {
    /// In the order of the members.
    shelves: RefCell<Vec<Shelf>>,
    idle: Cell<usize>,
    bounds: Cell<PoolBounds>,
    random: Random,
    upstream: Box<str>,
    /// When a surplus answer was last logged.
    warned_ms: Cell<Option<u64>>,
    metrics: Arc<UpstreamMetrics>,
}

/// The idle connections of one member, oldest first.
struct Shelf {
    member: Rc<Member>,
    idle: Vec<Idle>,
}

/// A connection that waits for the next request.
struct Idle {
    connection: Box<Connection>,
    since_ms: u64,
}

impl Connection {
    /// The service has said how long it keeps the connection open. The last word counts.
    pub(super) fn announce(&self, idle_ms: u64) {
        self.announced_ms.set(idle_ms);
    }
}

impl Idle {
    fn is_usable(&self, now_ms: u64, bounds: &PoolBounds) -> bool {
        let keep_alive_ms = bounds.keep_alive_ms.min(self.connection.announced_ms.get());
        now_ms.saturating_sub(self.since_ms) < keep_alive_ms && now_ms < self.connection.ends_ms
    }

    /// Whether the connection is open, and nothing has arrived: bytes on an idle connection answer nothing that was
    /// asked, and the next request would take them for its answer. The look is a system call, some 1.5 % of a small
    /// request. Left out for a moment after the last exchange, it let a surplus answer that came a moment late reach
    /// another client every time. One that comes even later cannot be told from an answer: HTTP/1.1 has no way to.
    fn liveness(&self) -> Liveness {
        let transport = &self.connection.transport;
        match transport.liveness() {
            // What it is cannot be told yet: perhaps the beginning of an answer.
            Liveness::Quiet if transport.has_part() => Liveness::Closed,
            seen => seen,
        }
    }
}

impl Pool {
    pub(super) fn new(upstream: &str, random: Random, metrics: Arc<UpstreamMetrics>) -> Pool {
        Pool {
            shelves: RefCell::default(),
            idle: Cell::new(0),
            bounds: Cell::default(),
            random,
            upstream: upstream.into(),
            warned_ms: Cell::new(None),
            metrics,
        }
    }

    /// Other bounds from now on. What is over them goes with the next sweep.
    pub(super) fn adjust(&self, bounds: PoolBounds) {
        self.bounds.set(bounds);
    }

    /// The members from now on. Those that are gone lose their idle connections at once.
    pub(super) fn replace_members(&self, members: &[Rc<Member>]) {
        let mut before = self.shelves.take();
        let shelf = |(place, member): (usize, &Rc<Member>)| {
            member.put_at(place);
            let known = before.iter_mut().find(|shelf| Rc::ptr_eq(&shelf.member, member));
            let idle = known.map_or_else(Vec::new, |shelf| std::mem::take(&mut shelf.idle));
            Shelf { member: member.clone(), idle }
        };
        let shelves = members.iter().enumerate().map(shelf).collect();
        self.shelves.replace(shelves);
        before.iter_mut().for_each(|shelf| self.close_all(shelf));
    }

    /// A connection that was just opened.
    pub(super) fn connection(
        &self,
        transport: Transport,
        member: Rc<Member>,
        opened: Opened,
    ) -> Box<Connection> {
        let age_ms = self.bounds.get().age_ms;
        let ends_ms = match age_ms {
            0 => NEVER,
            // Connections that were opened together should not end together.
            _ => clock::now_ms() + age_ms - age_ms / 10 + self.random.below(age_ms / 5 + 1),
        };
        Box::new(Connection {
            transport,
            member,
            exchanges: 0,
            ends_ms,
            announced_ms: Cell::new(NEVER),
            _opened: opened,
        })
    }

    /// The connection to a member used last that is still open and has said nothing since.
    pub(super) fn take(&self, member: &Member, now_ms: u64) -> Option<Box<Connection>> {
        loop {
            let idle = self.shelves.borrow_mut().get_mut(member.place())?.idle.pop()?;
            self.count_closed(member, 1);
            match idle.liveness() {
                Liveness::Quiet if idle.is_usable(now_ms, &self.bounds.get()) => {
                    return Some(idle.connection);
                }
                Liveness::Bytes => self.distrust(),
                // Some servers say 408 before they close an idle connection.
                Liveness::Quiet | Liveness::Ended | Liveness::HalfClosed | Liveness::Closed => {}
            }
        }
    }

    /// The upstream has sent more than one answer to a request. What it has done once it may do again at any time:
    /// every idle connection is closed, since another surplus answer may be on its way.
    pub(super) fn distrust(&self) {
        self.metrics.surplus_answers.add(1);
        self.clear();
        let now_ms = clock::now_ms();
        if self.warned_ms.get().is_none_or(|warned_ms| now_ms - warned_ms >= WARNING_INTERVAL_MS) {
            self.warned_ms.set(Some(now_ms));
            let upstream = &*self.upstream;
            warn!(
                upstream,
                "the upstream sends more than it was asked for; connection_reuse = false protects clients"
            );
        }
    }

    /// Keeps a connection for the next lease, unless its member was withdrawn or it has done enough. At the bound the
    /// oldest one of the member with the most is closed.
    pub(super) fn put(&self, mut connection: Box<Connection>) {
        let bounds = self.bounds.get();
        connection.exchanges = connection.exchanges.saturating_add(1);
        let is_ending = connection.announced_ms.get() == 0;
        let is_spent = bounds.exchanges > 0 && connection.exchanges >= bounds.exchanges;
        if bounds.idle == 0 || is_spent || is_ending || connection.member.is_withdrawn() {
            return;
        }
        connection.transport.park();
        if self.idle.get() >= bounds.idle {
            self.close_oldest();
        }
        let mut shelves = self.shelves.borrow_mut();
        let Some(shelf) = shelves.get_mut(connection.member.place()) else { return };
        shelf.idle.push(Idle { connection, since_ms: clock::now_ms() });
        self.idle.set(self.idle.get() + 1);
        self.metrics.idle.add(1);
        shelf.member.seen().idle.add(1);
    }

    /// Closes what is too old, too many, or was closed by the upstream.
    pub(super) fn sweep(&self, now_ms: u64) {
        let bounds = self.bounds.get();
        while self.idle.get() > bounds.idle && self.close_oldest() {}
        let mut has_surplus = false;
        for shelf in self.shelves.borrow_mut().iter_mut() {
            let before = shelf.idle.len();
            shelf.idle.retain(|idle| {
                let liveness = idle.liveness();
                has_surplus |= liveness == Liveness::Bytes;
                liveness == Liveness::Quiet && idle.is_usable(now_ms, &bounds)
            });
            self.count_closed(&shelf.member, before - shelf.idle.len());
        }
        if has_surplus {
            self.distrust();
        }
    }

    pub(super) fn clear(&self) {
        self.shelves.borrow_mut().iter_mut().for_each(|shelf| self.close_all(shelf));
    }

    fn close_all(&self, shelf: &mut Shelf) {
        let closed = shelf.idle.drain(..).count();
        self.count_closed(&shelf.member, closed);
    }

    fn count_closed(&self, member: &Member, closed: usize) {
        self.idle.set(self.idle.get() - closed);
        self.metrics.idle.subtract(closed as u64);
        member.seen().idle.subtract(closed as u64);
    }
}

impl Idlers for Pool {
    fn idle(&self) -> usize {
        self.idle.get()
    }

    /// That of the member with the most.
    fn close_oldest(&self) -> bool {
        let mut shelves = self.shelves.borrow_mut();
        let fullest = shelves.iter_mut().max_by_key(|shelf| shelf.idle.len());
        let Some(shelf) = fullest.filter(|shelf| !shelf.idle.is_empty()) else { return false };
        drop(shelf.idle.remove(0));
        self.count_closed(&shelf.member, 1);
        true
    }
}

/// Interval between two log lines about surplus answers, in milliseconds.
const WARNING_INTERVAL_MS: u64 = 60_000;
