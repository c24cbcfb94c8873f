//! A seat: one connection of a client, as far as it matters to others that it is open.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, Waker};

use super::loads::Place;

/// One connection.
pub(super) struct Seat {
    /// Whose it is.
    pub(super) load: Place,
    /// Where it stands among all seats.
    pub(super) place: Cell<u32>,
    /// What it waits for, if it may be closed in favour of others.
    pub(super) waits: Cell<Waits>,
    /// Since when, in milliseconds, if bytes of it are held.
    pub(super) since_ms: Cell<u64>,
    /// Bytes of it that the core holds meanwhile.
    pub(super) held: Cell<u32>,
    /// It has carried a request.
    pub(super) is_used: Cell<bool>,
    pub(super) is_leaving: Cell<bool>,
    gives_way: GivesWay,
    waker: RefCell<Option<Waker>>,
}

/// Whether a connection may be closed in favour of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivesWay {
    /// While it waits.
    Waiting,
    /// Never: it has a short time of its own, and no place that another one could take.
    Never,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Nothing that could be given up: a request is served.
    No,
    /// A request: not a byte of it has come.
    Request,
    /// The rest of a head.
    Head,
    /// The client's next word in a TLS handshake.
    Handshake,
}

impl Seat {
    pub(super) fn new(load: Place, place: u32, gives_way: GivesWay) -> Seat {
        Seat {
            load,
            gives_way,
            place: Cell::new(place),
            waits: Cell::new(Waits::No),
            since_ms: Cell::new(0),
            held: Cell::new(0),
            is_used: Cell::new(false),
            is_leaving: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Tells the connection to close.
    pub(super) fn leave(&self) {
        self.is_leaving.set(true);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Waits for `future`. `None`: the connection has to close in favour of others.
    pub(super) fn unless_told_to_leave<F: Future + Unpin>(
        &self,
        waits: Waits,
        mut future: F,
    ) -> impl Future<Output = Option<F::Output>> {
        poll_fn(move |context| {
            if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
                self.waits.set(Waits::No);
                return Poll::Ready(Some(output));
            }
            if self.is_leaving.get() {
                return Poll::Ready(None);
            }
            if self.gives_way == GivesWay::Never {
                return Poll::Pending;
            }
            self.waits.set(waits);
            let mut waker = self.waker.borrow_mut();
            // A connection is one task as long as it is open, so this is done once.
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
    }
}
