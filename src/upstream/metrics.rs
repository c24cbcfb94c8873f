//! Metrics of upstreams.

use crate::telemetry::DURATIONS_US;

crate::metric_group! {
    /// Metrics of one upstream on one core.
    pub struct UpstreamMetrics {
        /// Connections opened to upstreams.
        counter connects = "upstream_connects";
        /// Requests that got no connection to the upstream, by cause.
        codes connect_failures("reason") = "upstream_connect_failures";
        /// TLS handshakes with upstreams that succeeded.
        counter handshakes = "upstream_tls_handshakes";
        /// Those of them that went on with the keys of an earlier connection.
        counter handshakes_resumed = "upstream_tls_handshakes_resumed";
        /// TLS handshakes with upstreams that failed.
        counter handshake_failures = "upstream_tls_handshake_failures";
        /// Requests that went out on a connection that had been used before.
        counter reuses = "upstream_reuses";
        /// Requests sent a second time because the first connection or member had failed.
        counter retries = "upstream_retries";
        /// Requests that were not, because too many were.
        counter retries_denied = "upstream_retries_denied";
        /// Upstream responses that broke the protocol.
        counter protocol_errors = "upstream_protocol_errors";
        /// Times that an upstream sent more than the answer to a request: each closes its idle connections.
        counter surplus_answers = "upstream_surplus_answers";
        /// Requests answered 503 at a bound of their upstream: in flight, waiting for a connection, or long responses.
        counter overloads = "upstream_overloads";
        /// Idle connections in the upstream pools now.
        gauge idle = "upstream_idle";
        /// Time from the last byte of a request to the head of its response.
        histogram response(&DURATIONS_US) = "upstream_response_seconds";
    }
}
