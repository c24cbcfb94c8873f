//! The context of one exchange with an upstream.

use crate::http1::HeadLimits;
use crate::message::Recipient;
use crate::net::{Io, Pace};

/// What an exchange with an upstream is bound to.
pub struct ExchangeContext<'t> {
    /// Timers and buffers.
    pub io: &'t Io,
    /// Bounds of a response's head.
    pub head_limits: &'t HeadLimits,
    /// The slowest pace that is accepted of the upstream.
    pub pace: Pace,
    /// Whom the response is for: when the client has left, the wait ends. `None`: somebody else looks after it.
    pub recipient: Option<Recipient<'t>>,
}
