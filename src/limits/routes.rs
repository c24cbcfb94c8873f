//! Bounds of routes: what a configuration may say of them, and what they change in a message.

/// Values of `Sec-WebSocket-Protocol` in one handshake. Over it: 400.
pub const SUBPROTOCOLS_MAX: usize = 32;

/// Routes of one configuration. Over it: the configuration is refused.
pub const ROUTES_MAX: usize = 1024;
/// Hosts of one route. Over it: the configuration is refused.
pub const ROUTE_HOSTS_MAX: usize = 64;
/// Fields that a route asks of a request (`headers`). Over it: the configuration is refused.
pub const ROUTE_CONDITIONS_MAX: usize = 8;
/// Bytes of the value of one of them. Over it: the configuration is refused.
pub const ROUTE_CONDITION_BYTES_MAX: usize = 256;
/// Names of fields that a route changes in its requests, or in its responses. Over it: the configuration is refused.
pub const FIELD_EDITS_MAX: usize = 32;
/// Bytes of the lines that a route adds to a request, or to a response. Over it: the configuration is refused.
pub const FIELD_EDITS_BYTES_MAX: usize = 4096;
/// Bytes of `strip_prefix` and of `add_prefix` of a route. Over it: the configuration is refused.
pub const PREFIX_BYTES_MAX: usize = 256;
/// Networks in `allow` and in `deny` of a route. Over it: the configuration is refused.
pub const ROUTE_NETWORKS_MAX: usize = 64;
/// Bytes of `to` of a redirect. Over it: the configuration is refused.
pub const REDIRECT_BYTES_MAX: usize = 2048;
/// Bytes of the body of a route's own answer. Over it: the configuration is refused.
pub const RESPOND_BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of its `content_type`. Over it: the configuration is refused.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Bytes of a host's name (RFC 1035 §2.3.4). A longer one in a configuration is refused; in a request, no route names
/// it.
pub const HOST_BYTES_MAX: usize = 253;
/// The longest path that is matched in any case, in bytes. Over it: the configuration is refused.
pub const ANY_CASE_PATH_BYTES_MAX: usize = 256;
/// How long a wait without a timeout lasts, in milliseconds: a year. It has a deadline all the same, because a wait
/// that has none is one for what the client still has to send.
pub const NO_TIMEOUT_MS: u64 = 365 * 24 * 3_600 * 1_000;
/// How long a peer may leave the kernel's probes unanswered while an exchange waits without a timeout, in milliseconds.
/// Over it: the connection has ended.
pub const PROBED_MS: u64 = 60_000;
/// Upstreams of one configuration. Over it: the configuration is refused.
pub const UPSTREAMS_MAX: usize = 256;
/// Upstreams among which one route divides its requests. Over it: the configuration is refused.
pub const ROUTE_UPSTREAMS_MAX: usize = 8;
/// The largest weight of one of them. Over it: the configuration is refused.
pub const SHARE_WEIGHT_MAX: u32 = 1_000;
/// Bytes of requested header names that the answer to a preflight repeats. Over it: the answer has a fixed list.
pub const CORS_HEADERS_BYTES_MAX: usize = 1024;
/// The longest host that is handed on as one, in bytes: a name of 253 (RFC 1035 §2.3.4) and a port. Over it: the
/// upstream gets its own, and where it sends the client to stays without a host.
pub const HOST_AND_PORT_BYTES_MAX: usize = HOST_BYTES_MAX + 6;
/// Fields of one response that send the client to the service itself and are corrected. Over it: the others stay.
pub const LOCATIONS_MAX: usize = 4;
/// Names in `Access-Control-Expose-Headers` that a service adds to the gateway's. Over it: the others are left out.
pub const CORS_EXPOSED_MAX: usize = 64;
