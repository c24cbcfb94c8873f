//! A pool of tasks that serve one request after the other: a task costs an allocation, and a stream of HTTP/2 lasts for
//! one request.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::future_pool::Pool;
use crate::limits::{FUTURES_KEPT_MIN, FUTURES_POOLED_MAX};
use crate::spare::Spare;

/// The tasks of one core for requests `R`. `make` makes the future that serves one.
pub struct Servers<R, M> {
    make: M,
    idle: RefCell<Spare<Idle<R>>>,
}

/// The way to a task: what it is to serve next.
struct Seat<R> {
    next: Cell<Option<R>>,
    is_dismissed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A task that waits for a request. Dropped, the task ends.
struct Idle<R>(Option<Rc<Seat<R>>>);

impl<R: 'static, M: 'static> Servers<R, M> {
    /// No task yet.
    pub fn new<F: Future>(make: M) -> Rc<Servers<R, M>>
    where
        M: Fn(R) -> F,
    {
        Rc::new(Servers { make, idle: RefCell::new(Spare::new(FUTURES_POOLED_MAX)) })
    }

    /// Serves a request in a task that has nothing to do, or in a new one.
    pub fn serve<F: Future + 'static>(self: &Rc<Self>, request: R)
    where
        M: Fn(R) -> F,
    {
        let idle = self.idle.borrow_mut().take().and_then(|mut idle| idle.0.take());
        match idle {
            Some(seat) => seat.give(request),
            None => drop(monoio::spawn(self.clone().work(request))),
        }
    }

    async fn work<F: Future>(self: Rc<Self>, first: R)
    where
        M: Fn(R) -> F,
    {
        let seat = Rc::new(Seat::default());
        let mut next = Some(first);
        while let Some(request) = next {
            (self.make)(request).await;
            // Over the bound it is dropped, and this task is dismissed.
            self.idle.borrow_mut().give_back(Idle(Some(seat.clone())));
            next = poll_fn(|context| seat.poll_next(context)).await;
        }
    }
}

impl<R> Seat<R> {
    fn give(&self, request: R) {
        self.next.set(Some(request));
        self.wake();
    }

    /// The next request. `None`: there will be none.
    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<R>> {
        match self.next.take() {
            Some(request) => Poll::Ready(Some(request)),
            None if self.is_dismissed.get() => Poll::Ready(None),
            None => {
                self.waker.borrow_mut().get_or_insert_with(|| context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl<R> Default for Seat<R> {
    fn default() -> Seat<R> {
        Seat { next: Cell::default(), is_dismissed: Cell::default(), waker: RefCell::default() }
    }
}

impl<R> Drop for Idle<R> {
    fn drop(&mut self) {
        if let Some(seat) = self.0.take() {
            seat.is_dismissed.set(true);
            seat.wake();
        }
    }
}

impl<R, M> Pool for Servers<R, M> {
    fn tidy(&self) {
        self.idle.borrow_mut().tidy(FUTURES_KEPT_MIN);
    }

    /// What they serve is cut elsewhere.
    fn cut(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Turns;
    use crate::net::runtime::{Preference, ThreadRuntime};

    /// The tasks that have served, one per request, by their number; and how many tasks there are at the end.
    fn served(waves: &'static [usize]) -> (usize, usize) {
        let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
        runtime.block_on(async {
            let (turns, count) = (Rc::<Turns>::default(), Rc::<Cell<usize>>::default());
            monoio::spawn(turns.clone().run());
            let counter = count.clone();
            let servers = Servers::new(move |(): ()| {
                let counter = counter.clone();
                async move { counter.set(counter.get() + 1) }
            });
            for wave in waves {
                (0..*wave).for_each(|_| servers.serve(()));
                turns.pass().await;
                turns.pass().await;
            }
            let idle = servers.idle.borrow().len();
            (count.get(), idle)
        })
    }

    #[test]
    fn a_task_that_is_done_serves_the_next_request() {
        assert_eq!(served(&[1, 1, 1, 1]), (4, 1));
        assert_eq!(served(&[3, 2, 3]), (8, 3));
    }

    #[test]
    fn no_more_tasks_wait_than_the_bound() {
        assert_eq!(served(&[FUTURES_POOLED_MAX + 5, 2]), (FUTURES_POOLED_MAX + 7, FUTURES_POOLED_MAX));
    }

    #[test]
    fn a_task_that_nobody_needs_ends() {
        let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
        let alive = runtime.block_on(async {
            let turns = Rc::<Turns>::default();
            monoio::spawn(turns.clone().run());
            let servers = Servers::new(|(): ()| std::future::ready(()));
            (0..FUTURES_KEPT_MIN + 9).for_each(|_| servers.serve(()));
            turns.pass().await;
            servers.tidy();
            servers.tidy();
            turns.pass().await;
            turns.pass().await;
            // Each task holds the pool, and so does this.
            (Rc::strong_count(&servers), servers.idle.borrow().len())
        });
        assert_eq!(alive, (FUTURES_KEPT_MIN + 1, FUTURES_KEPT_MIN));
    }
}
