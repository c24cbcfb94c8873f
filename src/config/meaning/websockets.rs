//! Rules for WebSocket handshakes and tunnels.

use std::num::NonZeroU32;
use std::time::Duration;

use super::choice::Choice;
use super::limits::Rate;
use super::origins;

/// Rules for handshakes and tunnels. A tunnel keeps the rules that it began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// The browser origins that may open a WebSocket. A request without `Origin` comes from no browser.
    pub origins: Origins,
    /// From a whole request head to the upstream's answer. `WS_HANDSHAKE_TIMEOUT`, 10 s.
    pub handshake: Duration,
    /// Handshakes per second that one core takes. `None`: any number. `WS_HANDSHAKE_RATE`, 1000.
    pub handshake_rate: Option<NonZeroU32>,
    /// A client that is silent for this long is pinged. Zero: never. `WS_PING_INTERVAL`, 30 s.
    pub ping_interval: Duration,
    /// A tunnel whose client sends no frame for this long ends. Zero: never. `WS_IDLE_TIMEOUT`, 120 s.
    pub idle: Duration,
    /// A tunnel ends after this time even if it is in use. Zero: never. `WS_MAX_LIFETIME`, never.
    pub lifetime: Duration,
    /// What happens to a tunnel when its token expires. `WS_TOKEN_EXPIRY`, close.
    pub token_expiry: TokenExpiry,
    /// The code that a client gets whose token was revoked. `WS_REVOKED_CODE`, 1008.
    pub revoked_code: u16,
    /// Payload of one message of a client, over all its frames, in bytes. 0: no bound. `WS_MAX_MESSAGE_BYTES`, 1 MiB.
    pub message_bytes_max: u64,
    /// Messages per second of one client. Zero: no bound. `WS_MESSAGES_PER_SECOND`, no bound.
    pub message_rate: Rate,
    /// Messages that a client may send at once. `WS_MESSAGES_BURST`, 20.
    pub message_burst: u32,
    /// Frames per second of one client. Zero: no bound. `WS_FRAMES_PER_SECOND`, 1000.
    pub frame_rate: Rate,
    /// Pings and pongs per second of one client. Zero: no bound. `WS_CONTROL_FRAMES_PER_SECOND`, 10.
    pub control_frame_rate: Rate,
    /// Tunnels of one core. `None`: as many as connections. `WS_MAX_CONNECTIONS`, none.
    pub tunnels_max: Option<usize>,
    /// Tunnels of one user in this process. 0: no bound. `WS_MAX_PER_USER`, 20.
    pub per_user_max: u32,
    /// A payload is spliced if at least this much of it is still to come, in bytes. `WS_SPLICE_MIN`, 32 KiB.
    pub splice_bytes_min: u64,
    /// How many more tunnels than the least loaded core a core may have, in percent of its own. `None`: a tunnel
    /// stays on the core that accepted its connection. `WS_BALANCE` and `WS_BALANCE_SLACK`.
    pub balance_slack_percent: Option<u32>,
}

/// The browser origins that may open a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Any origin. Browsers do not send tokens on their own.
    Any,
    /// These origins, serialized and in lower case; some may have a wildcard.
    Listed(Vec<String>),
}

impl Origins {
    /// Whether the list has this origin. Any origin is no list.
    pub fn list(&self, origin: &[u8]) -> bool {
        match self {
            Origins::Any => false,
            Origins::Listed(allowed) => allowed.iter().any(|allowed| origins::means(allowed, origin)),
        }
    }
}

/// What happens to a tunnel when its token expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenExpiry {
    /// The client gets a close frame with 1008 and the tunnel ends.
    Close,
    /// Nothing.
    Ignore,
}

impl Choice for TokenExpiry {
    const ALL: &'static [Self] = &[Self::Close, Self::Ignore];

    fn word(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Ignore => "ignore",
        }
    }
}
