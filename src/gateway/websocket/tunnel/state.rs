//! A tunnel as a pure state machine: events and times go in; actions, work and deadlines come out. No I/O, no clock.
//!
//! What a task does with it: ask for the [`Work`] of a direction, do it, say with an [`Event`] what came of it, and
//! come back at the next deadline at the latest.

use super::access_context::AccessContext;
use super::allowance::Allowance;
use super::direction::Direction;
use super::event::{Actions, Event};
use super::farewell::Farewell;
use super::judge::Tally;
use super::keepalive::Keepalive;
use super::ownership::Ownership;
use super::phase::{Conclusion, Phase};
use super::relay::{Relay, Work};
use super::rules::TunnelRules;
use super::timers::{Expiry, TunnelTimers};
use crate::telemetry::TunnelEnd;

/// The whole state of a tunnel, without its sockets and slots.
#[derive(Debug, Clone, PartialEq)]
pub struct TunnelState {
    pub(super) rules: TunnelRules,
    pub(super) has_extension: bool,
    /// It does not move to another process. Like the drain, this is of the process that the tunnel is in.
    pub(super) stays: bool,
    pub(super) phase: Phase,
    /// Why the tunnel ends: the first reason wins.
    pub(super) end: Option<TunnelEnd>,
    /// The code of the first Close frame that passed, or that the gateway sent to the client.
    pub(super) close_code: Option<u16>,
    /// What the client is told instead of what the reason says.
    pub(super) farewell: Option<Box<Farewell>>,
    /// Who holds it; `None`: nobody, because its route needs no user.
    pub(super) ownership: Option<Box<Ownership>>,
    pub(super) timers: TunnelTimers,
    pub(super) allowance: Allowance,
    pub(super) tally: Tally,
    pub(super) up: Relay,
    pub(super) down: Relay,
    /// What the access log says about the handshake; `None`: there is no log.
    pub(super) context: Option<Box<AccessContext>>,
}

/// How a tunnel begins.
#[derive(Debug)]
pub struct Beginning {
    /// The 101 named an extension.
    pub has_extension: bool,
    /// When the token's end closes the tunnel, in seconds since 1970; `None`: it does not.
    pub expires_unix_s: Option<u64>,
    /// The wall clock, in seconds since 1970.
    pub unix_s: u64,
    /// What pings carry.
    pub ping_payload: [u8; 8],
    /// What the client sent behind its handshake.
    pub early_in: Vec<u8>,
    /// What the upstream sent behind its 101.
    pub early_out: Vec<u8>,
    /// Who holds the tunnel.
    pub ownership: Option<Box<Ownership>>,
    /// What the access log says about the handshake.
    pub context: Option<Box<AccessContext>>,
}

impl TunnelState {
    /// A tunnel right after its handshake.
    pub fn new(rules: TunnelRules, beginning: Beginning, now_ms: u64) -> TunnelState {
        let Beginning { has_extension, expires_unix_s, unix_s, ping_payload, early_in, early_out, .. } =
            beginning;
        TunnelState {
            up: Relay::new(Direction::Up, &rules, has_extension, early_in),
            down: Relay::new(Direction::Down, &rules, has_extension, early_out),
            phase: Phase::Open,
            end: None,
            close_code: None,
            timers: TunnelTimers {
                begun_ms: now_ms,
                expiry: expires_unix_s.map(|expires| Expiry::new(expires, unix_s, now_ms)),
                drain: None,
                keepalive: Keepalive::new(ping_payload, now_ms),
            },
            allowance: Allowance::new(&rules, now_ms),
            tally: Tally::default(),
            has_extension,
            stays: false,
            farewell: None,
            ownership: beginning.ownership,
            context: beginning.context,
            rules,
        }
    }

    /// When it began, by the coarse clock.
    pub fn begun_ms(&self) -> u64 {
        self.timers.begun_ms
    }

    /// What is to be done for a direction next.
    pub fn work(&self, direction: Direction) -> Work {
        match self.phase {
            Phase::Over(_) => Work::Rest,
            _ => self.relay(direction).work(&self.rules, self.has_own_frame(direction)),
        }
    }

    /// The next deadline of a timer. Each event may move it forward or back.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Open | Phase::Broken(_) => self.timers.next_ms(&self.rules),
            Phase::PeerClosing { .. } | Phase::Closing(_) | Phase::Over(_) => self.cut_ms(),
        }
    }

    /// Applies an event.
    ///
    /// # Panics
    /// When more bytes went on than there was work for: our bug.
    pub fn on(&mut self, event: Event<'_>, now_ms: u64) -> Actions {
        let mut actions = Actions::default();
        if self.conclusion().is_some() {
            return actions;
        }
        match event {
            Event::Bytes(direction, bytes) => self.judge(direction, bytes, now_ms, &mut actions),
            Event::Sent(direction, bytes) => self.sent(direction, bytes, now_ms),
            Event::OwnSent(direction, bytes) => self.own_sent(direction, bytes, now_ms, &mut actions),
            Event::Skipped(direction) => self.relay_mut(direction).to_skip = 0,
            Event::Pulled(direction, bytes) => self.pulled(direction, bytes),
            Event::Pushed(direction, bytes) => self.pushed(direction, bytes, now_ms),
            Event::Boundary { direction, mask, unacknowledged } => {
                self.send_own_frame(direction, mask, unacknowledged, now_ms, &mut actions);
            }
            Event::Ended(direction) => self.source_ended(direction, now_ms, &mut actions),
            Event::SourceLost(direction) => self.source_lost(direction, now_ms, &mut actions),
            Event::SinkLost(direction) => self.sink_lost(direction, now_ms, &mut actions),
            Event::Drain(drain) => self.timers.drain = Some(drain),
            Event::Ordered { end, farewell } => self.ordered(end, farewell, now_ms),
            Event::Renewed { holder, unix_s } => self.renewed(holder, unix_s, now_ms),
            Event::Deadline { unix_s, unacknowledged } => self.deadline(unix_s, unacknowledged, now_ms),
        }
        actions
    }

    /// How both sockets are to be closed; `None`: the tunnel goes on.
    pub fn conclusion(&self) -> Option<Conclusion> {
        match self.phase {
            Phase::Over(conclusion) => Some(conclusion),
            _ => None,
        }
    }

    /// The core's drain is known here.
    pub fn is_draining(&self) -> bool {
        self.timers.drain.is_some()
    }

    /// What is left to send of a frame of the gateway's own.
    pub fn own_frame(&self, direction: Direction) -> &[u8] {
        &self.relay(direction).own
    }

    /// The bytes at hand of a direction while no buffer is borrowed for them.
    pub fn held_mut(&mut self, direction: Direction) -> &mut Vec<u8> {
        &mut self.relay_mut(direction).held
    }

    /// What went through so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Why the tunnel ended, and the code of the first Close frame.
    pub fn end(&self) -> (TunnelEnd, Option<u16>) {
        (self.end.unwrap_or(TunnelEnd::ClientGone), self.close_code)
    }

    /// Who holds the tunnel.
    pub fn ownership(&self) -> Option<Ownership> {
        self.ownership.as_deref().copied()
    }

    /// When its lifetime is over, in seconds since 1970, as seen at this moment of both clocks; `None`: it has no
    /// bound.
    pub fn lifetime_ends_unix_s(&self, unix_s: u64, now_ms: u64) -> Option<u64> {
        let ends_ms = self.timers.begun_ms.saturating_add(self.rules.lifetime_ms?.get());
        Some(unix_s.saturating_add(ends_ms.saturating_sub(now_ms) / 1_000))
    }

    /// What the access log says about the handshake.
    pub fn context(&self) -> Option<&AccessContext> {
        self.context.as_deref()
    }

    pub(super) fn relay(&self, direction: Direction) -> &Relay {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    pub(super) fn relay_mut(&mut self, direction: Direction) -> &mut Relay {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// A frame of the gateway's own waits for its place in front of the sink of this direction.
    pub(super) fn has_own_frame(&self, direction: Direction) -> bool {
        let pings = direction == Direction::Down && self.timers.keepalive.is_ping_due();
        pings || matches!(self.phase, Phase::Closing(_))
    }

    /// When the tunnel is cut off. Whatever has begun to end does so before the process.
    pub(super) fn cut_ms(&self) -> Option<u64> {
        let cut_ms = self.phase.cut_ms()?;
        Some(self.timers.drain.map_or(cut_ms, |drain| cut_ms.min(drain.cut_ms)))
    }
}
