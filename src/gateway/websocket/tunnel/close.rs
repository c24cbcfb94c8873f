//! The close handshake that the gateway begins: which codes the peers get, and how long it may take.

use crate::limits::TUNNEL_CLOSE_MS;
use crate::telemetry::TunnelEnd;
use crate::ws::{self, ControlFrame, code};

use super::direction::Direction;

/// A close handshake of the gateway's that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// Why the gateway closes. It decides the codes.
    pub(super) reason: TunnelEnd,
    /// When the tunnel is cut off, whatever is missing.
    pub(super) deadline_ms: u64,
    /// Our Close frame has gone to the client.
    pub(super) has_told_client: bool,
    /// When the client had nothing more to say; `None`: it may have.
    pub(super) client_done_ms: Option<u64>,
}

impl Closing {
    /// No Close frame has been sent yet.
    pub fn new(reason: TunnelEnd, deadline_ms: u64) -> Closing {
        Closing { reason, deadline_ms, has_told_client: false, client_done_ms: None }
    }

    /// The code that the client gets, and the reason in words.
    pub fn to_client(&self) -> (u16, &'static str) {
        match self.reason {
            TunnelEnd::Drained => (code::SERVICE_RESTART, "service restart"),
            TunnelEnd::TokenExpired => (code::POLICY, "token expired"),
            TunnelEnd::Revoked => (code::POLICY, "revoked"),
            TunnelEnd::Dismissed => (code::POLICY, ""),
            TunnelEnd::Replaced => (code::REPLACED, "replaced"),
            TunnelEnd::TooManyMessages => (code::POLICY, "too many messages"),
            TunnelEnd::MessageTooBig => (code::TOO_BIG, "message too big"),
            TunnelEnd::ClientMisbehaved | TunnelEnd::UpstreamMisbehaved => {
                (code::PROTOCOL_ERROR, "protocol error")
            }
            TunnelEnd::LifetimeOver => (code::GOING_AWAY, "lifetime over"),
            TunnelEnd::Idle => (code::GOING_AWAY, "idle"),
            TunnelEnd::PingUnanswered => (code::GOING_AWAY, "ping unanswered"),
            TunnelEnd::ClientClosed
            | TunnelEnd::UpstreamClosed
            | TunnelEnd::ClientGone
            | TunnelEnd::UpstreamGone => (code::GOING_AWAY, ""),
        }
    }

    fn to_upstream(self) -> u16 {
        match self.reason {
            TunnelEnd::UpstreamMisbehaved => code::PROTOCOL_ERROR,
            _ => code::GOING_AWAY,
        }
    }

    /// The framing of what the client sends is lost: its own Close frame will not be found.
    pub fn is_framing_lost(&self) -> bool {
        matches!(
            self.reason,
            TunnelEnd::ClientMisbehaved | TunnelEnd::MessageTooBig | TunnelEnd::TooManyMessages
        )
    }

    /// The Close frame for the sink of a direction, with what the client is told. A frame to the upstream is a
    /// client's, so it is masked.
    pub fn frame(&self, direction: Direction, (code, reason): (u16, &str), mask: [u8; 4]) -> ControlFrame {
        match direction {
            Direction::Up => ws::close(self.to_upstream(), reason, Some(mask)),
            Direction::Down => ws::close(code, reason, None),
        }
    }

    /// When the tunnel is cut off: at the deadline, or some time after the client was done, if that is earlier.
    pub fn cut_ms(&self) -> u64 {
        let after_client = self.client_done_ms.map(|done_ms| done_ms.saturating_add(TUNNEL_CLOSE_MS));
        after_client.map_or(self.deadline_ms, |cut_ms| cut_ms.min(self.deadline_ms))
    }

    /// Both Close frames of the client's connection have passed: "The server MUST close first" (RFC 6455 §7.1.1).
    pub fn may_end_client(&self) -> bool {
        self.has_told_client && self.client_done_ms.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_codes() {
        for (reason, to_client, to_upstream) in [
            (TunnelEnd::Drained, 1012, 1001),
            (TunnelEnd::TokenExpired, 1008, 1001),
            (TunnelEnd::Revoked, 1008, 1001),
            (TunnelEnd::Dismissed, 1008, 1001),
            (TunnelEnd::Replaced, 4409, 1001),
            (TunnelEnd::TooManyMessages, 1008, 1001),
            (TunnelEnd::MessageTooBig, 1009, 1001),
            (TunnelEnd::ClientMisbehaved, 1002, 1001),
            (TunnelEnd::UpstreamMisbehaved, 1002, 1002),
            (TunnelEnd::LifetimeOver, 1001, 1001),
            (TunnelEnd::Idle, 1001, 1001),
            (TunnelEnd::PingUnanswered, 1001, 1001),
        ] {
            let closing = Closing::new(reason, 0);
            assert_eq!(
                (closing.to_client().0, closing.to_upstream()),
                (to_client, to_upstream),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn it_is_over_at_the_deadline_or_some_time_after_the_client_was_done() {
        let mut closing = Closing::new(TunnelEnd::Drained, 20_000);
        assert_eq!(closing.cut_ms(), 20_000);
        closing.client_done_ms = Some(1_000);
        assert_eq!(closing.cut_ms(), 1_000 + TUNNEL_CLOSE_MS);
        closing.client_done_ms = Some(19_000);
        assert_eq!(closing.cut_ms(), 20_000);
    }
}
