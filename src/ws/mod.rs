//! WebSocket framing (RFC 6455) as pure functions over bytes: no I/O, no clock.
//!
//! Only the header of a frame is parsed. Payloads are never unmasked or inflated, except those of control frames, which
//! have at most 125 bytes. A [`Track`] follows one direction of a tunnel and says how many of the available bytes the
//! relay may forward, so the relay always knows whether it is between two frames.

mod control;
mod frame;
pub mod fuzz;
mod handshake;
mod track;

pub use control::{ControlFrame, carries, close, ping};
pub use frame::{FrameRules, Header, Misbehaviour, Opcode, Sender};
pub use handshake::{KEY_BYTES, accept_key, is_key};
pub use track::{FrameRefusal, Passage, Position, Then, Track, Verdict};

/// The closing codes that the gateway sends (RFC 6455 §7.4.1, and the IANA registry for 1012).
pub mod code {
    /// The other side of the tunnel has gone, or the gateway shuts down.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the framing.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A rule of the gateway: the token has expired, or there were too many messages.
    pub const POLICY: u16 = 1008;
    /// A message is larger than the bound.
    pub const TOO_BIG: u16 = 1009;
    /// The gateway restarts, and the client should reconnect.
    pub const SERVICE_RESTART: u16 = 1012;
    /// A newer WebSocket of the user's has the place of this one: the client should not reconnect by itself. (Private
    /// use, RFC 6455 §7.4.2; as HTTP's 409.)
    pub const REPLACED: u16 = 4409;
}
