//! How a tunnel comes to its end: by its peers, by a deadline, or by the gateway's own close handshake.

use super::close::Closing;
use super::direction::Direction;
use super::event::Actions;
use super::farewell::Farewell;
use super::phase::{Conclusion, Phase};
use super::relay::{Ahead, Stage};
use super::state::TunnelState;
use super::timers::{Due, Expiry};
use crate::auth::Holder;
use crate::limits::TUNNEL_CLOSE_MS;
use crate::telemetry::TunnelEnd;

impl TunnelState {
    /// A Close frame of a peer's has passed.
    pub(super) fn peer_closed(&mut self, direction: Direction, code: Option<u16>, now_ms: u64) {
        self.relay_mut(direction).discard();
        if self.phase.is_unannounced() {
            self.phase = Phase::PeerClosing { since_ms: now_ms };
            self.close_code = self.close_code.or(code);
        }
        self.end_with(direction.source_closed());
    }

    /// The gateway begins to close the tunnel, unless it does so already.
    pub(super) fn close(&mut self, reason: TunnelEnd, now_ms: u64) {
        if matches!(self.phase, Phase::Closing(_) | Phase::Over(_)) {
            return;
        }
        // "the socket has until the deadline": a drain leaves as much time as there is.
        let deadline_ms = match self.timers.drain {
            Some(drain) if reason == TunnelEnd::Drained => drain.cut_ms.max(now_ms),
            _ => now_ms.saturating_add(TUNNEL_CLOSE_MS),
        };
        let closing = Closing::new(reason, deadline_ms);
        self.close_code = self.close_code.or(Some(self.words(&closing).0));
        self.phase = Phase::Closing(closing);
        self.end_with(reason);
    }

    /// Somebody else wants the tunnel to end, and has words for the client.
    pub(super) fn ordered(&mut self, end: TunnelEnd, farewell: &Farewell, now_ms: u64) {
        if !matches!(self.phase, Phase::Closing(_) | Phase::Over(_)) {
            self.farewell = Some(Box::new(farewell.clone()));
            self.close(end, now_ms);
        }
    }

    /// The code and the reason that the client gets.
    pub(super) fn words(&self, closing: &Closing) -> (u16, &str) {
        self.farewell.as_ref().map_or(closing.to_client(), |farewell| (farewell.code(), farewell.reason()))
    }

    /// The holder has another token. Where the token's end does not matter, neither does this one's.
    pub(super) fn renewed(&mut self, holder: Holder, unix_s: u64, now_ms: u64) {
        if let Some(ownership) = &mut self.ownership {
            ownership.holder = holder;
        }
        if self.timers.expiry.is_some() {
            self.timers.expiry = Some(Expiry::new(holder.expires_unix_s, unix_s, now_ms));
        }
    }

    /// Our Close frame has gone to the sink of this direction.
    pub(super) fn close_sent(&mut self, direction: Direction, now_ms: u64, actions: &mut Actions) {
        let is_up_over = self.up.is_over();
        let Phase::Closing(closing) = &mut self.phase else { return };
        match direction {
            Direction::Down => {
                closing.has_told_client = true;
                self.down.discard();
            }
            Direction::Up if closing.is_framing_lost() => self.up.discard(),
            Direction::Up => {
                self.up.stage = Stage::AwaitingClose;
                self.up.ahead = Ahead::Unjudged;
                return;
            }
        }
        // Where the framing is lost, the client's Close frame will not be found: nothing is waited for.
        if direction == Direction::Up || is_up_over {
            closing.client_done_ms = closing.client_done_ms.or(Some(now_ms));
        }
        actions.ends_client |= closing.may_end_client();
    }

    pub(super) fn source_ended(&mut self, direction: Direction, now_ms: u64, actions: &mut Actions) {
        match self.relay(direction).stage {
            Stage::Over => return,
            Stage::AwaitingClose => {}
            Stage::Discarding => actions.end(direction),
            Stage::Relaying | Stage::SendingClose => {
                self.end_with(direction.source_gone());
                // After a broken sink comes a reset. An end in order before it would hide that.
                if !matches!(self.phase, Phase::Broken(_)) {
                    actions.end(direction);
                }
            }
        }
        self.relay_mut(direction).finish();
        self.conclude(now_ms, actions);
    }

    pub(super) fn source_lost(&mut self, direction: Direction, now_ms: u64, actions: &mut Actions) {
        match self.relay(direction).stage {
            Stage::Relaying | Stage::SendingClose => {
                self.end_with(direction.source_gone());
                let is_unannounced = self.phase.is_unannounced();
                let conclusion = if is_unannounced { Conclusion::Reset } else { Conclusion::Graceful };
                self.phase = Phase::Over(conclusion);
            }
            // Nothing of it would have passed.
            Stage::AwaitingClose | Stage::Discarding | Stage::Over => {
                self.source_ended(direction, now_ms, actions);
            }
        }
    }

    /// What the source sends has nowhere to go. What the sink's peer has sent, perhaps a Close frame, is still to be
    /// read by the other direction.
    pub(super) fn sink_lost(&mut self, direction: Direction, now_ms: u64, actions: &mut Actions) {
        if self.relay(direction).is_over() {
            return;
        }
        self.relay_mut(direction).discard();
        if self.phase == Phase::Open {
            self.phase = Phase::Broken(direction);
        }
        self.conclude(now_ms, actions);
    }

    /// Draws the conclusion from the end of a direction.
    pub(super) fn conclude(&mut self, now_ms: u64, actions: &mut Actions) {
        if self.up.is_over() && self.down.is_over() {
            self.phase = Phase::Over(Conclusion::Graceful);
            return;
        }
        let is_up_over = self.up.is_over();
        match &mut self.phase {
            Phase::Broken(direction) => {
                let other = direction.opposite();
                if self.relay(other).is_over() {
                    self.end_with(other.source_gone());
                    self.phase = Phase::Over(Conclusion::Reset);
                }
            }
            Phase::Closing(closing) if is_up_over => {
                closing.client_done_ms = closing.client_done_ms.or(Some(now_ms));
                actions.ends_client |= closing.may_end_client();
            }
            Phase::Open | Phase::PeerClosing { .. } | Phase::Closing(_) | Phase::Over(_) => {}
        }
    }

    /// Does what is due first.
    pub(super) fn deadline(&mut self, unix_s: u64, unacknowledged: u64, now_ms: u64) {
        if let Some(cut_ms) = self.cut_ms() {
            if cut_ms <= now_ms {
                self.phase = Phase::Over(Conclusion::Graceful);
            }
            return;
        }
        let due = self.timers.due(&self.rules, now_ms);
        let keepalive = &mut self.timers.keepalive;
        match due {
            None => {}
            Some(Due::Departure) => self.close(TunnelEnd::Drained, now_ms),
            Some(Due::TokenLook) => self.look_at_token(unix_s, now_ms),
            Some(Due::LifetimeEnd) => self.close(TunnelEnd::LifetimeOver, now_ms),
            Some(Due::Pong | Due::Idle) if keepalive.is_reading(unacknowledged) => {
                keepalive.extend(unacknowledged, now_ms);
            }
            Some(Due::Pong) => self.close(TunnelEnd::PingUnanswered, now_ms),
            Some(Due::Idle) => self.close(TunnelEnd::Idle, now_ms),
            Some(Due::Ping) => keepalive.mark_due(unacknowledged),
        }
    }

    fn look_at_token(&mut self, unix_s: u64, now_ms: u64) {
        match self.timers.expiry {
            Some(expiry) if expiry.is_over(unix_s) => self.close(TunnelEnd::TokenExpired, now_ms),
            Some(expiry) => self.timers.expiry = Some(Expiry::new(expiry.unix_s, unix_s, now_ms)),
            None => {}
        }
    }

    /// Records why the tunnel ends. The first reason wins.
    fn end_with(&mut self, end: TunnelEnd) {
        self.end = self.end.or(Some(end));
    }
}
