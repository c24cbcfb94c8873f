//! Turns: how a task lets every other one go first.
//!
//! A task that wakes itself is put at the front of the runtime's queue, so it goes on before tasks that are ready. Here
//! another task wakes it: that one joins the queue at its end, and so does what it wakes.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The turns of one thread.
#[derive(Debug, Default)]
pub struct Turns {
    /// How often those that waited were woken.
    number: Cell<u64>,
    /// Those that let others go first: each task at most once.
    waiting: RefCell<Vec<Waker>>,
    /// The task that wakes them.
    runner: RefCell<Option<Waker>>,
}

impl Turns {
    /// Wakes those that let others go first, for as long as the thread runs.
    pub async fn run(self: Rc<Turns>) {
        poll_fn(|context| {
            self.runner.replace(Some(context.waker().clone()));
            self.number.set(self.number.get() + 1);
            self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
            Poll::Pending
        })
        .await
    }

    /// Waits until every task that is ready now has had its turn. Under some rings completions are made only when no
    /// task is ready: who calls this many times in a row has to wait for something else in between.
    pub fn pass(&self) -> impl Future<Output = ()> {
        let (begun, mut is_listed) = (self.number.get(), false);
        poll_fn(move |context| {
            if self.number.get() > begun {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut is_listed, true) {
                self.waiting.borrow_mut().push(context.waker().clone());
            }
            self.wake_runner();
            Poll::Pending
        })
    }

    fn wake_runner(&self) {
        if let Some(runner) = &*self.runner.borrow() {
            runner.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::{Preference, ThreadRuntime};

    async fn step(turns: Rc<Turns>, told: Rc<RefCell<Vec<&'static str>>>) {
        told.borrow_mut().push("first");
        for name in ["second", "third"] {
            let told = told.clone();
            monoio::spawn(async move { told.borrow_mut().push(name) });
        }
        turns.pass().await;
        told.borrow_mut().push("last");
    }

    #[test]
    fn every_task_that_is_ready_goes_first() {
        let told = Rc::<RefCell<Vec<&str>>>::default();
        let seen = told.clone();
        let (mut runtime, _) = ThreadRuntime::build(Preference::Ring).expect("a runtime");
        runtime.block_on(async move {
            let turns = Rc::<Turns>::default();
            monoio::spawn(turns.clone().run());
            monoio::spawn(step(turns, told)).await;
        });
        assert_eq!(*seen.borrow(), ["first", "second", "third", "last"]);
    }
}
