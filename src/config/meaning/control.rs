//! Live control of sessions: revocations, and what is told to open WebSockets.

use std::time::Duration;

use super::choice::Choice;

/// Live control of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The key of the control stream in Redis. `None`: there is no live control. `REVOCATION_STREAM`, none.
    pub stream: Option<String>,
    /// What happens when the stream has not been read for too long. `REVOCATION_ON_REDIS_FAILURE`, open.
    pub on_failure: OnStreamFailure,
    /// How long that is. `REVOCATION_MAX_STALE`, 60 s.
    pub stale_max: Duration,
    /// Whether a client can renew the token of an open WebSocket. `SESSION_RENEW`, off.
    pub renewal: Renewal,
    /// Where issuers post logout tokens. `BACKCHANNEL_LOGOUT_PATH`, nowhere.
    pub logout: Option<BackChannelLogout>,
}

/// Back-channel logout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackChannelLogout {
    /// The path of the public listener.
    pub path: String,
    /// For which clients of the issuers a logout token has to be.
    pub clients: Vec<String>,
}

/// Whether a client can renew the token of an open WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It can.
    On,
    /// It opens another one.
    Off,
}

impl Choice for Renewal {
    const ALL: &'static [Self] = &[Self::On, Self::Off];

    fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// What happens when the control stream has not been read for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStreamFailure {
    /// What is known of revocations stays in force, and other tokens count.
    Open,
    /// No token counts.
    Closed,
}

impl Choice for OnStreamFailure {
    const ALL: &'static [Self] = &[Self::Open, Self::Closed];

    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}
