//! The I/O resources of one thread: timers, buffers and pipes, and whether the thread drains.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use crate::clock::TurnClock;
use crate::net::tls::Gate;
use crate::net::{BufferPool, Elapsed, PipePool, Timers, Turns};

/// The I/O resources of one thread, shared by everything on it that waits or moves bytes.
#[derive(Default)]
pub struct Io {
    /// The deadlines of the thread.
    pub timers: Rc<Timers>,
    /// How a task lets the others of the thread go first.
    pub turns: Rc<Turns>,
    /// The precise clock of the exchanges.
    pub clock: Rc<TurnClock>,
    /// Free I/O buffers.
    pub buffers: Rc<BufferPool>,
    /// Pipes for splicing payloads.
    pub pipes: Rc<PipePool>,
    /// The pace of TLS handshakes.
    pub handshakes: Rc<Gate>,
    is_draining: Cell<bool>,
    idle_grace_ms: Cell<u64>,
}

impl Io {
    /// Whether the thread drains (graceful shutdown): it waits for no new request, and each response is the last on its
    /// connection.
    pub fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// How long an idle connection may take to send one more request during a drain, in milliseconds.
    pub fn idle_grace_ms(&self) -> u64 {
        self.idle_grace_ms.get()
    }

    /// Begins to drain, and wakes every wait so that each checks its conditions again.
    pub fn drain(&self, idle_grace_ms: u64) {
        self.idle_grace_ms.set(idle_grace_ms);
        self.is_draining.set(true);
        self.timers.wake_all();
    }

    /// Waits for `future` until the deadline. `None`: a drain has begun in the meantime. A drain does not end a wait
    /// that began during it.
    pub fn until_drain<F: Future + Unpin>(
        &self,
        at_ms: u64,
        mut future: F,
    ) -> impl Future<Output = Result<Option<F::Output>, Elapsed>> {
        let was_draining = self.is_draining();
        let or_drain = poll_fn(move |context| match Pin::new(&mut future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.is_draining() != was_draining => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        self.timers.until(at_ms, or_drain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use std::future::pending;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn a_drain_cuts_a_wait_short_that_began_before_it_and_no_later_one() {
        let io = Io::default();
        let later = clock::now_ms() + 60_000;
        let mut context = Context::from_waker(Waker::noop());
        let mut before = pin!(io.until_drain(later, pending::<()>()));
        assert!(before.as_mut().poll(&mut context).is_pending());
        io.drain(7);
        assert_eq!(before.as_mut().poll(&mut context), Poll::Ready(Ok(None)));
        assert_eq!((io.is_draining(), io.idle_grace_ms()), (true, 7));
        let mut during = pin!(io.until_drain(later, pending::<()>()));
        assert!(during.as_mut().poll(&mut context).is_pending());
    }
}
