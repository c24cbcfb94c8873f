//! The metrics of one core: the groups of all modules.

use std::sync::Arc;

use super::roll_call::Presences;
use crate::auth::AuthMetrics;
use crate::downstream::HandshakeFailure;
use crate::gateway::websocket::TunnelMetrics;
use crate::limit::LimitMetrics;
use crate::redis::{OutageMetrics, RedisMetrics};
use crate::telemetry::metrics::{Metric, MetricGroup};
use crate::telemetry::{AccessLogMetrics, STATUS_CLASSES};
use crate::upstream::UpstreamMetrics;

crate::metric_group! {
    /// Metrics of the core itself.
    pub struct CoreMetrics {
        /// Configurations that the core has taken over from a reload.
        counter reloads = "reloads";
        /// Bytes in buffers that the core holds for its peers: parts of heads, and what a peer does not take.
        gauge held_bytes = "buffer_bytes_held";
        /// The version of the configuration that the core applies: 1 at the start, one more with every reload.
        gauge config_version = "config_version";
        /// Turns of the core's ticker: a core whose number stands still is busy or down.
        counter ticks = "ticks";
        /// How late the latest turn of the ticker was, in milliseconds: the lag of the core's event loop.
        gauge tick_delay = "tick_delay_milliseconds";
        /// The longest such delay of the last one to two minutes.
        gauge tick_delay_max = "tick_delay_max_milliseconds";
    }
}

crate::metric_group! {
    /// Metrics of the clients' connections.
    pub struct ConnectionMetrics {
        /// Listening sockets that the core takes connections from.
        gauge listening = "listening";
        /// Connections taken from the listener.
        counter accepted = "connections_accepted";
        /// Connections that are open now.
        gauge open = "connections_open";
        /// Connections over the bound of the core or of their address: closed, most of them with an answer.
        counter refused = "connections_refused";
        /// Connections that waited for a request, or for the rest of its head, and were closed in favour of others.
        counter gave_way = "connections_gave_way";
        /// Connections that should have begun with a header of the PROXY protocol and did not: closed.
        counter proxy_header_failures = "proxy_header_failures";
        /// Times that accepting failed for want of file descriptors or memory.
        counter accept_failures = "accept_failures";
    }
}

crate::metric_group! {
    /// Metrics of requests.
    pub struct RequestMetrics {
        /// Request heads received, refused ones included.
        counter received = "requests";
        /// Requests that are between head and last byte now.
        gauge in_flight = "requests_in_flight";
        /// Requests answered 429.
        counter limited = "requests_limited";
        /// Requests answered 401.
        counter unauthorized = "requests_unauthorized";
        /// Requests answered with 403, for a claim of their user or the page that sent them.
        counter forbidden = "requests_forbidden";
        /// Requests that passed the limiter.
        counter admitted = "requests_admitted";
        /// Exchanges that ended without a complete response reaching the client.
        counter aborted = "exchanges_aborted";
        /// Final responses to clients by class.
        labelled responses("class", &STATUS_CLASSES) = "responses";
    }
}

crate::metric_group! {
    /// Metrics of TLS with clients.
    pub struct TlsMetrics {
        /// TLS handshakes with clients that succeeded, by kind: with a signature, or with the keys of an earlier
        /// connection.
        labelled handshakes("kind", &["full", "resumed"]) = "tls_handshakes";
        /// TLS handshakes with clients that failed, by reason.
        labelled failures("reason", &HandshakeFailure::REASONS) = "tls_handshake_failures";
        /// TLS handshakes with clients that have begun and are not over.
        gauge pending = "tls_handshakes_pending";
    }
}

/// Every group of one core. The core alone writes to them; cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// The clients' connections.
    pub connections: Arc<ConnectionMetrics>,
    /// TLS with clients.
    pub tls: Arc<TlsMetrics>,
    /// Requests.
    pub requests: Arc<RequestMetrics>,
    /// Authentication.
    pub auth: Arc<AuthMetrics>,
    /// The rate limiter.
    pub limit: Arc<LimitMetrics>,
    /// The connection to Redis.
    pub redis: Arc<RedisMetrics>,
    /// What became of requests that Redis could not decide.
    pub outage: Arc<OutageMetrics>,
    /// Upstreams.
    pub upstream: Arc<UpstreamMetrics>,
    /// WebSockets.
    pub tunnels: Arc<TunnelMetrics>,
    /// The access log.
    pub access_log: Arc<AccessLogMetrics>,
    /// The core itself.
    pub core: Arc<CoreMetrics>,
    /// What is still open, while the core drains.
    pub presences: Arc<Presences>,
}

impl MetricGroup for Metrics {
    fn each(&self, visit: &mut dyn FnMut(Metric<'_>)) {
        let Metrics {
            connections,
            tls,
            requests,
            auth,
            limit,
            redis,
            outage,
            upstream,
            tunnels,
            access_log,
            core,
            presences: _,
        } = self;
        let groups: [&dyn MetricGroup; 11] = [
            &**connections,
            &**tls,
            &**requests,
            &**auth,
            &**limit,
            &**redis,
            &**outage,
            &**upstream,
            &**tunnels,
            &**access_log,
            &**core,
        ];
        groups.into_iter().for_each(|group| group.each(visit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_a_help_text() {
        let mut names = BTreeSet::new();
        Metrics::default().each(&mut |metric| {
            assert!(names.insert(metric.name), "{} twice", metric.name);
            assert!(metric.help.trim().ends_with('.'), "{}: {}", metric.name, metric.help);
        });
        assert!(names.len() > 50, "{names:?}");
    }
}
