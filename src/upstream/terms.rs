//! The terms of one exchange with an upstream.

use crate::http1::HeadLimits;
use crate::net::{Io, Pace, Transport};

/// What an exchange with an upstream is bound to.
pub struct Terms<'t> {
    /// Timers and buffers.
    pub io: &'t Io,
    /// Bounds of a response's head.
    pub head_limits: &'t HeadLimits,
    /// The patience with the upstream.
    pub pace: Pace,
    /// The client: nobody awaits a response whose client has gone.
    pub watch: &'t Transport,
}
