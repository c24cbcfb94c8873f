//! From what was written to what it means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::file::{Written, WrittenUpstream, read_regular};
use super::mistake::Mistakes;
use super::value::{self, Parsed};
use super::{
    Config, IoDriver, Jwt, Listen, RateLimit, Route, Secret, Sizes, Timeouts, Upstream, address, routes,
    stray,
};
use crate::limits;

/// A configuration that can be started, and what its operator should hear.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// What is in force.
    pub config: Config,
    /// What is allowed and probably not meant, one line each. No secrets.
    pub warnings: Vec<String>,
}

/// The configuration of this process: flags and environment as clap read them, over `CONFIG_FILE`, over the
/// defaults. `check` adds what can be wrong with a configuration that is right by its form: as `KEY: what`.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(args: Written, check: impl FnOnce(&Config) -> Vec<String>) -> Result<Lowered, Mistakes> {
    load_over(args, |_| Written::default(), check)
}

/// The same with other defaults: `demo` brings its own. They are made when it is known what was written, so
/// that one may depend on the other; what was written still wins.
///
/// # Errors
/// As [`load`].
pub fn load_over(
    args: Written,
    defaults: impl FnOnce(&Written) -> Written,
    check: impl FnOnce(&Config) -> Vec<String>,
) -> Result<Lowered, Mistakes> {
    let mut mistakes = Mistakes::default();
    let file = match args.config_file.as_deref() {
        None | Some("") => Written::default(),
        Some(path) => Written::from_file(Path::new(path), &mut mistakes),
    };
    if args.config_file.as_deref() == Some("") {
        mistakes.add("CONFIG_FILE", &is_empty("CONFIG_FILE"));
    }
    let defaults = defaults(&args.clone().or(file.clone()));
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let strays = stray::stray_names(names);
    let mut lowered = Layers { layers: [args, file, defaults], mistakes, warnings: strays.clone() };
    let config = lowered.config();
    for mistake in check(&config) {
        let (subject, what) = mistake.split_once(": ").unwrap_or(("routes", &mistake));
        lowered.mistakes.add(subject, what);
    }
    // `JWT_SECRET: is missing` is half of the truth where `JWT_SECERT` is set.
    if lowered.mistakes.count() > 0 {
        let strays = strays.iter().filter_map(|warning| warning.split_once(": "));
        strays.for_each(|(name, what)| lowered.mistakes.add(name, what));
    }
    lowered.mistakes.none_or(Lowered { config, warnings: lowered.warnings })
}

/// The meaning of what was written: `args` (flags and environment) over `file`, over the defaults. It reads the
/// files that hold secrets and nothing else.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn lower(args: Written, file: Written) -> Result<Lowered, Mistakes> {
    let layers = [args, file, Written::default()];
    let mut lowered = Layers { layers, mistakes: Mistakes::default(), warnings: Vec::new() };
    let config = lowered.config();
    lowered.mistakes.none_or(Lowered { config, warnings: lowered.warnings })
}

/// What was written where, first the one that wins, and what was found wrong with it so far.
pub(super) struct Layers {
    /// Flags and environment, the file, and defaults that are laid over ours.
    layers: [Written; 3],
    pub(super) mistakes: Mistakes,
    warnings: Vec<String>,
}

impl Layers {
    /// All of it. After a mistake something valid takes the place of the value, so that the rest is judged too.
    fn config(&mut self) -> Config {
        let sizes = self.sizes();
        let rate_limit = self.rate_limit();
        let (upstreams, routes) = self.upstreams_and_routes(&rate_limit);
        let (trusted_proxies, notes) = self.value("TRUSTED_PROXIES", value::networks);
        self.warnings.extend(notes.into_iter().map(|note| format!("TRUSTED_PROXIES: {note}")));
        let listen = Listen {
            port: self.value("PORT", |text| value::count(text, 0, u16::MAX)),
            bind: self.option("BIND", value::ip),
        };
        let admin_addr = self.value("ADMIN_ADDR", value::socket_or_off);
        self.keep_listeners_apart(&listen, admin_addr);
        Config {
            listen,
            admin_addr,
            cores: self.value("CORES", value::cores),
            connections_max: self.option("MAX_CONNECTIONS", |text| value::count(text, 1, CONNECTIONS_MAX)),
            io_driver: self.io_driver(),
            jwt: self.jwt(),
            rate_limit,
            redis: self.redis(),
            upstreams,
            routes,
            trusted_proxies,
            cors: self.value("CORS_ALLOWED_ORIGINS", value::cors),
            websocket: Arc::new(self.websocket()),
            timeouts: self.timeouts(),
            sizes,
            access_log: self.value("ACCESS_LOG", value::access_log),
            pid_file: self.option("PID_FILE", value::file_path),
        }
    }

    /// `REQUIRE_IO_URING=true` is another way to write `IO_DRIVER=io_uring`.
    fn io_driver(&mut self) -> IoDriver {
        let driver = self.value("IO_DRIVER", value::io_driver);
        if !self.value("REQUIRE_IO_URING", value::boolean) {
            return driver;
        }
        if driver == IoDriver::Epoll {
            self.mistakes.add("IO_DRIVER", "is epoll, which REQUIRE_IO_URING=true refuses: keep one of them");
        }
        IoDriver::IoUring
    }

    fn jwt(&mut self) -> Jwt {
        let current = self.signing_secret("JWT_SECRET", "JWT_SECRET_FILE");
        // It may stand in a file that cannot be read.
        let explained =
            ["JWT_SECRET", "JWT_SECRET_FILE", "CONFIG_FILE"].iter().any(|key| self.mistakes.name(key));
        if current.is_none() && !explained {
            self.mistakes.add("JWT_SECRET", "is missing (set it, or JWT_SECRET_FILE)");
        }
        let previous = self.signing_secret("JWT_SECRET_PREVIOUS", "JWT_SECRET_PREVIOUS_FILE");
        if current.is_some() && current == previous {
            self.warnings.push("JWT_SECRET_PREVIOUS: is the same as JWT_SECRET".to_owned());
        }
        Jwt {
            secrets: current.into_iter().chain(previous).collect(),
            issuer: self.option("JWT_ISSUER", value::text),
            audience: self.option("JWT_AUDIENCE", value::text),
            leeway: self.value("JWT_LEEWAY", between(Duration::ZERO, HOUR)),
            user_claim: self.value("JWT_USER_CLAIM", value::text),
        }
    }

    fn timeouts(&mut self) -> Timeouts {
        let tick = Duration::from_millis(limits::TICK_MS);
        Timeouts {
            request_head: self.value("REQUEST_HEAD_TIMEOUT", between(tick, DAY)),
            keep_alive: self.value("KEEP_ALIVE_TIMEOUT", between(tick, DAY)),
            body: self.value("BODY_TIMEOUT", between(tick, DAY)),
            upstream_connect: self.value("UPSTREAM_CONNECT_TIMEOUT", between(tick, DAY)),
            upstream_head: self.value("UPSTREAM_HEAD_TIMEOUT", between(tick, DAY)),
            upstream_idle: self.value("UPSTREAM_IDLE_TIMEOUT", between(tick, DAY)),
            upstream_keep_alive: self.value("UPSTREAM_KEEP_ALIVE", between(tick, DAY)),
            dns_refresh: self.value("DNS_REFRESH", between(Duration::from_secs(1), DAY)),
            shutdown_delay: self.value("SHUTDOWN_DELAY", between(Duration::ZERO, DAY)),
            shutdown: self.value("SHUTDOWN_TIMEOUT", between(Duration::ZERO, DAY)),
            upgrade: self.value("UPGRADE_TIMEOUT", between(Duration::from_secs(1), HOUR)),
        }
    }

    fn sizes(&mut self) -> Sizes {
        let head_bytes = self.value("HEAD_MAX_BYTES", bytes(HEAD_BYTES_MIN, limits::HEAD_BYTES_MAX));
        let line = bytes(REQUEST_LINE_BYTES_MIN, limits::HEAD_BYTES_MAX);
        let request_line_bytes = self.value("REQUEST_LINE_MAX_BYTES", line);
        let judged = !self.mistakes.name("HEAD_MAX_BYTES") && !self.mistakes.name("REQUEST_LINE_MAX_BYTES");
        if judged && request_line_bytes >= head_bytes {
            let show = |bytes: usize| value::show_size(bytes as u64);
            let why = format!(
                "{} leaves no room in a head of {} (HEAD_MAX_BYTES)",
                show(request_line_bytes),
                show(head_bytes)
            );
            self.mistakes.add("REQUEST_LINE_MAX_BYTES", &why);
        }
        Sizes {
            head_bytes,
            request_line_bytes,
            fields: self.value("HEAD_MAX_FIELDS", |text| value::count(text, 1, limits::FIELDS_MAX)),
            body_bytes: self.value("BODY_MAX_BYTES", |text| value::size(text, 0, routes::BODY_BYTES_MAX)),
            body_rate_min: self.value("BODY_MIN_RATE", |text| value::size(text, 0, BODY_RATE_MAX)),
            upstream_idle: self
                .value("UPSTREAM_IDLE_CONNECTIONS", |text| value::count(text, 0, UPSTREAM_IDLE_MAX)),
            upstream_in_flight: self
                .value("UPSTREAM_MAX_IN_FLIGHT", |text| value::count(text, 1, UPSTREAM_IN_FLIGHT_MAX)),
        }
    }

    /// One port for both would give requests of clients to the admin listener, or fail at start.
    fn keep_listeners_apart(&mut self, listen: &Listen, admin_addr: Option<SocketAddr>) {
        let Some(admin) = admin_addr.filter(|admin| admin.port() == listen.port && listen.port != 0) else {
            return;
        };
        let overlap =
            |bind: IpAddr| bind.is_unspecified() || admin.ip().is_unspecified() || bind == admin.ip();
        if listen.bind.is_none_or(overlap) && !self.mistakes.name("PORT") && !self.mistakes.name("ADMIN_ADDR")
        {
            self.mistakes.add("ADMIN_ADDR", &format!("{admin} is the public listener's address too"));
        }
    }

    /// RealChat's, or the file's.
    fn upstreams_and_routes(&mut self, rate_limit: &RateLimit) -> (Vec<Upstream>, Vec<Route>) {
        let file = self.layers.iter().find(|layer| !layer.route.is_empty() || !layer.upstreams.is_empty());
        let Some(file) = file else {
            let upstreams = routes::REALCHAT
                .iter()
                .map(|(key, name)| self.value(key, |url| address::upstream(name, url)));
            return (upstreams.collect(), routes::realchat(rate_limit));
        };
        let (written_routes, written_upstreams) = (file.route.clone(), file.upstreams.clone());
        if written_routes.is_empty() {
            let why = "are given without any [[route]] that uses them";
            self.mistakes.add("upstreams", why);
        }

        let wanted: BTreeSet<&str> = written_routes.iter().map(|route| route.upstream.as_str()).collect();
        let moved = self.moved_upstreams(&wanted, &written_upstreams);
        for name in written_upstreams.keys().filter(|name| !wanted.contains(name.as_str())) {
            self.warnings.push(format!("upstreams.{name}: no route uses it"));
        }
        let mut known: BTreeSet<&str> = written_upstreams.keys().map(String::as_str).collect();
        known.extend(moved.keys());

        // A URL that is written over another one takes its place before either is judged.
        let own = written_upstreams.iter().filter(|(name, _)| !moved.contains_key(name.as_str()));
        let own = own.map(|(name, upstream)| (name.clone(), upstream.clone())).collect();
        let mut upstreams = routes::upstreams(&own, &mut self.mistakes);
        upstreams.extend(moved.into_values().flatten());
        let routes = routes::routes(&written_routes, &known, &upstreams, &mut self.mistakes);
        (upstreams, routes)
    }

    /// `UPSTREAM_…_URL` beside a file with routes: each moves the upstream of its name, if there is one.
    fn moved_upstreams(
        &mut self,
        wanted: &BTreeSet<&str>,
        written: &BTreeMap<String, WrittenUpstream>,
    ) -> BTreeMap<&'static str, Option<Upstream>> {
        let mut moved = BTreeMap::new();
        for (key, name) in routes::REALCHAT {
            if self.written(key).is_none() {
                continue;
            }
            if wanted.contains(name) || written.contains_key(name) {
                moved.insert(name, self.option(key, |url| address::upstream(name, url)));
            } else {
                self.warnings
                    .push(format!("{key}: has no effect, no route of the file uses an upstream {name}"));
            }
        }
        moved
    }

    /// A secret, from its own key or from the file that the other key names: whichever is written nearer. With
    /// it the key and place that it comes from.
    pub(super) fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<(Secret, String)> {
        let layer = self.layers.iter().find(|layer| layer.get(key).or(layer.get(file_key)).is_some())?;
        let (key, bytes) = match (layer.get(key), layer.get(file_key)) {
            (Some(_), Some(_)) => {
                self.mistakes.add(key, &format!("is written beside {file_key}: keep one of them"));
                return None;
            }
            (Some(text), None) => (key, text.as_bytes().to_vec()),
            (None, Some("")) => {
                self.mistakes.add(&subject(layer, file_key), "is empty");
                return None;
            }
            (None, path) => match read_regular(Path::new(path.unwrap_or_default())) {
                Ok(bytes) => (file_key, without_line_break(bytes)),
                Err(why) => {
                    self.mistakes.add(&subject(layer, file_key), &why);
                    return None;
                }
            },
        };
        let subject = subject(layer, key);
        if bytes.is_empty() {
            self.mistakes.add(&subject, if key == file_key { "names an empty file" } else { "is empty" });
            return None;
        }
        Some((Secret(bytes), subject))
    }

    /// A secret that signs tokens.
    fn signing_secret(&mut self, key: &'static str, file_key: &'static str) -> Option<Secret> {
        let (Secret(bytes), subject) = self.secret(key, file_key)?;
        // A public key taken for an HMAC secret would let anyone who has it sign tokens.
        if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            self.mistakes
                .add(&subject, "is a PEM; an HS256 secret is random bytes (openssl rand -base64 48)");
            return None;
        }
        if bytes.len() < SECRET_BYTES_SAFE {
            let why = format!(
                "is shorter than {SECRET_BYTES_SAFE} bytes and can be guessed from a token (openssl rand -base64 48)"
            );
            self.warnings.push(format!("{subject}: {why}"));
        }
        Some(Secret(bytes))
    }

    /// The meaning of a key that has a default.
    pub(super) fn value<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> T {
        match self.option(key, &parse) {
            Some(value) => value,
            None => default_of(key, parse),
        }
    }

    /// The meaning of a key, if it is written and right.
    pub(super) fn option<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let layer = self.layers.iter().find(|layer| layer.get(key).is_some())?;
        let text = layer.get(key).unwrap_or_default();
        let parsed = if text.is_empty() { Err(is_empty(key)) } else { parse(text) };
        match parsed {
            Ok(value) => Some(value),
            Err(why) => {
                let subject = subject(layer, key);
                self.mistakes.add(&subject, &why);
                None
            }
        }
    }

    /// The text of a key, if it is written.
    pub(super) fn written(&self, key: &str) -> Option<&str> {
        self.layers.iter().find_map(|layer| layer.get(key))
    }
}

/// What a key means when it is not written.
fn default_of<T>(key: &str, parse: impl Fn(&str) -> Parsed<T>) -> T {
    let default = Written::KEYS.iter().find(|known| known.env == key).and_then(|known| known.default);
    match default.map(parse) {
        Some(Ok(value)) => value,
        Some(Err(why)) => unreachable!("the default of {key} {why}"),
        None => unreachable!("{key} has no default"),
    }
}

/// A key that is written as nothing: often a variable of a template that was never filled in.
fn is_empty(key: &str) -> String {
    match Written::KEYS.iter().find(|known| known.env == key).and_then(|known| known.default) {
        Some(default) => format!("is empty (leave it out for the default, {default})"),
        None => "is empty (leave it out for none)".to_owned(),
    }
}

/// A key and, in a file, where it stands: `PORT (gateway.toml:12)`.
fn subject(layer: &Written, key: &str) -> String {
    match layer.places.get(key) {
        Some(place) => format!("{key} ({place})"),
        None => key.to_owned(),
    }
}

/// Without the line break that editors put at the end of a file.
fn without_line_break(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last().is_some_and(|byte| b"\r\n".contains(byte)) {
        bytes.pop();
    }
    bytes
}

/// A parser of durations in a range.
pub(super) fn between(min: Duration, max: Duration) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| value::duration(text, min, max)
}

/// A parser of sizes that fit a buffer.
fn bytes(min: usize, max: usize) -> impl Fn(&str) -> Parsed<usize> {
    move |text| {
        let bytes = value::size(text, min as u64, max as u64)?;
        usize::try_from(bytes).map_err(|error| error.to_string())
    }
}

/// Bytes from which on a secret cannot be guessed (RFC 7518 §3.2: at least the size of the hash).
pub(super) const SECRET_BYTES_SAFE: usize = 32;
/// Connections that one core may be allowed.
const CONNECTIONS_MAX: usize = 16 * 1024 * 1024;
/// Smallest head an operator may set, in bytes: a browser's must pass.
const HEAD_BYTES_MIN: usize = 1024;
/// Smallest request line an operator may set, in bytes.
const REQUEST_LINE_BYTES_MIN: usize = 128;
/// Highest floor for the rate of a body, in bytes per second.
const BODY_RATE_MAX: u64 = 1 << 30;
/// Idle connections per upstream and core.
const UPSTREAM_IDLE_MAX: usize = 65_536;
/// Requests in flight per upstream and core.
const UPSTREAM_IN_FLIGHT_MAX: usize = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
