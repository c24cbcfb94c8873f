//! What the configuration means: valid by construction, the same for every core.
//!
//! What was *written* (flags, environment, file) is [`file::Written`]; [`lower()`] turns it into [`Config`] and
//! reports every mistake at once, each with its key.

mod address;
mod describe;
mod difference;
pub mod file;
mod limit;
pub mod lower;
pub mod mistake;
mod routes;
mod stray;
#[cfg(test)]
mod tests;
pub mod value;
mod websocket;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use describe::describe;
pub use difference::{Change, difference, settle};
pub use file::Written;
pub use lower::{Lowered, load, load_over, lower};
pub use mistake::Mistakes;
pub(crate) use routes::method;
pub use stray::stray_names;
pub use websocket::{Origins, TokenExpiry, TokenSources, WebSocket};

/// Everything that is in force. Immutable; a reload makes a new one.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listener.
    pub listen: Listen,
    /// Health and metrics; `None` is `ADMIN_ADDR=off`.
    pub admin_addr: Option<SocketAddr>,
    /// Which CPUs get a core.
    pub cores: CoreChoice,
    /// Connections per core; `None`: derived from RLIMIT_NOFILE.
    pub connections_max: Option<usize>,
    /// How the threads wait for their sockets.
    pub io_driver: IoDriver,
    /// How tokens are checked.
    pub jwt: Jwt,
    /// The rate limit.
    pub rate_limit: RateLimit,
    /// The shared store of the rate limit.
    pub redis: Redis,
    /// The internal services, by index.
    pub upstreams: Vec<Upstream>,
    /// The routes, in the order written.
    pub routes: Vec<Route>,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Which browser origins may call.
    pub cors: Cors,
    /// Handshakes and tunnels.
    pub websocket: Arc<WebSocket>,
    /// Every wait that has a bound.
    pub timeouts: Timeouts,
    /// Every size that has a bound.
    pub sizes: Sizes,
    /// Where access-log lines go.
    pub access_log: AccessLog,
    /// The file that holds the number of the process in charge; `None`: none is written.
    pub pid_file: Option<PathBuf>,
}

/// The public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// TCP port. 0: one the kernel chooses (tests), the same for every core.
    pub port: u16,
    /// `None`: every address, IPv6 too where the host has it.
    pub bind: Option<IpAddr>,
}

/// Which CPUs get a core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoreChoice {
    /// Every CPU the process may run on.
    All,
    /// The first so many of them.
    Count(usize),
    /// These, by number, ascending, without repeats.
    List(Vec<usize>),
}

/// How the threads wait for their sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoDriver {
    /// io_uring where the kernel grants it, else epoll.
    Auto,
    /// io_uring, or no start. `REQUIRE_IO_URING=true` means the same.
    IoUring,
    /// epoll; no ring is tried.
    Epoll,
}

/// How tokens are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// HS256 secrets; the first one signs, all of them verify. Never empty.
    pub secrets: Vec<Secret>,
    /// `iss` must be this.
    pub issuer: Option<String>,
    /// `aud` must be or contain this.
    pub audience: Option<String>,
    /// Allowed clock difference for `exp` and `nbf`.
    pub leeway: Duration,
    /// The claim that names the user.
    pub user_claim: String,
}

/// Bytes that never appear in a log, an error or `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The rate limit of every bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Who keeps the buckets.
    pub store: LimitStore,
    /// How fast a bucket fills; 0: nothing passes.
    pub rate: Rate,
    /// Capacity of a bucket, in tokens.
    pub burst: u32,
    /// What every key begins with, so that several systems can share one Redis.
    pub prefix: String,
    /// What becomes of requests while Redis does not answer.
    pub on_failure: OnRedisFailure,
    /// Which responses tell the client its limit.
    pub headers: LimitHeaders,
}

/// Tokens per second, exact to a thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u32);

impl Rate {
    /// So many thousandths of a token per second.
    ///
    /// # Panics
    /// Over [`crate::limits::RATE_MILLI_MAX`].
    pub const fn from_milli(milli: u32) -> Self {
        assert!(milli <= crate::limits::RATE_MILLI_MAX);
        Self(milli)
    }

    /// Thousandths of a token per second.
    pub const fn milli(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Rate {
    /// As it would be written: `10`, `0.5`, `3.333`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, milli) = (self.0 / 1000, self.0 % 1000);
        match milli {
            0 => write!(f, "{whole}"),
            _ => f.write_str(format!("{whole}.{milli:03}").trim_end_matches('0')),
        }
    }
}

/// What becomes of requests while Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRedisFailure {
    /// They pass without limit.
    Open,
    /// This process keeps buckets of its own for the time being.
    Memory,
    /// They are refused: 503.
    Closed,
}

/// Which responses tell the client its limit (`RateLimit-Limit`, `-Remaining`, `-Reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitHeaders {
    /// 429 alone.
    Refused,
    /// Every response to a request that was limited.
    All,
}

/// The shared store of the rate limit, and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Where it listens.
    pub address: RedisAddress,
    /// The ACL user; `None`: the default one.
    pub username: Option<String>,
    /// Its password; `None`: no `AUTH`.
    pub password: Option<Secret>,
    /// The database.
    pub database: u32,
    /// How long one decision may take. `REDIS_TIMEOUT`, 25 ms.
    pub timeout: Duration,
}

/// Where Redis listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    /// A name or address literal, resolved on the control thread.
    Tcp {
        /// Name, or address literal without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A stream socket in the file system.
    Unix(PathBuf),
}

/// Who keeps the buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitStore {
    /// Redis: the same buckets for every instance.
    Redis,
    /// This process.
    Memory,
    /// Nobody: no limit.
    Off,
}

/// One internal service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in routes, logs and metrics.
    pub name: String,
    /// Where it listens.
    pub address: UpstreamAddress,
    /// What it gets as `Host`.
    pub authority: String,
}

/// Where an upstream listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// A name or address literal, resolved on the control thread.
    Tcp {
        /// Name, or address literal without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A stream socket in the file system (`http+unix://%2Frun%2Fa.sock`).
    Unix(PathBuf),
}

/// One route: which requests, where to, on which conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: String,
    /// Methods it takes, upper case; empty: any.
    pub methods: Vec<String>,
    /// Patterns: `/exact`, `/with/{parameter}`, `/below/*` (everything below, and `/below/` itself).
    pub paths: Vec<String>,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// Who may use it.
    pub access: Access,
    /// What travels on it.
    pub kind: RouteKind,
    /// Where a handshake may carry its token. Requests carry it in `Authorization` alone.
    pub token_sources: TokenSources,
    /// The client's `Authorization` goes upstream.
    pub authorization_forwarded: bool,
    /// Trailer fields pass in both directions.
    pub trailers_forwarded: bool,
    /// Its own bound of a request body, in bytes.
    pub body_bytes_max: Option<u64>,
    /// Its requests draw from the client's global bucket too.
    pub is_limited_globally: bool,
    /// Its own limits, at most [`crate::limits::ROUTE_LIMITS_MAX`].
    pub limits: Vec<RouteLimit>,
}

/// A limit of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimit {
    /// How fast a bucket fills; 0: nothing passes.
    pub rate: Rate,
    /// Capacity of a bucket, in tokens.
    pub burst: u32,
    /// Who shares a bucket.
    pub per: Per,
    /// Tokens that one request takes, from 1 to `burst`.
    pub cost: u32,
}

/// Who shares a bucket of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// Every verified user has one.
    User,
    /// Every client address has one; an IPv6 client is its /64.
    Ip,
    /// There is one for everybody.
    None,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody; limited per client address.
    Public,
    /// Bearers of a valid token; limited per user.
    Protected,
}

/// What travels on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// Requests and responses.
    Http,
    /// A WebSocket handshake, then a tunnel.
    WebSocket,
}

/// Which browser origins may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// None: preflights are ordinary requests.
    Off,
    /// Any, without credentials.
    Any,
    /// These, with credentials; serialized origins (`https://chat.example`), lower case.
    Origins(Vec<String>),
}

/// Every wait that has a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request head (or the accept) to its last. `REQUEST_HEAD_TIMEOUT`, 10 s.
    pub request_head: Duration,
    /// An idle keep-alive connection. `KEEP_ALIVE_TIMEOUT`, 75 s.
    pub keep_alive: Duration,
    /// A request body (or a client reading a response) that does not move at all; also the grace before
    /// the floor of [`Sizes::body_rate_min`] counts. `BODY_TIMEOUT`, 30 s.
    pub body: Duration,
    /// Connecting to an upstream. `UPSTREAM_CONNECT_TIMEOUT`, 2 s.
    pub upstream_connect: Duration,
    /// From the end of the request to the response head. `UPSTREAM_HEAD_TIMEOUT`, 30 s.
    pub upstream_head: Duration,
    /// Between bytes of a response body, and of a request that an upstream does not take.
    /// `UPSTREAM_IDLE_TIMEOUT`, 30 s.
    pub upstream_idle: Duration,
    /// An idle pooled upstream connection. `UPSTREAM_KEEP_ALIVE`, 60 s.
    pub upstream_keep_alive: Duration,
    /// Between resolutions of an upstream's name. `DNS_REFRESH`, 30 s.
    pub dns_refresh: Duration,
    /// From failing readiness to closing the listeners. `SHUTDOWN_DELAY`, 0 s.
    pub shutdown_delay: Duration,
    /// From closing the listeners to cutting off what is left. `SHUTDOWN_TIMEOUT`, 15 s.
    pub shutdown: Duration,
    /// From the start of a new binary to its word that it is ready. `UPGRADE_TIMEOUT`, 30 s.
    pub upgrade: Duration,
}

/// Every size that has a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// A request or response head, in bytes. `HEAD_MAX_BYTES`, 32 KiB.
    pub head_bytes: usize,
    /// A request line, in bytes. `REQUEST_LINE_MAX_BYTES`, 8 KiB.
    pub request_line_bytes: usize,
    /// Fields of a head, at most [`crate::limits::FIELDS_MAX`]. `HEAD_MAX_FIELDS`, 100.
    pub fields: usize,
    /// A request body, in bytes; 0: no bound. `BODY_MAX_BYTES`, 10 MiB.
    pub body_bytes: u64,
    /// A body must average this many bytes per second of waiting; 0: no floor. `BODY_MIN_RATE`, 1 KiB/s.
    pub body_rate_min: u64,
    /// Idle connections kept per upstream and core. `UPSTREAM_IDLE_CONNECTIONS`, 256.
    pub upstream_idle: usize,
    /// Requests in flight to one upstream from one core. `UPSTREAM_MAX_IN_FLIGHT`, 1024.
    pub upstream_in_flight: usize,
}

/// Where access-log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}
