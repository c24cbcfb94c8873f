//! Whether the client is alive, by its frames, its pongs and what its kernel acknowledges.
//!
//! ```text
//!          silent for an interval         between two frames
//! quiet ────────────────────────▶ due ────────────────────────▶ sent ──two intervals──▶ unanswered
//!   ▲                              │                              │
//!   └───── any frame of the client's, or bytes of one ────────────┘
//! ```
//!
//! A client that reads slowly cannot answer a ping before it has read what was sent before it. So where a ping had to
//! wait for other bytes, a client whose kernel acknowledges more and more of them counts as alive.

use super::rules::TunnelRules;
use crate::ws::{self, ControlFrame, Header, Opcode};

/// What is known of the client's being alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// When the client last gave a sign of life.
    pub(super) heard_ms: u64,
    pub(super) ping: Ping,
    /// What our pings carry, so that their pongs are known.
    pub(super) ping_payload: [u8; 8],
    /// Bytes that were given to the client's socket, ours included.
    pub(super) written: u64,
    /// How many of them the client's kernel had acknowledged when that was last looked at; `None`: our ping did not
    /// have to wait, so what the client takes says nothing of it.
    pub(super) acknowledged: Option<u64>,
}

/// Our own ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ping {
    /// None is needed.
    Quiet,
    /// One goes out when the client's socket is between two frames.
    Due,
    /// One was sent at this time, and the client has not been heard since.
    Sent(u64),
}

impl Keepalive {
    /// The client was heard just now.
    pub fn new(ping_payload: [u8; 8], now_ms: u64) -> Keepalive {
        Keepalive { heard_ms: now_ms, ping: Ping::Quiet, ping_payload, written: 0, acknowledged: None }
    }

    /// The client gave a sign of life.
    pub fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.ping = Ping::Quiet;
    }

    /// Bytes went to the client's socket.
    pub fn wrote(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes as u64);
    }

    /// A ping waits for its place between two frames.
    pub fn is_ping_due(&self) -> bool {
        self.ping == Ping::Due
    }

    /// A ping becomes due. It may have to wait for the end of a frame.
    pub fn mark_due(&mut self, unacknowledged: u64) {
        self.ping = Ping::Due;
        self.acknowledged = Some(self.acknowledged_now(unacknowledged));
    }

    /// The ping that is due goes out now. Whatever the client says or takes from now on is a sign of life.
    pub fn send(&mut self, unacknowledged: u64, now_ms: u64) -> ControlFrame {
        self.ping = Ping::Sent(now_ms);
        self.acknowledged = (unacknowledged > 0).then(|| self.acknowledged_now(unacknowledged));
        ws::ping(&self.ping_payload)
    }

    /// A frame answers our ping.
    pub fn is_answer(&self, header: &Header, payload: &[u8]) -> bool {
        header.opcode == Opcode::Pong && ws::carries(header, payload, &self.ping_payload)
    }

    /// A ping is under way, and the client's kernel has acknowledged more than when that was last looked at.
    pub fn is_reading(&self, unacknowledged: u64) -> bool {
        let has_grown = |acknowledged| self.acknowledged_now(unacknowledged) > acknowledged;
        self.ping != Ping::Quiet && self.acknowledged.is_some_and(has_grown)
    }

    /// A client that is reading has as much time again.
    pub fn extend(&mut self, unacknowledged: u64, now_ms: u64) {
        self.heard_ms = now_ms;
        self.acknowledged = Some(self.acknowledged_now(unacknowledged));
        if let Ping::Sent(_) = self.ping {
            self.ping = Ping::Sent(now_ms);
        }
    }

    /// When the next ping becomes due.
    pub fn ping_ms(&self, rules: &TunnelRules) -> Option<u64> {
        let interval_ms = rules.ping_interval_ms.filter(|_| self.ping == Ping::Quiet)?;
        Some(self.heard_ms.saturating_add(interval_ms.get()))
    }

    /// When the ping that was sent counts as unanswered.
    pub fn pong_ms(&self, rules: &TunnelRules) -> Option<u64> {
        let Ping::Sent(sent_ms) = self.ping else { return None };
        Some(sent_ms.saturating_add(rules.ping_interval_ms?.get().saturating_mul(PONG_INTERVALS)))
    }

    /// When the client counts as idle.
    pub fn idle_ms(&self, rules: &TunnelRules) -> Option<u64> {
        Some(self.heard_ms.saturating_add(rules.idle_ms?.get()))
    }

    fn acknowledged_now(&self, unacknowledged: u64) -> u64 {
        self.written.saturating_sub(unacknowledged)
    }
}

/// A ping that is not answered within this many intervals ends the tunnel.
const PONG_INTERVALS: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::websocket::tunnel::testing::rules;

    fn sent(written: usize, unacknowledged: u64) -> Keepalive {
        let mut keepalive = Keepalive::new(*b"12345678", 1_000);
        keepalive.wrote(written);
        keepalive.mark_due(unacknowledged);
        assert_eq!(keepalive.send(unacknowledged, 2_000).as_bytes(), b"\x89\x0812345678");
        keepalive
    }

    #[test]
    fn a_ping_is_due_an_interval_after_the_last_sign_of_life_and_its_pong_two_intervals_later() {
        let rules = rules();
        let mut keepalive = Keepalive::new(*b"12345678", 1_000);
        assert_eq!((keepalive.ping_ms(&rules), keepalive.pong_ms(&rules)), (Some(31_000), None));
        keepalive.mark_due(0);
        assert_eq!((keepalive.ping_ms(&rules), keepalive.pong_ms(&rules)), (None, None));
        keepalive.send(0, 40_000);
        assert_eq!((keepalive.ping_ms(&rules), keepalive.pong_ms(&rules)), (None, Some(100_000)));
        keepalive.heard(50_000);
        assert_eq!((keepalive.ping_ms(&rules), keepalive.pong_ms(&rules)), (Some(80_000), None));
        assert_eq!(keepalive.idle_ms(&rules), Some(170_000));
    }

    #[test]
    fn without_an_interval_or_an_idle_timeout_nothing_is_ever_due() {
        let never = TunnelRules { ping_interval_ms: None, idle_ms: None, ..rules() };
        let keepalive = Keepalive::new([0; 8], 0);
        assert_eq!((keepalive.ping_ms(&never), keepalive.idle_ms(&never)), (None, None));
    }

    #[test]
    fn a_client_that_takes_what_stood_before_the_ping_is_reading() {
        let mut keepalive = sent(1_000, 600);
        assert!(!keepalive.is_reading(600) && keepalive.is_reading(599));
        keepalive.extend(500, 9_000);
        assert_eq!((keepalive.heard_ms, keepalive.ping), (9_000, Ping::Sent(9_000)));
        assert!(!keepalive.is_reading(500) && keepalive.is_reading(0));
    }

    #[test]
    fn what_a_client_takes_says_nothing_where_the_ping_did_not_have_to_wait() {
        let mut keepalive = sent(1_000, 0);
        keepalive.wrote(10_000);
        assert!(!keepalive.is_reading(0));
    }

    #[test]
    fn only_a_pong_with_our_mark_answers() {
        let keepalive = Keepalive::new(*b"12345678", 0);
        let header = |opcode| Header { fin: true, opcode, mask: None, payload: 8, length: 2 };
        assert!(keepalive.is_answer(&header(Opcode::Pong), b"12345678"));
        assert!(!keepalive.is_answer(&header(Opcode::Pong), b"12345679"));
        assert!(!keepalive.is_answer(&header(Opcode::Ping), b"12345678"));
    }
}
