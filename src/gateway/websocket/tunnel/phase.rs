//! How far a tunnel is on its way to its end.
//!
//! ```text
//!        a sink takes nothing       a Close frame passes          a reason of the gateway's
//! Open ───────▶ Broken ───────────────▶ PeerClosing ─────────────────▶ Closing ────▶ Over
//!   └──────────────────────────────────────▲──────────────────────────────▲──────────▲
//! ```
//!
//! A phase only gives way to one that is further right.

use super::close::Closing;
use super::direction::Direction;
use crate::limits::TUNNEL_CLOSE_MS;

/// How far a tunnel is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Frames go both ways.
    Open,
    /// The sink of this direction takes nothing more. Its peer's last words, perhaps a Close frame, may still be read.
    Broken(Direction),
    /// A Close frame of a peer's has passed: the peers close the tunnel themselves.
    PeerClosing {
        /// When it passed.
        since_ms: u64,
    },
    /// The gateway closes the tunnel: each peer gets a Close frame.
    Closing(Closing),
    /// Both sockets are to be closed.
    Over(Conclusion),
}

/// How both sockets are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// Each with a FIN.
    Graceful,
    /// By a reset: no side has announced the end, and a cut stream must not look complete.
    Reset,
}

impl Phase {
    /// Neither a peer nor the gateway has said that the tunnel ends.
    pub fn is_unannounced(&self) -> bool {
        matches!(self, Phase::Open | Phase::Broken(_))
    }

    /// When a close handshake has taken too long; `None`: none is under way.
    pub fn cut_ms(&self) -> Option<u64> {
        match self {
            Phase::Open | Phase::Broken(_) | Phase::Over(_) => None,
            Phase::PeerClosing { since_ms } => Some(since_ms.saturating_add(TUNNEL_CLOSE_MS)),
            Phase::Closing(closing) => Some(closing.cut_ms()),
        }
    }
}
