//! What goes into the state of a tunnel, and what comes out of it.

use super::direction::Direction;
use super::farewell::Farewell;
use super::timers::Drain;
use crate::auth::Holder;
use crate::telemetry::TunnelEnd;

/// What has happened to a tunnel.
#[derive(Debug, Clone, Copy)]
pub enum Event<'b> {
    /// These are all the bytes at hand of a direction.
    Bytes(Direction, &'b [u8]),
    /// So many of the bytes to send went to the sink.
    Sent(Direction, usize),
    /// So many bytes of a frame of ours went to the sink.
    OwnSent(Direction, usize),
    /// The bytes to skip are gone.
    Skipped(Direction),
    /// So many bytes of payload went from the source into a pipe.
    Pulled(Direction, usize),
    /// So many of them went from the pipe to the sink.
    Pushed(Direction, usize),
    /// A frame of ours may be composed.
    Boundary {
        /// For the sink of this direction.
        direction: Direction,
        /// The key for a frame to the upstream: random bits.
        mask: [u8; 4],
        /// Bytes that the client's kernel has not acknowledged.
        unacknowledged: u64,
    },
    /// The source has sent its last.
    Ended(Direction),
    /// The source cannot be read.
    SourceLost(Direction),
    /// The sink takes nothing more.
    SinkLost(Direction),
    /// The core begins to drain.
    Drain(Drain),
    /// Somebody else wants the tunnel to end.
    Ordered {
        /// Why.
        end: TunnelEnd,
        /// What the client is told.
        farewell: &'b Farewell,
    },
    /// The holder has another token, which holds for longer.
    Renewed {
        /// Whose it is now.
        holder: Holder,
        /// The wall clock, in seconds since 1970.
        unix_s: u64,
    },
    /// The next deadline has come.
    Deadline {
        /// The wall clock, in seconds since 1970.
        unix_s: u64,
        /// Bytes that the client's kernel has not acknowledged.
        unacknowledged: u64,
    },
}

/// What an event asks for, besides the work that it makes possible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Actions {
    /// Send the client no more, and say so.
    pub ends_client: bool,
    /// Send the upstream no more, and say so.
    pub ends_upstream: bool,
    /// A ping was composed.
    pub pings: bool,
    /// Frames were judged.
    pub judged: Option<Judged>,
}

/// What was judged of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Where the frames go.
    pub direction: Direction,
    /// Frames that were not held.
    pub frames: u32,
    /// Messages that began with them.
    pub messages: u32,
}

impl Actions {
    /// The source of this direction has sent its last, so its sink gets nothing more.
    pub(super) fn end(&mut self, direction: Direction) {
        match direction {
            Direction::Up => self.ends_upstream = true,
            Direction::Down => self.ends_client = true,
        }
    }
}
