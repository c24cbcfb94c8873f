//! The two directions of a tunnel: each has a source, which it reads, and a sink, which it alone writes to.

use crate::telemetry::TunnelEnd;

/// One direction of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the upstream.
    Up,
    /// From the upstream to the client.
    Down,
}

impl Direction {
    /// Both, in the order in which a task serves them.
    pub const BOTH: [Direction; 2] = [Direction::Up, Direction::Down];

    /// The direction whose source is this one's sink.
    pub fn opposite(self) -> Direction {
        match self {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        }
    }

    /// The end of a tunnel whose source went away without a Close frame.
    pub fn source_gone(self) -> TunnelEnd {
        match self {
            Direction::Up => TunnelEnd::ClientGone,
            Direction::Down => TunnelEnd::UpstreamGone,
        }
    }

    /// The end of a tunnel whose source sent a Close frame.
    pub fn source_closed(self) -> TunnelEnd {
        match self {
            Direction::Up => TunnelEnd::ClientClosed,
            Direction::Down => TunnelEnd::UpstreamClosed,
        }
    }
}
