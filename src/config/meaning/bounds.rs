//! The upper bound of every wait and of every size.

use std::time::Duration;

use crate::limits::NO_TIMEOUT_MS;

/// The upper bound of every wait, with its key and default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request head (or the accept) to its last. `REQUEST_HEAD_TIMEOUT`, 10 s.
    pub request_head: Duration,
    /// How long a keep-alive connection may be idle. `KEEP_ALIVE_TIMEOUT`, 75 s.
    pub keep_alive: Duration,
    /// How long a request body, or a client that reads a response, may make no progress. Also the time
    /// over which [`Sizes::body_rate_min`] is averaged. `BODY_TIMEOUT`, 30 s.
    pub body: Duration,
    /// Connecting to an upstream. `UPSTREAM_CONNECT_TIMEOUT`, 2 s.
    pub upstream_connect: Duration,
    /// From the end of the request to the response head. `UPSTREAM_HEAD_TIMEOUT`, 60 s.
    pub upstream_head: Duration,
    /// Between bytes of a response body, and of a request that an upstream does not read.
    /// `UPSTREAM_IDLE_TIMEOUT`, 60 s.
    pub upstream_idle: Duration,
    /// How long a pooled upstream connection may be idle. `UPSTREAM_KEEP_ALIVE`, 60 s.
    pub upstream_keep_alive: Duration,
    /// How long a pooled upstream connection is used. 0: as long as it lasts. `UPSTREAM_CONNECTION_AGE`, 1 h.
    pub upstream_connection_age: Duration,
    /// Between two resolutions of an upstream's name. `DNS_REFRESH`, 30 s.
    pub dns_refresh: Duration,
    /// From failing readiness to closing the listeners. `SHUTDOWN_DELAY`, 0 s.
    pub shutdown_delay: Duration,
    /// From closing the listeners to cutting off the remaining connections. `SHUTDOWN_TIMEOUT`, 15 s.
    pub shutdown: Duration,
    /// From the start of a new binary to its report that it is ready. `UPGRADE_TIMEOUT`, 30 s.
    pub upgrade: Duration,
    /// In which open WebSockets move to the new process. Zero: they do not. `UPGRADE_TUNNELS_TIMEOUT`, 5 s.
    pub upgrade_tunnels: Duration,
}

/// The upper bound of every size, with its key and default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// A request or response head, in bytes. `HEAD_MAX_BYTES`, 32 KiB.
    pub head_bytes: usize,
    /// A request line, in bytes. `REQUEST_LINE_MAX_BYTES`, 8 KiB.
    pub request_line_bytes: usize,
    /// Fields of a head, at most [`crate::limits::FIELDS_MAX`]. `HEAD_MAX_FIELDS`, 100.
    pub fields: usize,
    /// Fields of a response's head, likewise. `None`: as `fields`. `UPSTREAM_HEAD_MAX_FIELDS`, none.
    pub upstream_fields: Option<usize>,
    /// A request body, in bytes. 0: no bound. `BODY_MAX_BYTES`, 10 MiB.
    pub body_bytes: u64,
    /// The lowest average rate of a body that is waited for, in bytes per second. 0: no bound.
    /// `BODY_MIN_RATE`, 1 KiB/s.
    pub body_rate_min: u64,
    /// Requests of one client address in flight per core. 0: no bound. `None`: a quarter of `upstream_in_flight`.
    /// `MAX_REQUESTS_PER_ADDRESS`, none.
    pub requests_per_address: Option<usize>,
    /// Idle connections kept per upstream and core. `UPSTREAM_IDLE_CONNECTIONS`, 256.
    pub upstream_idle: usize,
    /// Requests that one upstream connection carries. 0: any number. `UPSTREAM_CONNECTION_REQUESTS`, 0.
    pub upstream_connection_requests: u32,
    /// Requests in flight per upstream and core. `UPSTREAM_MAX_IN_FLIGHT`, 1024.
    pub upstream_in_flight: usize,
}

/// What one route has instead of the timeouts of its upstream and of the gateway. `None`: those. 0: no timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteTimeouts {
    /// As [`Timeouts::upstream_head`].
    pub head: Option<Duration>,
    /// As [`Timeouts::upstream_idle`].
    pub idle: Option<Duration>,
    /// As [`Timeouts::body`].
    pub body: Option<Duration>,
}

impl RouteTimeouts {
    /// From the end of a request to the head of its response, in milliseconds; `upstream_ms`: what the upstream has.
    pub fn head_ms(&self, upstream_ms: u64) -> u64 {
        in_force_ms(self.head, upstream_ms)
    }

    /// Between bytes of a response, in milliseconds; `upstream_ms`: what the upstream has.
    pub fn idle_ms(&self, upstream_ms: u64) -> u64 {
        in_force_ms(self.idle, upstream_ms)
    }

    /// How long the client's side may make no progress, in milliseconds; `gateway_ms`: what the gateway has.
    pub fn body_ms(&self, gateway_ms: u64) -> u64 {
        in_force_ms(self.body, gateway_ms)
    }

    /// Whether a request may wait for ever: then only the kernel can tell that a peer has vanished.
    pub fn are_endless(&self) -> bool {
        [self.head, self.idle, self.body].contains(&Some(Duration::ZERO))
    }

    /// The keys that are written, with their values.
    pub fn written(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let all = [("head_timeout", self.head), ("idle_timeout", self.idle), ("body_timeout", self.body)];
        all.into_iter().filter_map(|(key, timeout)| Some((key, timeout?)))
    }
}

/// The timeout in force. None has a deadline too, a far one: [`crate::limits::NO_TIMEOUT_MS`].
fn in_force_ms(own: Option<Duration>, otherwise_ms: u64) -> u64 {
    match own {
        None => otherwise_ms,
        Some(Duration::ZERO) => NO_TIMEOUT_MS,
        Some(own) => own.as_millis() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_its_own_timeouts_or_none_or_those_of_its_upstream() {
        let own = Some(Duration::from_millis(70));
        let timeouts = RouteTimeouts { head: own, idle: Some(Duration::ZERO), body: None };
        assert_eq!((timeouts.head_ms(5), timeouts.idle_ms(5), timeouts.body_ms(5)), (70, NO_TIMEOUT_MS, 5));
        assert_eq!(timeouts.written().count(), 2);
        let is_endless = |head, idle, body| RouteTimeouts { head, idle, body }.are_endless();
        let none = Some(Duration::ZERO);
        assert!(is_endless(none, None, None) && is_endless(own, none, own) && is_endless(None, None, none));
        assert!(!is_endless(own, own, own) && !is_endless(None, None, None));
    }
}
