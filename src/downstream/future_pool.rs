//! A pool of memory for futures: as many slots as exchanges were in progress at one time, each lent to the next
//! exchange.
//!
//! ```text
//! idle connection: a small task     busy connection: the same task + a slot (some 3 KiB)
//! ```

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::clock::TurnClock;
use crate::limits::{FUTURES_KEPT_MIN, FUTURES_POOLED_MAX};
use crate::spare::Spare;

/// The free slots of one core, for the futures that one function makes.
pub struct FuturePool<T, F> {
    make: T,
    clock: Rc<TurnClock>,
    is_cut: Cell<bool>,
    free: RefCell<Spare<Pin<Box<Option<F>>>>>,
}

/// A pool whose type has no name.
pub trait Pool {
    /// Frees the slots that nobody needed since the last call. Called at intervals.
    fn tidy(&self);
    /// From now on each future ends where it is as soon as it is polled.
    fn cut(&self);
}

impl<T, F> Pool for FuturePool<T, F> {
    fn tidy(&self) {
        self.free.borrow_mut().tidy(FUTURES_KEPT_MIN);
    }

    fn cut(&self) {
        self.is_cut.set(true);
    }
}

impl<T, F: Future> FuturePool<T, F> {
    /// An empty pool. `make` makes the futures, because their type has no name. Each poll of one is a turn of `clock`.
    pub fn new(clock: Rc<TurnClock>, make: T) -> Rc<FuturePool<T, F>> {
        Rc::new(FuturePool {
            make,
            clock,
            is_cut: Cell::new(false),
            free: RefCell::new(Spare::new(FUTURES_POOLED_MAX)),
        })
    }

    /// Makes a future in a slot of the pool.
    pub fn run<A, B>(self: &Rc<Self>, first: A, second: B) -> PooledFuture<T, F>
    where
        T: Fn(A, B) -> F,
    {
        let mut slot = self.free.borrow_mut().take().unwrap_or_else(|| Box::pin(None));
        slot.as_mut().set(Some((self.make)(first, second)));
        PooledFuture { slot: Some(slot), pool: self.clone() }
    }
}

/// A future in its slot. Dropping it drops the future and frees the slot.
pub struct PooledFuture<T, F> {
    slot: Option<Pin<Box<Option<F>>>>,
    pool: Rc<FuturePool<T, F>>,
}

impl<T, F: Future> Future for PooledFuture<T, F>
where
    F::Output: Default,
{
    type Output = F::Output;

    /// What is cut is dropped in its slot, and has the default output.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.pool.is_cut.get() {
            self.slot.iter_mut().for_each(|slot| slot.as_mut().set(None));
            return Poll::Ready(F::Output::default());
        }
        let PooledFuture { slot, pool } = &mut *self;
        let future = slot.as_mut().and_then(|slot| slot.as_mut().as_pin_mut());
        pool.clock.begin_turn();
        let polled = future.expect("the future stays in its slot until the drop").poll(context);
        pool.clock.end_turn();
        polled
    }
}

impl<T, F> Drop for PooledFuture<T, F> {
    fn drop(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        slot.as_mut().set(None);
        self.pool.free.borrow_mut().give_back(slot);
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

    fn poll<T, F: Future>(future: &mut Pin<&mut PooledFuture<T, F>>) -> Poll<F::Output>
    where
        F::Output: Default,
    {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_next_future_reuses_a_slot() {
        let pool = FuturePool::new(Rc::default(), turn);
        for _ in 0..3 {
            let mut future = pin!(pool.run(Rc::default(), true));
            assert_eq!(pool.free.borrow().len(), 0);
            assert_eq!(poll(&mut future), Poll::Ready(1));
        }
        assert_eq!(pool.free.borrow().len(), 1);
    }

    #[test]
    fn dropping_an_unfinished_future_drops_what_it_holds() {
        let (pool, shared) = (FuturePool::new(Rc::default(), turn), Rc::new(()));
        {
            let mut future = pin!(pool.run(shared.clone(), false));
            assert!(poll(&mut future).is_pending() && Rc::strong_count(&shared) == 2);
        }
        assert_eq!((Rc::strong_count(&shared), pool.free.borrow().len()), (1, 1));
    }

    #[test]
    fn what_is_cut_ends_where_it_is_and_lets_go_of_what_it_holds() {
        let (pool, shared) = (FuturePool::new(Rc::default(), turn), Rc::new(()));
        let mut future = pin!(pool.run(shared.clone(), false));
        assert!(poll(&mut future).is_pending());
        pool.cut();
        assert_eq!((poll(&mut future), Rc::strong_count(&shared)), (Poll::Ready(0), 1));
    }

    #[test]
    fn the_pool_keeps_no_more_free_slots_than_the_bound() {
        let pool = FuturePool::new(Rc::default(), turn);
        let all: Vec<_> = (0..FUTURES_POOLED_MAX + 5).map(|_| pool.run(Rc::default(), true)).collect();
        drop(all);
        assert_eq!(pool.free.borrow().len(), FUTURES_POOLED_MAX);
        (0..2).for_each(|_| pool.tidy());
        assert_eq!(pool.free.borrow().len(), FUTURES_KEPT_MIN);
    }
}
