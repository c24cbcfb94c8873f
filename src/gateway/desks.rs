//! Where requests are served: memory for the largest moment of an exchange, as often as exchanges have been under way
//! at one time, and lent to the next one.
//!
//! ```text
//! idle connection: a small task     busy connection: the same task + a desk (some 3 KiB)
//! ```

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::limits::DESKS_POOLED_MAX;

/// The free desks of one core, for what one function makes.
pub(super) struct Desks<T, F> {
    make: T,
    free: RefCell<Vec<Pin<Box<Option<F>>>>>,
}

impl<T, F: Future> Desks<T, F> {
    /// No desk yet. The function makes the futures: their type has no name.
    pub(super) fn new(make: T) -> Rc<Desks<T, F>> {
        Rc::new(Desks { make, free: RefCell::default() })
    }

    /// A future on a desk.
    pub(super) fn seat<A, B>(self: &Rc<Self>, first: A, second: B) -> Seated<T, F>
    where
        T: Fn(A, B) -> F,
    {
        let mut desk = self.free.borrow_mut().pop().unwrap_or_else(|| Box::pin(None));
        desk.as_mut().set(Some((self.make)(first, second)));
        Seated { desk: Some(desk), desks: self.clone() }
    }
}

/// A future on its desk. Dropped, it is gone, and the desk is free.
pub(super) struct Seated<T, F> {
    desk: Option<Pin<Box<Option<F>>>>,
    desks: Rc<Desks<T, F>>,
}

impl<T, F: Future> Future for Seated<T, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let desk = self.desk.as_mut().and_then(|desk| desk.as_mut().as_pin_mut());
        desk.expect("a future sits there until the drop").poll(context)
    }
}

impl<T, F> Drop for Seated<T, F> {
    fn drop(&mut self) {
        let Some(mut desk) = self.desk.take() else { return };
        desk.as_mut().set(None);
        let mut free = self.desks.free.borrow_mut();
        if free.len() < DESKS_POOLED_MAX {
            free.push(desk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Waker;

    async fn turn(shared: Rc<()>, is_over: bool) -> usize {
        if !is_over {
            std::future::pending::<()>().await;
        }
        Rc::strong_count(&shared)
    }

    fn poll<T, F: Future>(seated: &mut Pin<&mut Seated<T, F>>) -> Poll<F::Output> {
        seated.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_desk_is_used_again_by_the_next_one() {
        let desks = Desks::new(turn);
        for _ in 0..3 {
            let mut seated = pin!(desks.seat(Rc::default(), true));
            assert_eq!(desks.free.borrow().len(), 0);
            assert_eq!(poll(&mut seated), Poll::Ready(1));
        }
        assert_eq!(desks.free.borrow().len(), 1);
    }

    #[test]
    fn who_leaves_early_takes_everything_along() {
        let (desks, shared) = (Desks::new(turn), Rc::new(()));
        {
            let mut seated = pin!(desks.seat(shared.clone(), false));
            assert!(poll(&mut seated).is_pending() && Rc::strong_count(&shared) == 2);
        }
        assert_eq!((Rc::strong_count(&shared), desks.free.borrow().len()), (1, 1));
    }

    #[test]
    fn there_are_no_more_free_desks_than_the_bound() {
        let desks = Desks::new(turn);
        let all: Vec<_> = (0..DESKS_POOLED_MAX + 5).map(|_| desks.seat(Rc::default(), true)).collect();
        drop(all);
        assert_eq!(desks.free.borrow().len(), DESKS_POOLED_MAX);
    }
}
