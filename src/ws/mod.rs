//! WebSocket (RFC 6455) as pure functions over bytes: no I/O, no clock.
//!
//! Of a frame only its header is read. Payloads are never unmasked or inflated, but for those of control frames,
//! which are at most 125 bytes. A [`Track`] follows one direction of a tunnel and says how many of the bytes at
//! hand go on, so that the relay always knows where it stands between two frames.

mod control;
mod frame;
pub mod fuzz;
mod handshake;
mod track;

pub use control::{ControlFrame, carries, close, ping};
pub use frame::{Header, Misbehaviour, Opcode, Rules, Sender};
pub use handshake::{KEY_BYTES, accept_key, is_key};
pub use track::{Passage, Refusal, Then, Track, Verdict};

/// The closing codes that the gateway sends (RFC 6455 §7.4.1, and the IANA registry for 1012).
pub mod code {
    /// The other side of the tunnel, or the gateway, goes away.
    pub const GOING_AWAY: u16 = 1001;
    /// The protocol was broken.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A rule of the gateway: the token's time is over, or too many messages.
    pub const POLICY: u16 = 1008;
    /// A message is larger than is taken.
    pub const TOO_BIG: u16 = 1009;
    /// The gateway restarts: come back.
    pub const SERVICE_RESTART: u16 = 1012;
}
