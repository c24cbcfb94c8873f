//! What handshakes and tunnels count.

use crate::telemetry::TunnelEnd;

crate::metric_group! {
    /// Metrics of one core's WebSockets.
    pub struct TunnelMetrics {
        /// WebSocket tunnels that began, on whichever core their handshake was.
        counter opened = "tunnels_opened";
        /// WebSocket tunnels that this core gave to another when they began.
        counter handed_over = "tunnels_handed_over";
        /// WebSocket tunnels that have ended, by what ended them.
        labelled closed("reason", &TunnelEnd::TEXTS) = "tunnels_closed";
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
