//! One direction of a tunnel as plain data: where its frames are, what has not gone on yet, what is to be done next.
//!
//! ```text
//! at hand:  ┌ frames that pass ┐┌ our own pong ┐┌ not judged yet, or half a header ┐
//!           └──────────────────┘└──────────────┘└──────────────────────────────────┘
//!           ◀───── to_send ────▶◀── to_skip ──▶◀──────────── ahead ───────────────▶
//! ```
//!
//! The track has counted what is to be sent, and what is in the pipe. So both are remembered here, and not by the task
//! that waits for the sink.

use super::direction::Direction;
use super::rules::TunnelRules;
use crate::limits::PIPE_BYTES;
use crate::telemetry::TunnelEnd;
use crate::ws::{FrameRefusal, FrameRules, Header, Position, Sender, Then, Track, Verdict};

/// One direction, from its source to its sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    pub(super) stage: Stage,
    pub(super) track: Track,
    /// Bytes at the front of those at hand that go to the sink.
    pub(super) to_send: usize,
    /// Bytes behind them that go nowhere.
    pub(super) to_skip: usize,
    /// What is behind both.
    pub(super) ahead: Ahead,
    /// Bytes in the pipe. There are none at hand then.
    pub(super) piped: usize,
    /// What is left to send of a frame of the gateway's own.
    pub(super) own: Vec<u8>,
    /// The bytes at hand while no buffer is borrowed for them: while the source is waited for, the beginning of a
    /// header or control frame.
    pub(super) held: Vec<u8>,
    /// The last frame was one to be spliced, so the next may be: its header is looked for with a small read, because
    /// what a read takes along of a payload is copied.
    pub(super) expects_bulk: bool,
}

/// How far a direction is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Frames pass.
    Relaying,
    /// Our Close frame is on its way to the sink.
    SendingClose,
    /// The source is followed to its own Close frame. Nothing of it passes.
    AwaitingClose,
    /// What the source sends is thrown away, to its end.
    Discarding,
    /// Nothing more is read or written.
    Over,
}

/// What is behind the bytes to send and to skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// Bytes that were not judged yet, or are to be judged again.
    Unjudged,
    /// Nothing, or the beginning of a frame: more bytes are needed.
    Nothing,
    /// The bytes to send end with a Close frame, with this code.
    Closed(Option<u16>),
    /// A frame that must not pass, and so the gateway closes the tunnel.
    Refused(TunnelEnd),
}

/// What is to be done for a direction next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Show the bytes at hand to the state.
    Judge,
    /// Send this many of the bytes at hand.
    Send(usize),
    /// Send what is left of a frame of the gateway's own.
    SendOwn,
    /// Drop this many of the bytes at hand.
    Skip(usize),
    /// Move what is in the pipe to the sink.
    Push,
    /// Compose a frame of the gateway's own: here is the place for it.
    SendOwnFrame,
    /// Take more from the source.
    Receive(Receive),
    /// Take more from the source and throw it away.
    Discard,
    /// Nothing: this direction is over.
    Rest,
}

/// How more is taken from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receive {
    /// Payload bytes that a pipe may take; 0: what comes next is to be judged.
    pub splice_bytes_max: usize,
    /// They are enough for a pipe to be borrowed.
    pub is_bulk: bool,
    /// What a read may take at most.
    pub read_bytes_max: usize,
}

impl Relay {
    /// `early`: what the source sent right behind its part of the handshake. It goes first.
    pub fn new(direction: Direction, rules: &TunnelRules, has_extension: bool, early: Vec<u8>) -> Relay {
        let ahead = if early.is_empty() { Ahead::Nothing } else { Ahead::Unjudged };
        Relay {
            stage: Stage::Relaying,
            track: track(direction, rules, has_extension, Position::default()),
            to_send: 0,
            to_skip: 0,
            ahead,
            piped: 0,
            own: Vec::new(),
            held: early,
            expects_bulk: false,
        }
    }

    /// What is to be done next. `has_own_frame`: a frame of the gateway's own waits for its place in front of the sink.
    pub fn work(&self, rules: &TunnelRules, has_own_frame: bool) -> Work {
        match self.stage {
            Stage::Discarding => Work::Discard,
            Stage::Over => Work::Rest,
            _ if !self.own.is_empty() => Work::SendOwn,
            _ if self.to_send > 0 => Work::Send(self.to_send),
            _ if self.to_skip > 0 => Work::Skip(self.to_skip),
            _ if self.piped > 0 => Work::Push,
            Stage::Relaying if has_own_frame && self.is_at_boundary() => Work::SendOwnFrame,
            _ if self.ahead == Ahead::Unjudged => Work::Judge,
            _ => Work::Receive(self.receive(rules)),
        }
    }

    fn receive(&self, rules: &TunnelRules) -> Receive {
        let payload_left = match self.stage {
            Stage::Relaying => self.track.payload_left(),
            _ => 0,
        };
        let is_header = self.expects_bulk && self.track.is_between_frames();
        Receive {
            splice_bytes_max: payload_left.min(PIPE_BYTES as u64) as usize,
            is_bulk: payload_left >= rules.splice_bytes_min,
            read_bytes_max: if is_header { HEADER_READ_BYTES } else { usize::MAX },
        }
    }

    /// The sink is between two frames, and everything before that place has gone.
    pub fn is_at_boundary(&self) -> bool {
        let is_clear = self.to_send == 0 && self.to_skip == 0 && self.piped == 0 && self.own.is_empty();
        is_clear && self.track.is_between_frames()
    }

    /// Nothing more is read or written.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Follows the bytes at hand: what of them passes, and what is behind that.
    pub(super) fn follow(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        splice_bytes_min: u64,
        mut judge: impl FnMut(&Header, &[u8]) -> Verdict,
    ) {
        let bulk_min = splice_bytes_min.saturating_add(HEADER_READ_BYTES as u64);
        let mut is_bulk = self.expects_bulk;
        let passage = self.track.advance(bytes, |header, payload| {
            is_bulk = header.payload >= bulk_min;
            judge(header, payload)
        });
        self.expects_bulk = is_bulk;
        self.to_send = passage.pass;
        (self.to_skip, self.ahead) = match passage.then {
            Then::Await => (0, Ahead::Nothing),
            Then::Swallow(frame) => (frame, Ahead::Unjudged),
            Then::Hold => (0, Ahead::Unjudged),
            Then::Closed(code) => (0, Ahead::Closed(code)),
            Then::Refused(refusal) => (0, Ahead::Refused(reason(direction, refusal))),
        };
    }

    /// Follows the bytes at hand to the client's own Close frame. Nothing of them passes.
    pub(super) fn follow_to_close(&mut self, bytes: &[u8], judge: impl FnMut(&Header, &[u8]) -> Verdict) {
        let passage = self.track.advance(bytes, judge);
        self.to_skip = passage.pass;
        self.ahead = match passage.then {
            Then::Closed(code) => Ahead::Closed(code),
            Then::Refused(refusal) => Ahead::Refused(reason(Direction::Up, refusal)),
            Then::Await | Then::Swallow(_) | Then::Hold => Ahead::Nothing,
        };
    }

    /// What is behind the bytes to send, once they have gone.
    pub(super) fn reached(&mut self) -> Ahead {
        match self.ahead {
            found @ (Ahead::Closed(_) | Ahead::Refused(_)) if self.to_send == 0 => {
                self.ahead = Ahead::Unjudged;
                found
            }
            _ => Ahead::Nothing,
        }
    }

    /// Frames of the source pass no longer, and nothing of it is kept.
    pub(super) fn discard(&mut self) {
        self.enter(Stage::Discarding);
    }

    /// The direction ends here.
    pub(super) fn finish(&mut self) {
        self.enter(Stage::Over);
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        (self.to_send, self.to_skip, self.piped) = (0, 0, 0);
        (self.own, self.held) = (Vec::new(), Vec::new());
        self.ahead = Ahead::Nothing;
        self.expects_bulk = false;
    }
}

/// A track for the frames of this direction. What an upstream sends has no bound: it is a service of the operator's.
pub(super) fn track(
    direction: Direction,
    rules: &TunnelRules,
    has_extension: bool,
    position: Position,
) -> Track {
    let (sender, message_bytes_max) = match direction {
        Direction::Up => (Sender::Client, rules.message_bytes_max),
        Direction::Down => (Sender::Server, 0),
    };
    Track::resume(FrameRules { sender, has_extension, message_bytes_max }, position)
}

/// Why the gateway closes a tunnel on which a frame was refused.
fn reason(direction: Direction, refusal: FrameRefusal) -> TunnelEnd {
    match (refusal, direction) {
        (FrameRefusal::Broken(_), Direction::Up) => TunnelEnd::ClientMisbehaved,
        (FrameRefusal::Broken(_), Direction::Down) => TunnelEnd::UpstreamMisbehaved,
        (FrameRefusal::TooBig, _) => TunnelEnd::MessageTooBig,
        (FrameRefusal::TooMany, _) => TunnelEnd::TooManyMessages,
    }
}

/// What a read takes where a large frame is expected, in bytes: its header, and as much of small frames as comes
/// before.
const HEADER_READ_BYTES: usize = 1_024;
