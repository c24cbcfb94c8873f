//! The active core: the one that the next request meets. A reload replaces it as a whole, between two requests.

use std::cell::RefCell;
use std::rc::Rc;

use super::snapshot::Replacement;
use super::state::Core;
use crate::redis::Redis;

/// The core that is active on this thread.
pub struct ActiveCore(RefCell<Rc<Core>>);

impl ActiveCore {
    /// The core of the start.
    pub fn new(core: Core) -> ActiveCore {
        ActiveCore(RefCell::new(Rc::new(core)))
    }

    /// The current core.
    pub fn core(&self) -> Rc<Core> {
        self.0.borrow().clone()
    }

    /// From now on new requests meet this configuration, and this connection to Redis. The caller then sets the
    /// addresses of upstreams, before any request can meet them.
    pub fn replace(&self, replacement: &Replacement, redis: Option<Rc<Redis>>) {
        let next = self.core().next(replacement, redis);
        next.resources.metrics.core.reloads.add(1);
        self.0.replace(Rc::new(next));
    }
}
