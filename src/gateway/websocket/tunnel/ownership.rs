//! Who holds a tunnel. It goes with the tunnel to another core and to another process.

use crate::auth::{Holder, Mark};

/// Who holds a tunnel, and by what its owner finds it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// Whose token opened it, or has renewed it last.
    pub holder: Holder,
    /// The secret that the client has chosen for it; `None`: it has chosen none.
    pub handle: Option<Mark>,
    /// The route that it is on.
    pub route: Mark,
}
