//! The messages that wait to be sent to one socket: bounded, and its task can wait for them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Poll, Waker};

use tungstenite::Utf8Bytes;

use super::bounds::OUTBOX_BYTES_MAX;

/// Messages in order. They share their bytes with the outboxes of others.
#[derive(Default)]
pub(super) struct Outbox {
    queue: RefCell<VecDeque<Utf8Bytes>>,
    bytes: Cell<usize>,
    is_overrun: Cell<bool>,
    is_roused: Cell<bool>,
    /// Wakes the task of the socket.
    waker: RefCell<Option<Waker>>,
}

impl Outbox {
    /// Appends a message. If it does not fit, all messages are dropped: a client that has missed one must reconnect to
    /// see the conversation as it was.
    pub(super) fn push(&self, text: Utf8Bytes) {
        if self.is_overrun.get() {
            return;
        }
        let bytes = self.bytes.get() + text.len();
        if bytes > OUTBOX_BYTES_MAX {
            self.is_overrun.set(true);
            self.queue.take();
            self.bytes.set(0);
        } else {
            self.queue.borrow_mut().push_back(text);
            self.bytes.set(bytes);
        }
        self.rouse();
    }

    /// Takes the next message.
    pub(super) fn take(&self) -> Option<Utf8Bytes> {
        let text = self.queue.borrow_mut().pop_front()?;
        self.bytes.set(self.bytes.get() - text.len());
        // A task that waits for room checks again.
        self.rouse();
        Some(text)
    }

    /// The number of bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// A message did not fit.
    pub(super) fn is_overrun(&self) -> bool {
        self.is_overrun.get()
    }

    /// Makes the socket's task check its state.
    pub(super) fn rouse(&self) {
        self.is_roused.set(true);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Waits until [`Outbox::rouse`] was called after the last wait.
    pub(super) async fn roused(&self) {
        self.until(|| self.is_roused.replace(false)).await;
    }

    /// Waits until `holds` returns true. It is called again after every [`Outbox::rouse`].
    pub(super) async fn until(&self, holds: impl Fn() -> bool) {
        std::future::poll_fn(|context| {
            if holds() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_takes_the_rest_with_it() {
        let outbox = Outbox::default();
        let half = Utf8Bytes::from("x".repeat(OUTBOX_BYTES_MAX / 2));
        outbox.push(half.clone());
        outbox.push(half.clone());
        assert_eq!((outbox.bytes(), outbox.is_overrun()), (OUTBOX_BYTES_MAX, false));
        assert_eq!(outbox.take(), Some(half.clone()));
        outbox.push(half);
        assert!(!outbox.is_overrun());
        outbox.push("x".into());
        assert_eq!((outbox.bytes(), outbox.is_overrun(), outbox.take()), (0, true, None));
        outbox.push("late".into());
        assert_eq!(outbox.take(), None);
    }

    #[test]
    fn wakes_the_task_once_for_all_that_happened() {
        use std::future::Future;
        use std::pin::pin;
        let outbox = Outbox::default();
        let mut context = std::task::Context::from_waker(Waker::noop());
        outbox.push("a".into());
        outbox.push("b".into());
        assert!(pin!(outbox.roused()).poll(&mut context).is_ready());
        let mut waits = pin!(outbox.roused());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        outbox.rouse();
        assert!(waits.as_mut().poll(&mut context).is_ready());
    }
}
