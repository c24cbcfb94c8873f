//! The context of one exchange with an upstream.

use crate::http1::HeadLimits;
use crate::net::{Io, Pace, Transport};

/// What an exchange with an upstream is bound to.
pub struct ExchangeContext<'t> {
    /// Timers and buffers.
    pub io: &'t Io,
    /// Bounds of a response's head.
    pub head_limits: &'t HeadLimits,
    /// The slowest pace that is accepted of the upstream.
    pub pace: Pace,
    /// The client's connection: when the client has gone, the wait for its response ends.
    pub client: &'t Transport,
}
