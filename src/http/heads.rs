//! The heads of one exchange, lent by the core so that a request allocates nothing for them.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::{Request, Response};
use crate::limits::{HEAD_BYTES_KEPT, HEADS_KEPT_MIN, HEADS_POOLED_MAX};
use crate::spare::Spare;

/// Both heads of one exchange.
#[derive(Default)]
pub struct Heads {
    /// What was asked.
    pub request: Request,
    /// What the upstream answered.
    pub response: Response,
}

/// The free heads of one core.
pub struct HeadPool {
    /// Boxed, so that lending one moves a pointer and a connection's task stays small.
    free: RefCell<Spare<Box<Heads>>>,
}

impl Default for HeadPool {
    fn default() -> HeadPool {
        HeadPool { free: RefCell::new(Spare::new(HEADS_POOLED_MAX)) }
    }
}

impl HeadPool {
    /// Heads for one exchange.
    pub fn take(self: &Rc<Self>) -> LentHeads {
        let heads = self.free.borrow_mut().take().unwrap_or_default();
        LentHeads { heads: Some(heads), pool: self.clone() }
    }

    /// Frees the heads that were large once, and those that nobody needed since the last call. Called at intervals: a
    /// client with large heads allocates again then.
    pub fn tidy(&self) {
        let mut free = self.free.borrow_mut();
        free.retain(|heads| heads.request.bytes.capacity() <= HEAD_BYTES_KEPT);
        free.tidy(HEADS_KEPT_MIN);
    }
}

/// Heads on loan from their pool. Dropping them gives them back.
pub struct LentHeads {
    heads: Option<Box<Heads>>,
    pool: Rc<HeadPool>,
}

impl Deref for LentHeads {
    type Target = Heads;

    fn deref(&self) -> &Heads {
        self.heads.as_ref().expect("only the drop takes them")
    }
}

impl DerefMut for LentHeads {
    fn deref_mut(&mut self) -> &mut Heads {
        self.heads.as_mut().expect("only the drop takes them")
    }
}

impl Drop for LentHeads {
    fn drop(&mut self) {
        if let Some(heads) = self.heads.take() {
            self.pool.free.borrow_mut().give_back(heads);
        }
    }
}
