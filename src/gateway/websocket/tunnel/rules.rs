//! What the configuration said when a tunnel began. It holds for the tunnel's whole life, whatever is reloaded.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::config::WebSocket;

/// The rules of one tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelRules {
    /// A client that was silent for this long is pinged, in milliseconds; `None`: never.
    pub ping_interval_ms: Option<NonZeroU64>,
    /// A client that was silent for this long is disconnected, in milliseconds; `None`: never.
    pub idle_ms: Option<NonZeroU64>,
    /// A tunnel ends after this long, in milliseconds; `None`: never.
    pub lifetime_ms: Option<NonZeroU64>,
    /// Payload bytes of one message of the client's; 0: any.
    pub message_bytes_max: u64,
    /// A payload of which at least this many bytes are still to come is spliced.
    pub splice_bytes_min: u64,
    /// Messages per second of the client's, in thousandths; 0: any.
    pub message_rate_milli: u32,
    /// Messages that the client may send at once.
    pub message_burst: u32,
    /// Frames per second of the client's, in thousandths; 0: any.
    pub frame_rate_milli: u32,
    /// Control frames per second of the client's, in thousandths; 0: any.
    pub control_frame_rate_milli: u32,
}

impl From<&WebSocket> for TunnelRules {
    fn from(config: &WebSocket) -> TunnelRules {
        TunnelRules {
            ping_interval_ms: unless_zero(config.ping_interval),
            idle_ms: unless_zero(config.idle),
            lifetime_ms: unless_zero(config.lifetime),
            message_bytes_max: config.message_bytes_max,
            splice_bytes_min: config.splice_bytes_min,
            message_rate_milli: config.message_rate.milli(),
            message_burst: config.message_burst,
            frame_rate_milli: config.frame_rate.milli(),
            control_frame_rate_milli: config.control_frame_rate.milli(),
        }
    }
}

/// Milliseconds. Zero is how an operator writes "never".
fn unless_zero(wait: Duration) -> Option<NonZeroU64> {
    NonZeroU64::new(wait.as_millis() as u64)
}
