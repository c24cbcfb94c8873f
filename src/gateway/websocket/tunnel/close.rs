//! How a tunnel says goodbye: what each side is told, when the drain comes to whom, how long it may take.

use std::cell::Cell;

use super::{Side, Tunnel};
use crate::clock;
use crate::limits::{DRAIN_CUT_MS, TUNNEL_CLOSE_MS};
use crate::telemetry::TunnelEnd;
use crate::ws::{self, ControlFrame, code};

/// A goodbye that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Farewell {
    end: TunnelEnd,
    /// Then the tunnel is cut off.
    pub(super) deadline_ms: u64,
}

impl Farewell {
    /// What the client is told, and why.
    fn to_client(self) -> (u16, &'static str) {
        match self.end {
            TunnelEnd::Drained => (code::SERVICE_RESTART, "service restart"),
            TunnelEnd::TokenExpired => (code::POLICY, "token expired"),
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
        match self.end {
            TunnelEnd::UpstreamMisbehaved => code::PROTOCOL_ERROR,
            _ => code::GOING_AWAY,
        }
    }

    /// What the client sends can no longer be followed, so its own Close frame will not be found.
    pub(super) fn is_deaf(self) -> bool {
        matches!(
            self.end,
            TunnelEnd::ClientMisbehaved | TunnelEnd::MessageTooBig | TunnelEnd::TooManyMessages
        )
    }

    /// The Close frame for where this course leads. What goes upstream is a client's, so it is masked.
    pub(super) fn frame(self, side: Side, mask: [u8; 4]) -> ControlFrame {
        let (code, reason) = self.to_client();
        match side {
            Side::Up => ws::close(self.to_upstream(), reason, Some(mask)),
            Side::Down => ws::close(code, reason, None),
        }
    }
}

impl Tunnel {
    /// Begins to say goodbye, unless that is under way.
    pub(super) fn part(&self, end: TunnelEnd) {
        if self.farewell.get().is_some() {
            return;
        }
        let now_ms = clock::now_ms();
        // "the socket has until the deadline": a drain leaves as much time as there is.
        let deadline_ms = match end {
            TunnelEnd::Drained => self.resources.drain_schedule.deadline_ms().max(now_ms),
            _ => now_ms + TUNNEL_CLOSE_MS,
        };
        let farewell = Farewell { end, deadline_ms };
        self.farewell.set(Some(farewell));
        self.close_code.set(self.close_code.get().or(Some(farewell.to_client().0)));
        self.saw_end(end);
    }
}

/// When a drain comes to which tunnel: one after the other, evenly over the first part of the time that there is, so
/// that their clients do not come back all at once.
#[derive(Debug, Default)]
pub struct DrainSchedule {
    begun_ms: Cell<u64>,
    timeout_ms: Cell<u64>,
    /// Tunnels that there were when the drain began.
    count: Cell<u64>,
    /// Whose turn it is next.
    turn: Cell<u64>,
}

impl DrainSchedule {
    /// The drain begins with so many tunnels and has so much time.
    pub fn begin(&self, now_ms: u64, count: u64, timeout_ms: u64) {
        self.begun_ms.set(now_ms);
        self.timeout_ms.set(timeout_ms);
        self.count.set(count);
    }

    /// When the next tunnel that asks is to leave.
    pub fn next_ms(&self) -> u64 {
        let turn = self.turn.replace(self.turn.get() + 1);
        let window_ms = self.timeout_ms.get() / 100 * WINDOW_PERCENT;
        // A tunnel that began after the drain leaves with the last.
        let count = self.count.get().max(1);
        self.begun_ms.get() + window_ms * turn.min(count) / count
    }

    /// When what is left is cut off: a moment before the process ends, so that what is remembered of it is told.
    pub fn deadline_ms(&self) -> u64 {
        let timeout_ms = self.timeout_ms.get();
        self.begun_ms.get() + timeout_ms - DRAIN_CUT_MS.min(timeout_ms / 4)
    }
}

/// The part of `SHUTDOWN_TIMEOUT` over which goodbyes are spread, in percent. The rest is for closing handshakes.
const WINDOW_PERCENT: u64 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn departures_are_spread_over_the_first_four_fifths() {
        let drain_schedule = DrainSchedule::default();
        drain_schedule.begin(1_000, 4, 10_000);
        let times: Vec<u64> = (0..6).map(|_| drain_schedule.next_ms()).collect();
        assert_eq!(times, [1_000, 3_000, 5_000, 7_000, 9_000, 9_000]);
        assert_eq!(drain_schedule.deadline_ms(), 11_000 - DRAIN_CUT_MS);
    }

    #[test]
    fn every_end_has_its_codes() {
        for (end, to_client, to_upstream) in [
            (TunnelEnd::Drained, 1012, 1001),
            (TunnelEnd::TokenExpired, 1008, 1001),
            (TunnelEnd::TooManyMessages, 1008, 1001),
            (TunnelEnd::MessageTooBig, 1009, 1001),
            (TunnelEnd::ClientMisbehaved, 1002, 1001),
            (TunnelEnd::UpstreamMisbehaved, 1002, 1002),
            (TunnelEnd::LifetimeOver, 1001, 1001),
            (TunnelEnd::Idle, 1001, 1001),
            (TunnelEnd::PingUnanswered, 1001, 1001),
        ] {
            let farewell = Farewell { end, deadline_ms: 0 };
            assert_eq!((farewell.to_client().0, farewell.to_upstream()), (to_client, to_upstream), "{end:?}");
        }
    }
}
