//! What handshakes and tunnels count.

use crate::telemetry::{DURATIONS_US, TunnelEnd};

/// The upper ends of the buckets of ages: 1 s to a week, in µs.
const AGES_US: [u64; 11] = [
    SECOND_US,
    10 * SECOND_US,
    60 * SECOND_US,
    5 * 60 * SECOND_US,
    15 * 60 * SECOND_US,
    3_600 * SECOND_US,
    4 * 3_600 * SECOND_US,
    12 * 3_600 * SECOND_US,
    24 * 3_600 * SECOND_US,
    3 * 24 * 3_600 * SECOND_US,
    7 * 24 * 3_600 * SECOND_US,
];
const SECOND_US: u64 = 1_000_000;

crate::metric_group! {
    /// Metrics of one core's WebSockets.
    pub struct TunnelMetrics {
        /// WebSocket tunnels that began, on whichever core their handshake was.
        counter opened = "tunnels_opened";
        /// WebSocket tunnels that this core gave to another when they began.
        counter handed_over = "tunnels_handed_over";
        /// WebSocket tunnels that the process before has handed over in a hot upgrade.
        counter inherited = "tunnels_inherited";
        /// WebSocket tunnels that have ended, by what ended them.
        labelled closed("reason", &TunnelEnd::TEXTS) = "tunnels_closed";
        /// How old WebSocket tunnels were when they ended.
        histogram age(&AGES_US) = "tunnel_age_seconds";
        /// Time from the head of a WebSocket handshake to the 101 that the client gets.
        histogram handshake(&DURATIONS_US) = "handshake_seconds";
        /// WebSocket handshakes whose upstream has not answered yet.
        gauge handshakes_pending = "handshakes_pending";
        /// WebSocket handshakes that were refused: not one, from a foreign origin, or one too many.
        counter handshakes_refused = "handshakes_refused";
        /// WebSocket handshakes that were refused because too many came at once.
        counter handshakes_paced = "handshakes_paced";
        /// Frames from WebSocket clients.
        counter frames_in = "tunnel_frames_in";
        /// Frames to WebSocket clients.
        counter frames_out = "tunnel_frames_out";
        /// Messages from WebSocket clients.
        counter messages_in = "tunnel_messages_in";
        /// Messages to WebSocket clients.
        counter messages_out = "tunnel_messages_out";
        /// Bytes of frames from WebSocket clients.
        counter bytes_in = "tunnel_bytes_in";
        /// Bytes of frames to WebSocket clients.
        counter bytes_out = "tunnel_bytes_out";
        /// Of these bytes, in both directions, those that the kernel moved through a pipe.
        counter bytes_spliced = "tunnel_bytes_spliced";
        /// Of these bytes, in both directions, those that were copied.
        counter bytes_copied = "tunnel_bytes_copied";
        /// Pings that the gateway sent to silent WebSocket clients.
        counter pings = "tunnel_pings";
        /// Pipes that payloads are spliced through, lent and free.
        gauge pipes_open = "pipes_open";
    }
}
