//! How frames and bytes move the state of a tunnel: what is judged, what went on, where a frame of the gateway's own
//! goes.

use super::direction::Direction;
use super::event::{Actions, Judged};
use super::judge::Judge;
use super::phase::Phase;
use super::relay::{Ahead, Stage};
use super::state::TunnelState;
use crate::ws::{Opcode, Verdict};

impl TunnelState {
    pub(super) fn judge(&mut self, direction: Direction, bytes: &[u8], now_ms: u64, actions: &mut Actions) {
        match self.relay(direction).stage {
            Stage::Relaying => self.judge_frames(direction, bytes, now_ms, actions),
            Stage::AwaitingClose => self.judge_answer(direction, bytes, now_ms, actions),
            Stage::SendingClose | Stage::Discarding | Stage::Over => {}
        }
    }

    fn judge_frames(&mut self, direction: Direction, bytes: &[u8], now_ms: u64, actions: &mut Actions) {
        let mut judge = Judge {
            own_frame_waits: self.has_own_frame(direction),
            direction,
            now_ms,
            rules: &self.rules,
            keepalive: &mut self.timers.keepalive,
            allowance: &mut self.allowance,
            tally: &mut self.tally,
            frames: 0,
            messages: 0,
        };
        let relay = match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        relay.follow(direction, bytes, self.rules.splice_bytes_min, |header, payload| {
            judge.judge(header, payload)
        });
        actions.judged = Some(Judged { direction, frames: judge.frames, messages: judge.messages });
        self.reach(direction, now_ms);
    }

    /// What the client says to our Close frame.
    fn judge_answer(&mut self, direction: Direction, bytes: &[u8], now_ms: u64, actions: &mut Actions) {
        let (rules, allowance) = (&self.rules, &mut self.allowance);
        let relay = match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        // Whoever floods gets no answer to its Close frame: what it sends is thrown away unseen from here on.
        relay.follow_to_close(bytes, |header, _| {
            let is_close = header.opcode == Opcode::Close;
            let passes = is_close || allowance.take(header, rules, now_ms);
            if passes { Verdict::Pass } else { Verdict::TooMany }
        });
        match relay.ahead {
            Ahead::Unjudged | Ahead::Nothing => {}
            Ahead::Refused(_) => relay.discard(),
            Ahead::Closed(_) => {
                relay.finish();
                self.conclude(now_ms, actions);
            }
        }
    }

    pub(super) fn sent(&mut self, direction: Direction, bytes: usize, now_ms: u64) {
        let relay = self.relay_mut(direction);
        assert!(bytes <= relay.to_send, "more was sent than passed");
        relay.to_send -= bytes;
        self.moved(direction, bytes, now_ms);
        self.reach(direction, now_ms);
    }

    pub(super) fn pulled(&mut self, direction: Direction, bytes: usize) {
        let relay = self.relay_mut(direction);
        relay.track.passed(bytes as u64);
        relay.piped += bytes;
    }

    pub(super) fn pushed(&mut self, direction: Direction, bytes: usize, now_ms: u64) {
        let relay = self.relay_mut(direction);
        assert!(bytes <= relay.piped, "more left the pipe than was in it");
        relay.piped -= bytes;
        self.moved(direction, bytes, now_ms);
    }

    /// The bytes in the pipe were taken out of it: they are at hand now, and to be sent.
    ///
    /// # Panics
    /// When these are not as many: our bug.
    pub(super) fn take_out(&mut self, direction: Direction, bytes: Vec<u8>) {
        let relay = self.relay_mut(direction);
        assert!(bytes.len() == relay.piped && relay.held.is_empty(), "bytes beside those in the pipe");
        (relay.to_send, relay.piped) = (bytes.len(), 0);
        relay.held = bytes;
    }

    /// Bytes of frames went on.
    fn moved(&mut self, direction: Direction, bytes: usize, now_ms: u64) {
        match direction {
            Direction::Up => {
                self.tally.bytes_in = self.tally.bytes_in.saturating_add(bytes as u64);
                self.timers.keepalive.heard(now_ms);
            }
            Direction::Down => {
                self.tally.bytes_out = self.tally.bytes_out.saturating_add(bytes as u64);
                self.timers.keepalive.wrote(bytes);
            }
        }
    }

    /// Comes to what is behind the bytes to send, once they have gone.
    fn reach(&mut self, direction: Direction, now_ms: u64) {
        match self.relay_mut(direction).reached() {
            Ahead::Unjudged | Ahead::Nothing => {}
            Ahead::Closed(code) => self.peer_closed(direction, code, now_ms),
            Ahead::Refused(reason) => self.close(reason, now_ms),
        }
    }

    /// Composes a frame of the gateway's own, if it still has its place and its reason.
    pub(super) fn send_own_frame(
        &mut self,
        direction: Direction,
        mask: [u8; 4],
        unacknowledged: u64,
        now_ms: u64,
        actions: &mut Actions,
    ) {
        let relay = self.relay(direction);
        if relay.stage != Stage::Relaying || !relay.is_at_boundary() || !self.has_own_frame(direction) {
            return;
        }
        let frame = match &self.phase {
            Phase::Closing(closing) => {
                let frame = closing.frame(direction, self.words(closing), mask);
                self.relay_mut(direction).stage = Stage::SendingClose;
                frame
            }
            _ => {
                actions.pings = true;
                self.timers.keepalive.send(unacknowledged, now_ms)
            }
        };
        self.relay_mut(direction).own = frame.into_bytes();
    }

    pub(super) fn own_sent(
        &mut self,
        direction: Direction,
        bytes: usize,
        now_ms: u64,
        actions: &mut Actions,
    ) {
        if direction == Direction::Down {
            self.timers.keepalive.wrote(bytes);
        }
        let relay = self.relay_mut(direction);
        relay.own.drain(..bytes);
        if relay.own.is_empty() {
            relay.own = Vec::new();
            if relay.stage == Stage::SendingClose {
                self.close_sent(direction, now_ms, actions);
            }
        }
    }
}
