//! The state of a tunnel as bytes, from which another process goes on with a live tunnel, given both sockets
//! (`crossing`).
//!
//! ```text
//! ┌─────────┬───────┬───────┬───────────┬────────┬───────────┬───────┬──────────┬────────────┬─────────┐
//! │ version │ rules │ phase │ ownership │ timers │ allowance │ tally │ relay up │ relay down │ context │
//! └─────────┴───────┴───────┴───────────┴────────┴───────────┴───────┴──────────┴────────────┴─────────┘
//! ```
//!
//! It is at most [`FIXED_BYTES_MAX`] long, besides the path of the handshake and the bytes that have not gone on yet.
//! What is evidence and no state is not in it: the slots of the core and of the user are the other process's to give.
//! Nor is the drain: the process that drains is the one that the tunnel leaves.

mod codec;
mod parts;

pub use self::codec::ReadError;

use self::codec::{Reader, Saved, Writer};
use super::direction::Direction;
use super::phase::Phase;
use super::registration::Registration;
use super::relay::{Ahead, Relay, Stage, track};
use super::rules::TunnelRules;
use super::state::TunnelState;
use crate::limits::{HEAD_BYTES_MAX, PIPE_BYTES, block_bytes};
use crate::ws::ControlFrame;

/// Why a state cannot be written down now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteError {
    /// Payload is in a pipe, out of reach: the tunnel is to go on here until it has left.
    BytesInPipe,
    /// The tunnel is over.
    Over,
}

impl TunnelState {
    /// Appends the state to `out`. Bytes at hand belong into [`TunnelState::held_mut`] before.
    ///
    /// # Errors
    /// While payload is in a pipe, and when the tunnel is over.
    pub fn write(&self, out: &mut Vec<u8>, now_ms: u64) -> Result<(), WriteError> {
        if self.conclusion().is_some() {
            return Err(WriteError::Over);
        }
        if self.up.piped > 0 || self.down.piped > 0 {
            return Err(WriteError::BytesInPipe);
        }
        let to = &mut Writer::new(out, now_ms);
        VERSION.write(to);
        self.rules.write(to);
        self.has_extension.write(to);
        self.phase.write(to);
        self.end.write(to);
        self.close_code.write(to);
        self.farewell.write(to);
        self.ownership.write(to);
        self.timers.write(to);
        self.allowance.write(to);
        self.tally.write(to);
        write_relay(&self.up, to);
        write_relay(&self.down, to);
        self.context.write(to);
        Ok(())
    }

    /// Reads a state back. It goes on as if no time had passed.
    ///
    /// # Errors
    /// When the bytes are no state that a tunnel can be in.
    pub fn read(bytes: &[u8], now_ms: u64) -> Result<TunnelState, ReadError> {
        let from = &mut Reader::new(bytes, now_ms);
        let version = u8::read(from)?;
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        let (rules, has_extension) = (TunnelRules::read(from)?, bool::read(from)?);
        let state = TunnelState {
            rules,
            has_extension,
            stays: false,
            phase: Saved::read(from)?,
            end: Saved::read(from)?,
            close_code: Saved::read(from)?,
            farewell: Saved::read(from)?,
            ownership: Saved::read(from)?,
            timers: Saved::read(from)?,
            allowance: Saved::read(from)?,
            tally: Saved::read(from)?,
            up: read_relay(from, Direction::Up, &rules, has_extension)?,
            down: read_relay(from, Direction::Down, &rules, has_extension)?,
            context: Saved::read(from)?,
        };
        from.end()?;
        if state.is_consistent() { Ok(state) } else { Err(ReadError::Inconsistent) }
    }

    /// A tunnel can be in this state. In any other it could wait for what never comes.
    fn is_consistent(&self) -> bool {
        let are_both_over = self.up.is_over() && self.down.is_over();
        let is_phase_possible = match self.phase {
            Phase::Open | Phase::PeerClosing { .. } | Phase::Closing(_) => !are_both_over,
            Phase::Broken(direction) => {
                let is_broken = matches!(self.relay(direction).stage, Stage::Discarding | Stage::Over);
                is_broken && !self.relay(direction.opposite()).is_over()
            }
            Phase::Over(_) => false,
        };
        let closes = matches!(self.phase, Phase::Closing(_));
        let is_stage_possible = |direction: Direction| match self.relay(direction).stage {
            Stage::SendingClose => closes,
            Stage::AwaitingClose => closes && direction == Direction::Up,
            Stage::Relaying | Stage::Discarding | Stage::Over => true,
        };
        is_phase_possible && Direction::BOTH.into_iter().all(is_stage_possible)
    }
}

impl Registration {
    /// Appends the registration to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        Saved::write(self, &mut Writer::new(out, 0));
    }

    /// Reads a registration back.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(bytes: &[u8]) -> Result<Registration, ReadError> {
        let from = &mut Reader::new(bytes, 0);
        let registration = Saved::read(from)?;
        from.end()?;
        Ok(registration)
    }
}

fn write_relay(relay: &Relay, to: &mut Writer<'_>) {
    relay.stage.write(to);
    relay.track.position().write(to);
    relay.to_send.write(to);
    relay.to_skip.write(to);
    relay.ahead.write(to);
    relay.own.write(to);
    relay.held.write(to);
    relay.expects_bulk.write(to);
}

fn read_relay(
    from: &mut Reader<'_>,
    direction: Direction,
    rules: &TunnelRules,
    has_extension: bool,
) -> Result<Relay, ReadError> {
    let relay = Relay {
        stage: Saved::read(from)?,
        track: track(direction, rules, has_extension, Saved::read(from)?),
        to_send: Saved::read(from)?,
        to_skip: Saved::read(from)?,
        ahead: Saved::read(from)?,
        own: Saved::read(from)?,
        held: Saved::read(from)?,
        expects_bulk: Saved::read(from)?,
        piped: 0,
    };
    if is_relay_consistent(&relay) { Ok(relay) } else { Err(ReadError::Inconsistent) }
}

fn is_relay_consistent(relay: &Relay) -> bool {
    let counted = relay.to_send.checked_add(relay.to_skip);
    let is_counted =
        relay.held.len() <= block_bytes(HEAD_BYTES_MAX) && counted.is_some_and(|all| all <= relay.held.len());
    let is_own_possible = relay.own.len() <= ControlFrame::BYTES_MAX
        && match relay.stage {
            Stage::Relaying => true,
            Stage::SendingClose => !relay.own.is_empty(),
            Stage::AwaitingClose | Stage::Discarding | Stage::Over => relay.own.is_empty(),
        };
    let is_ahead_possible = match relay.ahead {
        Ahead::Unjudged | Ahead::Nothing => true,
        Ahead::Closed(_) | Ahead::Refused(_) => relay.to_send > 0,
    };
    let keeps_nothing = match relay.stage {
        Stage::Discarding | Stage::Over => relay.held.is_empty() && relay.ahead == Ahead::Nothing,
        Stage::Relaying | Stage::SendingClose | Stage::AwaitingClose => true,
    };
    is_counted && is_own_possible && is_ahead_possible && keeps_nothing
}

// What was taken out of a pipe can be written as well.
const _: () = assert!(PIPE_BYTES <= block_bytes(HEAD_BYTES_MAX));

/// Changes with every change of what is written, the registration's too, and of the order in which it is.
const VERSION: u8 = 5;
/// The most that a state takes, in bytes, without the path of the handshake and the bytes that have not gone on yet.
pub const FIXED_BYTES_MAX: usize = 2_176;
