//! Why a WebSocket tunnel ended: a label of metrics and a field of the access log. The tunnel also chooses the codes of
//! its Close frames by it.

/// Why a tunnel ended. The first reason counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelEnd {
    /// The client sent a Close frame.
    ClientClosed,
    /// The upstream sent a Close frame.
    UpstreamClosed,
    /// The client's connection ended without a Close frame.
    ClientGone,
    /// The upstream's connection ended without a Close frame.
    UpstreamGone,
    /// The gateway drains.
    Drained,
    /// The token has expired.
    TokenExpired,
    /// `WS_MAX_LIFETIME`.
    LifetimeOver,
    /// `WS_IDLE_TIMEOUT`.
    Idle,
    /// The client did not answer a ping.
    PingUnanswered,
    /// `WS_MAX_MESSAGE_BYTES`.
    MessageTooBig,
    /// `WS_MESSAGES_PER_SECOND`, `WS_FRAMES_PER_SECOND` or `WS_CONTROL_FRAMES_PER_SECOND`.
    TooManyMessages,
    /// The client broke the framing.
    ClientMisbehaved,
    /// The upstream broke the framing.
    UpstreamMisbehaved,
    /// The token, the session or the user was revoked.
    Revoked,
    /// The control stream said that the user's WebSockets are to end.
    Dismissed,
    /// `WS_MAX_PER_USER_GLOBAL`: a newer one of the user's has its place.
    Replaced,
}

impl TunnelEnd {
    /// All reasons, in the order of declaration.
    pub const ALL: [TunnelEnd; 16] = [
        TunnelEnd::ClientClosed,
        TunnelEnd::UpstreamClosed,
        TunnelEnd::ClientGone,
        TunnelEnd::UpstreamGone,
        TunnelEnd::Drained,
        TunnelEnd::TokenExpired,
        TunnelEnd::LifetimeOver,
        TunnelEnd::Idle,
        TunnelEnd::PingUnanswered,
        TunnelEnd::MessageTooBig,
        TunnelEnd::TooManyMessages,
        TunnelEnd::ClientMisbehaved,
        TunnelEnd::UpstreamMisbehaved,
        TunnelEnd::Revoked,
        TunnelEnd::Dismissed,
        TunnelEnd::Replaced,
    ];

    /// The texts of all reasons, in the same order.
    pub const TEXTS: [&'static str; TunnelEnd::ALL.len()] = {
        let mut texts = [""; TunnelEnd::ALL.len()];
        let mut at = 0;
        while at < texts.len() {
            texts[at] = TunnelEnd::ALL[at].text();
            at += 1;
        }
        texts
    };

    /// The text in metrics and in the access log.
    pub const fn text(self) -> &'static str {
        match self {
            TunnelEnd::ClientClosed => "client_closed",
            TunnelEnd::UpstreamClosed => "upstream_closed",
            TunnelEnd::ClientGone => "client_gone",
            TunnelEnd::UpstreamGone => "upstream_gone",
            TunnelEnd::Drained => "drained",
            TunnelEnd::TokenExpired => "token_expired",
            TunnelEnd::LifetimeOver => "lifetime_over",
            TunnelEnd::Idle => "idle",
            TunnelEnd::PingUnanswered => "ping_unanswered",
            TunnelEnd::MessageTooBig => "message_too_big",
            TunnelEnd::TooManyMessages => "too_many_messages",
            TunnelEnd::ClientMisbehaved => "client_misbehaved",
            TunnelEnd::UpstreamMisbehaved => "upstream_misbehaved",
            TunnelEnd::Revoked => "revoked",
            TunnelEnd::Dismissed => "dismissed",
            TunnelEnd::Replaced => "replaced",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_stands_at_its_own_place() {
        for (index, end) in TunnelEnd::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, index, "{}", end.text());
        }
    }
}
