//! Bounds of what is told to live sessions from outside.

/// WebSockets that a core ends in one tick because somebody else wants it. Over it: they end in the next ticks. One
/// costs some 20 µs.
pub const SOCKETS_ENDED_PER_TICK: usize = 1_000;
