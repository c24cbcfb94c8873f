//! What becomes of a frame whose framing is right: it passes, waits, is swallowed, or is one too many.

use super::allowance::Allowance;
use super::direction::Direction;
use super::keepalive::Keepalive;
use super::rules::TunnelRules;
use crate::ws::{Header, Opcode, Verdict};

/// What went through a tunnel so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of frames from the client.
    pub bytes_in: u64,
    /// Bytes of frames to the client.
    pub bytes_out: u64,
    /// Messages from the client.
    pub messages_in: u64,
    /// Messages to the client.
    pub messages_out: u64,
}

/// Judges the frames of one direction.
pub(super) struct Judge<'s> {
    pub(super) direction: Direction,
    /// A frame of the gateway's own (Ping or Close) comes first.
    pub(super) own_frame_waits: bool,
    pub(super) now_ms: u64,
    pub(super) rules: &'s TunnelRules,
    pub(super) keepalive: &'s mut Keepalive,
    pub(super) allowance: &'s mut Allowance,
    pub(super) tally: &'s mut Tally,
    /// Frames that were judged and not held.
    pub(super) frames: u32,
    /// Messages that began.
    pub(super) messages: u32,
}

impl Judge<'_> {
    /// Judges one frame; the payload is that of a control frame, and still masked.
    pub(super) fn judge(&mut self, header: &Header, payload: &[u8]) -> Verdict {
        // Also before a Close frame of the peer's: nothing may follow a Close frame.
        if self.own_frame_waits {
            return Verdict::Hold;
        }
        self.frames += 1;
        match self.direction {
            Direction::Up => self.judge_client(header, payload),
            Direction::Down => {
                if header.opcode == Opcode::Ping {
                    self.allowance.owe_pong();
                }
                self.pass(is_message(header))
            }
        }
    }

    fn judge_client(&mut self, header: &Header, payload: &[u8]) -> Verdict {
        self.keepalive.heard(self.now_ms);
        if self.keepalive.is_answer(header, payload) {
            return Verdict::Swallow;
        }
        if !self.allowance.take(header, self.rules, self.now_ms) {
            return Verdict::TooMany;
        }
        self.pass(is_message(header))
    }

    fn pass(&mut self, is_message: bool) -> Verdict {
        let messages = match self.direction {
            Direction::Up => &mut self.tally.messages_in,
            Direction::Down => &mut self.tally.messages_out,
        };
        *messages = messages.saturating_add(u64::from(is_message));
        self.messages += u32::from(is_message);
        Verdict::Pass
    }
}

/// The frame begins a message.
fn is_message(header: &Header) -> bool {
    matches!(header.opcode, Opcode::Text | Opcode::Binary)
}
