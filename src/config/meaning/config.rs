//! The whole configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::bounds::{Sizes, Timeouts};
use super::control::Control;
use super::half_close::HalfClose;
use super::https::{Https, HttpsRedirect};
use super::limits::{LimitStore, RateLimit};
use super::listen::{Cors, Http2, Listen, ProxyProtocol, Via};
use super::members::ReadyRequires;
use super::oddities::{EmptySegments, Oddities};
use super::online::Online;
use super::process::{AccessLog, CoreChoice, IoDriver, LogFormat};
use super::redis::Redis;
use super::routes::Route;
use super::tls::Tls;
use super::token_sources::TokenSources;
use super::tokens::{Issuer, Jwt, Secret};
use super::traces::Traces;
use super::upstreams::Upstream;
use super::websockets::WebSocket;

/// A valid configuration. It is immutable: a reload makes a new one.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listener.
    pub listen: Listen,
    /// Address of the admin listener (health and metrics). `None`: there is no admin listener.
    pub admin_addr: Option<SocketAddr>,
    /// TLS towards clients.
    pub tls: Tls,
    /// From HTTP to HTTPS.
    pub https: Https,
    /// Names by which the admin listener may be asked, in lower case.
    pub admin_hosts: Vec<String>,
    /// The token without which the admin listener tells only health. `None`: it tells everybody everything.
    pub admin_token: Option<Secret>,
    /// The CPUs that get a core.
    pub cores: CoreChoice,
    /// Memory of the process, in bytes. `None`: what the control group or the machine has. `MEMORY_BUDGET`, none.
    pub memory_budget: Option<u64>,
    /// Connections per core. `None`: derived from the memory budget and RLIMIT_NOFILE.
    pub connections_max: Option<usize>,
    /// Connections of one client address per core. 0: no bound. `None`: half of those of the core.
    /// `MAX_CONNECTIONS_PER_ADDRESS`, none.
    pub connections_per_address_max: Option<usize>,
    /// How the threads wait for their sockets.
    pub io_driver: IoDriver,
    /// How tokens are verified.
    pub jwt: Jwt,
    /// The global rate limit.
    pub rate_limit: RateLimit,
    /// The shared store of the rate limit.
    pub redis: Redis,
    /// The internal services. A route names one by its index.
    pub upstreams: Vec<Upstream>,
    /// The routes, in the order in which they are written.
    pub routes: Vec<Route>,
    /// Where any route takes a token from.
    pub token_sources: TokenSources,
    /// Peers whose forwarding headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Which connections of the public listener begin with a header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// What becomes of a path with `//` on a route that does not say, and of one without a route.
    pub empty_segments: EmptySegments,
    /// What becomes of a request whose client half-closes.
    pub client_half_close: HalfClose,
    /// Whether clients of the public listener may speak HTTP/2 without TLS.
    pub h2c: Http2,
    /// What the gateway says of itself in `Via` of requests.
    pub via: Via,
    /// The browser origins that may call.
    pub cors: Cors,
    /// Rules for WebSocket handshakes and tunnels.
    pub websocket: Arc<WebSocket>,
    /// Live control of sessions.
    pub control: Control,
    /// What Redis is told of WebSockets.
    pub online: Online,
    /// The upper bound of every wait.
    pub timeouts: Timeouts,
    /// The upper bound of every size.
    pub sizes: Sizes,
    /// Which upstreams have to have a usable member while the process is ready.
    pub ready_requires: ReadyRequires,
    /// Whom names are asked of; `None`: as the system does.
    pub dns_server: Option<SocketAddr>,
    /// Where access-log lines go.
    pub access_log: AccessLog,
    /// Traces.
    pub traces: Traces,
    /// Of how many requests that succeed one is in the access log.
    pub access_log_sample: u32,
    /// How the program's own log is written.
    pub log_format: LogFormat,
    /// The file that holds the pid of the running process. `None`: no file is written.
    pub pid_file: Option<PathBuf>,
}

impl Config {
    /// Which oddities of a path without a route are taken.
    pub fn default_oddities(&self) -> Oddities {
        Oddities::of_gateway(self.empty_segments)
    }

    /// Which oddities of a path may be taken: the route decides.
    pub fn any_oddities(&self) -> Oddities {
        self.routes.iter().fold(self.default_oddities(), |all, route| all.and(route.oddities))
    }

    /// Whether anything is kept in Redis.
    pub fn uses_redis(&self) -> bool {
        self.rate_limit.store == LimitStore::Redis || self.online.is_on()
    }

    /// The port of HTTPS to which requests in the clear are redirected. `None`: they are served.
    pub fn redirect_port(&self) -> Option<u16> {
        match self.https.redirect {
            HttpsRedirect::Off => None,
            HttpsRedirect::On => self.tls.port,
            HttpsRedirect::Port(port) => Some(port),
        }
    }

    /// How long a revocation matters, in seconds: the longest lifetime of a token, and the longest leeway. Without a
    /// bound of lifetimes there are no revocations.
    pub fn token_lifetime_s(&self) -> (u64, u64) {
        let longest = |of: fn(&Issuer) -> Duration| self.jwt.issuers.iter().map(of).max().unwrap_or_default();
        let seconds = |time: Duration| time.as_nanos().div_ceil(1_000_000_000) as u64;
        let lifetime = longest(|issuer| issuer.lifetime_max.unwrap_or_default());
        (seconds(lifetime), seconds(longest(|issuer| issuer.leeway)))
    }

    /// Requests of one client address that may be in flight per core.
    pub fn requests_per_address_max(&self) -> usize {
        match self.sizes.requests_per_address {
            Some(0) => usize::MAX,
            configured => configured.unwrap_or(self.sizes.upstream_in_flight.div_ceil(4)),
        }
    }
}
