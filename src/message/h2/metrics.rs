//! Metrics of HTTP/2.

/// Why a stream was reset, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// The client has given it up.
    Client,
    /// It was over the bound of streams, or its connection was closing.
    Refused,
    /// The client has broken the protocol on it.
    Protocol,
    /// Its response could not be finished.
    Unfinished,
    /// Its response was complete before the request was.
    Unread,
}

const RESET_REASONS: [&str; 5] = ["client", "refused", "protocol", "unfinished", "unread"];

/// Why a connection was closed by the gateway, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// It was idle, or the core drained.
    NoError,
    /// The client has broken the protocol.
    Protocol,
    /// The client has spent its budget of resets or of control frames, or sent a flood of another kind.
    Calm,
}

const CLOSE_REASONS: [&str; 3] = ["no_error", "protocol", "enhance_your_calm"];

crate::metric_group! {
    /// Metrics of clients' HTTP/2 connections.
    pub struct H2Metrics {
        /// HTTP/2 connections that are open now. They are among those of all versions, too.
        gauge connections = "http2_connections_open";
        /// HTTP/2 streams that are open now: each is a request whose exchange has not ended.
        gauge open = "http2_streams_open";
        /// HTTP/2 streams that were reset, by either side.
        labelled resets("reason", &RESET_REASONS) = "http2_stream_resets";
        /// HTTP/2 connections that the gateway has closed.
        labelled closed("reason", &CLOSE_REASONS) = "http2_connections_closed";
    }
}
