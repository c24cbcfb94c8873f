//! One wait at a time, kept from poll to poll. A wait that goes on costs the ring nothing; a new one costs an entry.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A place for one wait, and for what it waits for.
pub(super) struct Waiter<'p, K, F, M> {
    wants: Option<K>,
    future: Pin<&'p mut Option<F>>,
    make: M,
}

impl<'p, K, F, M> Waiter<'p, K, F, M>
where
    K: Copy + PartialEq,
    F: Future,
    M: Fn(K) -> F,
{
    /// No wait is under way. `make` begins one.
    pub(super) fn new(future: Pin<&'p mut Option<F>>, make: M) -> Waiter<'p, K, F, M> {
        Waiter { wants: None, future, make }
    }

    /// What is waited for now.
    pub(super) fn wants(&self) -> Option<K> {
        self.wants
    }

    /// Waits for this: goes on with the wait that is under way if it is the same, else drops that and begins another.
    pub(super) fn poll(&mut self, wants: K, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.wants != Some(wants) {
            self.future.set(Some((self.make)(wants)));
            self.wants = Some(wants);
        }
        let Some(future) = self.future.as_mut().as_pin_mut() else { return Poll::Pending };
        let output = ready!(future.poll(context));
        self.future.set(None);
        self.wants = None;
        Poll::Ready(output)
    }
}
