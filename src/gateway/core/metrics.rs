//! The metrics of one core: the groups of all modules.

use std::sync::Arc;

use super::refusal_notes::RefusalNotes;
use super::roll_call::Presences;
use crate::auth::{AuthMetrics, KeyCounters};
use crate::downstream::HandshakeFailure;
use crate::gateway::websocket::online::OnlineMetrics;
use crate::gateway::websocket::{Departed, TunnelMetrics};
use crate::limit::{LimitDecisions, LimitMetrics};
use crate::message::h2::H2Metrics;
use crate::redis::{NodeMetrics, OutageMetrics, RedisMetrics};
use crate::telemetry::heavy::HeavyHitters;
use crate::telemetry::metrics::{Labels, MetricGroup, Named};
use crate::telemetry::spans::SpanMetrics;
use crate::telemetry::{AccessLogMetrics, DURATIONS_US, STATUS_CLASSES};
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
        /// How late the latest turn of the ticker was: the lag of the core's event loop.
        span lag = "event_loop_lag_seconds";
        /// The longest such lag of the last one to two minutes.
        span lag_max = "event_loop_lag_max_seconds";
        /// CPU time of the core's thread.
        time busy = "core_busy_seconds";
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
        /// WebSocket tunnels that are open now.
        gauge tunnels = "tunnels_open";
        /// Connections over the bound of the core or of their address: closed, most of them with an answer.
        counter refused = "connections_refused";
        /// Those of them that were over the bound of their address.
        counter refused_per_address = "connections_refused_per_address";
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
        /// Requests that the gateway answered itself with an error, by its code.
        codes errors("code") = "errors";
    }
}

crate::metric_group! {
    /// Metrics of the requests of one route, or of those without a route.
    pub struct RouteMetrics {
        /// Final responses to clients, by route and class. The requests without a route have an empty one.
        labelled responses("class", &STATUS_CLASSES) = "responses";
        /// Time from a request's head to the end of its response, by route. A WebSocket counts up to its handshake.
        histogram duration(&DURATIONS_US) = "request_duration_seconds";
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
#[derive(Debug, Clone)]
pub struct Metrics {
    /// The clients' connections.
    pub connections: Arc<ConnectionMetrics>,
    /// TLS with clients.
    pub tls: Arc<TlsMetrics>,
    /// HTTP/2 with clients.
    pub http2: Arc<H2Metrics>,
    /// Requests.
    pub requests: Arc<RequestMetrics>,
    /// Requests by route.
    pub routes: Arc<Named<RouteMetrics>>,
    /// Authentication.
    pub auth: Arc<AuthMetrics>,
    /// What each key has verified.
    pub keys: Arc<KeyCounters>,
    /// The rate limiter.
    pub limit: Arc<LimitMetrics>,
    /// What each limit has decided.
    pub limits: Arc<Named<LimitDecisions>>,
    /// The connection to Redis.
    pub redis: Arc<RedisMetrics>,
    /// The nodes of a Redis cluster, by address.
    pub redis_nodes: Arc<Named<NodeMetrics>>,
    /// What became of requests that Redis could not decide.
    pub outage: Arc<OutageMetrics>,
    /// Upstreams, by name.
    pub upstreams: Arc<Named<UpstreamMetrics>>,
    /// WebSockets.
    pub tunnels: Arc<TunnelMetrics>,
    /// What Redis is told of WebSockets.
    pub online: Arc<OnlineMetrics>,
    /// The access log.
    pub access_log: Arc<AccessLogMetrics>,
    /// Spans.
    pub spans: Arc<SpanMetrics>,
    /// The core itself.
    pub core: Arc<CoreMetrics>,
    /// What is still open, while the core drains.
    pub presences: Arc<Presences>,
    /// Which clients ask most.
    pub talkers: Arc<HeavyHitters>,
    /// Which are limited most.
    pub limited: Arc<HeavyHitters>,
    /// What there is to tell of connections that are refused.
    pub refusal_notes: Arc<RefusalNotes>,
    /// What has become of tunnels that were to move to another process.
    pub departed: Arc<Departed>,
}

impl Metrics {
    /// What the core holds: connections, and the buffers of slow peers in pages.
    pub fn load(&self) -> u64 {
        self.connections.open.get() + self.core.held_bytes.get() / 4096
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            connections: Arc::default(),
            tls: Arc::default(),
            http2: Arc::default(),
            requests: Arc::default(),
            routes: Arc::new(Named::new("route")),
            auth: Arc::default(),
            keys: Arc::default(),
            limit: Arc::default(),
            limits: Arc::new(Named::new("limit")),
            redis: Arc::default(),
            redis_nodes: Arc::new(Named::new("node")),
            outage: Arc::default(),
            upstreams: Arc::new(Named::new("upstream")),
            tunnels: Arc::default(),
            online: Arc::default(),
            access_log: Arc::default(),
            spans: Arc::default(),
            core: Arc::default(),
            presences: Arc::default(),
            talkers: Arc::default(),
            limited: Arc::default(),
            refusal_notes: Arc::default(),
            departed: Arc::default(),
        }
    }
}

impl Metrics {
    /// Calls `visit` with every group and the labels of its metrics. What tells how a core fares has the number of its
    /// CPU; everything else is added up over the cores.
    pub fn each_group(&self, cpu: &str, visit: &mut dyn FnMut(Labels<'_>, &dyn MetricGroup)) {
        let Metrics { connections, tls, http2, requests, routes, auth, limit, redis, outage, .. } = self;
        let Metrics { upstreams, redis_nodes, tunnels, online, access_log, core, .. } = self;
        for group in [&**connections as &dyn MetricGroup, &**core] {
            visit(&[("core", cpu)], group);
        }
        let groups: [&dyn MetricGroup; 11] = [
            &**requests,
            &**tls,
            &**http2,
            &**auth,
            &**limit,
            &**redis,
            &**outage,
            &**tunnels,
            &**online,
            &**access_log,
            &*self.spans,
        ];
        groups.into_iter().for_each(|group| visit(&[], group));
        for (route, group) in routes.each() {
            visit(&[(routes.label(), &route)], &*group);
        }
        self.keys.each_group(visit);
        for (limit, group) in self.limits.each() {
            visit(&[(self.limits.label(), &limit)], &*group);
        }
        for (node, group) in redis_nodes.each() {
            visit(&[(redis_nodes.label(), &node)], &*group);
        }
        for (upstream, group) in upstreams.each() {
            visit(&[(upstreams.label(), &upstream)], &*group);
        }
    }
}

/// The name of what has no route, which no route can have.
pub const NO_ROUTE: &str = "";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Exposition, Format};
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_a_help_text() {
        let metrics = Metrics::default();
        metrics.routes.of(NO_ROUTE);
        metrics.upstreams.of("auth");
        metrics.limits.of("global");
        metrics.redis_nodes.of("127.0.0.1:7000");
        let mut all = Exposition::default();
        metrics.each_group("0", &mut |labels, group| all.group(labels, group));
        let text = all.text(Format::Prometheus);
        let mut names = BTreeSet::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
            let (name, help) = line.split_once(' ').unwrap();
            assert!(names.insert(name), "{name} twice");
            assert!(help.ends_with('.'), "{line}");
        }
        assert!(names.len() > 50, "{names:?}");
    }
}
