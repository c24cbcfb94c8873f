//! A tunnel: two connections after a WebSocket handshake, frames going both ways, and a proper close handshake.
//!
//! ```text
//!            ┌─────────────────────────── Tunnel ────────────────────────────┐
//!  client ══▶│ lane up    ◀── work ──  TunnelState  ── work ──▶    lane down │══▶ upstream
//!         ◀══│  moves bytes ─ events ▶ phase, timers,  ◀ events ─ moves bytes│◀══
//!            │                         relay up, down                        │
//!            └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! The [`state::TunnelState`] decides and does no I/O; the task and its lanes do I/O and decide nothing. Each direction
//! is the only one that writes to its sink, so a frame of ours is between two of the peer's and never inside one. A
//! tunnel on which nothing happens owns no buffer and no pipe.
//!
//! | file | holds |
//! |---|---|
//! | `state`, `event`, `phase` | the state machine: what comes in, what goes out, how far it is |
//! | `frames`, `ends` | its transitions, by bytes and towards the end |
//! | `relay`, `judge`, `allowance` | one direction: where its frames are, what becomes of each |
//! | `timers`, `keepalive` | what is due when |
//! | `close`, `farewell` | the close handshake that the gateway begins |
//! | `task`, `turn`, `lane`, `waiter`, `sockets` | the I/O around it |
//! | `handover`, `registration`, `drain_schedule` | where it runs, what it is registered with, when it leaves |
//! | `access_context`, `ownership` | what the access log says, and who holds it |
//! | `saved` | the state as bytes, for another process to go on with |
//! | `leaving`, `crossing` | how it moves to that process |

mod access_context;
pub mod allowance;
pub mod close;
pub mod crossing;
pub mod direction;
mod drain_schedule;
mod ends;
pub mod event;
pub mod farewell;
mod frames;
mod handover;
pub mod judge;
pub mod keepalive;
mod lane;
mod leaving;
pub mod ownership;
pub mod phase;
pub mod registration;
pub mod relay;
pub mod rules;
pub mod saved;
mod sockets;
pub mod state;
mod task;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod timers;
mod turn;
mod waiter;

pub use self::access_context::AccessContext;
pub use self::crossing::{Departed, Departures, Lines, Stay, arrive, depart};
pub use self::drain_schedule::DrainSchedule;
pub use self::farewell::Farewell;
pub use self::handover::{Handover, Sibling, Tunnels};
pub use self::ownership::Ownership;
pub use self::registration::Registration;
pub use self::task::{Opened, adopt, begin, first_state};
