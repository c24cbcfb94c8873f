//! File descriptors for connections to upstreams: the upstreams of a core share them, and no idle connection keeps
//! another upstream from opening one.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// What one core has open to all its upstreams. Tunnels are not among them: they count as their clients do.
#[derive(Default)]
pub(super) struct Quota {
    open: Cell<usize>,
    max: usize,
    pools: RefCell<Vec<Weak<dyn Idlers>>>,
}

/// Something with idle connections.
pub(super) trait Idlers {
    /// How many there are.
    fn idle(&self) -> usize;

    /// Closes the oldest one; `false`: there is none.
    fn close_oldest(&self) -> bool;
}

/// Counts one open connection until it is dropped.
pub(super) struct Opened(Rc<Quota>);

impl Quota {
    /// Connections that the core may have open. Over it: idle ones are closed, as long as there are any. A request that
    /// needs one is not refused for it.
    pub(super) fn new(max: usize) -> Quota {
        Quota { open: Cell::new(0), max, pools: RefCell::default() }
    }

    pub(super) fn register(&self, pool: Rc<dyn Idlers>) {
        let mut pools = self.pools.borrow_mut();
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Rc::downgrade(&pool));
    }

    /// One more connection is open.
    pub(super) fn open(self: &Rc<Self>) -> Opened {
        self.open.set(self.open.get() + 1);
        Opened(self.clone())
    }

    /// Before another connection is opened.
    pub(super) fn make_room(&self) {
        if self.open.get() >= self.max {
            self.close_one();
        }
    }

    /// Closes the oldest idle connection of the pool with the most; `false`: none is idle.
    pub(super) fn close_one(&self) -> bool {
        let pools = self.pools.borrow();
        let fullest = pools.iter().filter_map(Weak::upgrade).max_by_key(|pool| pool.idle());
        fullest.is_some_and(|pool| pool.close_oldest())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}
