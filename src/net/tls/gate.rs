//! Where handshakes wait for their turn: the steps of many must not be a stall for everybody else on the core.
//!
//! A step costs the core up to 650 µs at once. Those of one turn of the core have a bound, and the rest waits in line
//! for the next turn, which comes when every other task that is ready has run. While nobody waits, a step costs a look
//! at the clock: time that went by since the last step went to others, and as much may go to steps again.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::clock;
use crate::limits::{TLS_HANDSHAKES_MAX, TLS_STEPS_PER_TURN, TLS_STEPS_US_PER_TURN};
use crate::net::StreamSocket;

/// The handshakes of one core.
#[derive(Default)]
pub struct Gate {
    in_flight: Cell<usize>,
    /// Steps that may still be taken in this turn.
    steps_left: Cell<u32>,
    us_left: Cell<u64>,
    /// When the last step was over.
    stepped_us: Cell<u64>,
    line: RefCell<VecDeque<Rc<Waiter>>>,
    /// A task waits for the next turn.
    is_turning: Cell<bool>,
    always_ready: OnceCell<Option<Ready>>,
}

/// A socket that can always be written to, because nobody ever writes to it; and its other end.
type Ready = (StreamSocket, OwnedFd);

/// A handshake in flight. Dropped, it is over.
pub struct InFlight(Rc<Gate>);

/// The right to one step. Dropped, its time is counted.
pub struct Step<'g> {
    gate: &'g Gate,
    begun_us: u64,
}

#[derive(Default)]
struct Waiter {
    waker: RefCell<Option<Waker>>,
    is_called: Cell<bool>,
    is_gone: Cell<bool>,
}

impl Gate {
    /// A place for one more handshake. `leaving`: how many were told to end and will have by the next turn. `None`:
    /// there are [`TLS_HANDSHAKES_MAX`] others.
    pub fn begin(self: &Rc<Gate>, leaving: usize) -> Option<InFlight> {
        if self.in_flight.get().saturating_sub(leaving) >= TLS_HANDSHAKES_MAX {
            return None;
        }
        self.in_flight.set(self.in_flight.get() + 1);
        Some(InFlight(self.clone()))
    }

    /// Takes what the line needs of the process. Without it, turns are slower.
    pub fn prepare(&self) {
        self.always_ready.get_or_init(always_ready);
    }

    /// Handshakes in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Waits in line until a step may be taken.
    pub async fn step(self: &Rc<Gate>) -> Step<'_> {
        let now_us = clock::now_us();
        if !self.is_turning.get() && now_us.saturating_sub(self.stepped_us.get()) >= TLS_STEPS_US_PER_TURN {
            self.open();
        }
        if self.is_shut() || !self.line.borrow().is_empty() {
            if !self.is_turning.replace(true) {
                monoio::spawn(self.clone().turn());
            }
            self.wait_in_line().await;
        }
        self.steps_left.set(self.steps_left.get().saturating_sub(1));
        Step { gate: self, begun_us: clock::now_us() }
    }

    fn open(&self) {
        self.steps_left.set(TLS_STEPS_PER_TURN);
        self.us_left.set(TLS_STEPS_US_PER_TURN);
    }

    fn is_shut(&self) -> bool {
        self.steps_left.get() == 0 || self.us_left.get() == 0
    }

    async fn wait_in_line(&self) {
        struct InLine(Rc<Waiter>);
        impl Drop for InLine {
            fn drop(&mut self) {
                self.0.is_gone.set(true);
            }
        }
        let waiter = Rc::<Waiter>::default();
        self.line.borrow_mut().push_back(waiter.clone());
        let waiting = InLine(waiter);
        poll_fn(|context| {
            // Who was called in a turn whose time is over already stays at the head of the line.
            if waiting.0.is_called.get() && !self.is_shut() {
                return Poll::Ready(());
            }
            if waiting.0.is_called.replace(false) {
                self.line.borrow_mut().push_front(waiting.0.clone());
            }
            *waiting.0.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Calls those at the head of the line, turn by turn, as long as there are any.
    async fn turn(self: Rc<Gate>) {
        let always_ready = self.always_ready.get_or_init(always_ready).as_ref();
        loop {
            next_turn(always_ready).await;
            self.open();
            if self.line.borrow().is_empty() {
                break self.is_turning.set(false);
            }
            self.call();
        }
    }

    fn call(&self) {
        let mut left = TLS_STEPS_PER_TURN;
        let mut line = self.line.borrow_mut();
        while left > 0
            && let Some(waiter) = line.pop_front()
        {
            if waiter.is_gone.get() {
                continue;
            }
            left -= 1;
            waiter.is_called.set(true);
            if let Some(waker) = waiter.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let now_us = clock::now_us();
        let us = now_us.saturating_sub(self.begun_us);
        self.gate.stepped_us.set(now_us);
        self.gate.us_left.set(self.gate.us_left.get().saturating_sub(us));
    }
}

fn always_ready() -> Option<Ready> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    Some((StreamSocket::new(near).ok()?, far))
}

/// Lets every task that is ready have its turn. On the ring a poll does that, however ready its socket is. On epoll it
/// would not, and without file descriptors there is none: there only a sleep does.
async fn next_turn(always_ready: Option<&Ready>) {
    if let Some((socket, _)) = always_ready {
        let mut has_waited = false;
        let mut writable = pin!(socket.writable());
        let _ = poll_fn(|context| {
            let polled = writable.as_mut().poll(context);
            has_waited |= polled.is_pending();
            polled
        })
        .await;
        if has_waited {
            return;
        }
    }
    monoio::time::sleep(Duration::from_millis(1)).await;
}
