//! What was written: one value per key, as text, wherever it stands: a flag, the environment or a file.
//!
//! The same struct is what clap fills and what the file is read into, so that a key exists once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::mistake::Mistakes;
use crate::limits;

/// One key: its names and what holds when nobody writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its environment variable; in a file, the same in lower case.
    pub env: &'static str,
    /// Its id in clap and its key in a file.
    pub field: &'static str,
    /// The value in force when it is not written; `None`: none.
    pub default: Option<&'static str>,
}

/// A default, or none.
macro_rules! perhaps {
    () => {
        None::<&'static str>
    };
    ($default:literal) => {
        Some($default)
    };
}

/// Makes [`Written`] and everything that must know each of its keys.
macro_rules! written {
    ($($heading:literal { $(
        $(#[$meta:meta])*
        $field:ident: $env:literal, $form:tt, $value_name:literal $(= $default:literal)?;
    )* })*) => {
        /// What was written in one place.
        ///
        /// Every scalar is text here, whatever the file made of it; [`super::lower()`] gives it its meaning.
        #[derive(Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Written {
            $($(
                #[arg(long, env = $env, global = true, value_name = $value_name)]
                #[arg(help_heading = $heading, hide_env_values = true)]
                #[serde(deserialize_with = $form)]
                $(#[$meta])*
                pub $field: Option<String>,
            )*)*
            /// Upstreams by name; in a file only.
            #[arg(skip)]
            pub upstreams: BTreeMap<String, WrittenUpstream>,
            /// Routes in the order written; in a file only.
            #[arg(skip)]
            pub route: Vec<WrittenRoute>,
            /// Where each key of a file stands (`gateway.toml:12`), by environment name.
            #[arg(skip)]
            #[serde(skip)]
            pub places: BTreeMap<&'static str, String>,
        }

        impl Written {
            /// Every key that has a flag, in the order of `--help`.
            pub const KEYS: &[Key] = &[$($(
                Key { env: $env, field: stringify!($field), default: perhaps!($($default)?) },
            )*)*];

            /// The value of a key by its environment name.
            ///
            /// # Panics
            /// When there is no such key.
            #[must_use]
            pub fn get(&self, env: &str) -> Option<&str> {
                match env {
                    $($($env => self.$field.as_deref(),)*)*
                    _ => panic!("{env} is not a key"),
                }
            }

            /// What stands here, and in `other` for what does not: the layers of flag, environment, file and
            /// default are laid over each other with it. Routes and upstreams come from one place, never mixed.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                let (upstreams, route) = if self.route.is_empty() && self.upstreams.is_empty() {
                    (other.upstreams, other.route)
                } else {
                    (self.upstreams, self.route)
                };
                let mut places = self.places;
                $($(
                    if self.$field.is_none() && let Some(place) = other.places.get($env) {
                        places.insert($env, place.clone());
                    }
                )*)*
                Self {
                    $($($field: self.$field.or(other.$field),)*)*
                    upstreams,
                    route,
                    places,
                }
            }

            /// What holds when nobody writes anything.
            #[must_use]
            pub fn defaults() -> Self {
                Self {
                    $($($field: perhaps!($($default)?).map(str::to_owned),)*)*
                    ..Self::default()
                }
            }
        }
    };
}

written! {
    "Listening" {
        /// Port of the public listener; 0: one the kernel chooses
        port: "PORT", "scalar", "PORT" = "8080";
        /// Address of the public listener; unset: every address, IPv6 too where the host has it
        bind: "BIND", "scalar", "ADDRESS";
        /// Listener of health and metrics, or off
        admin_addr: "ADMIN_ADDR", "scalar", "ADDRESS:PORT" = "127.0.0.1:9901";
        /// Peers whose forwarding headers are believed: networks or addresses, comma-separated
        trusted_proxies: "TRUSTED_PROXIES", "list", "CIDR,…" = "none";
        /// Browser origins that may call, comma-separated; * for any, without credentials
        cors_allowed_origins: "CORS_ALLOWED_ORIGINS", "list", "ORIGIN,…" = "none";
    }
    "Process" {
        /// File with any of these settings, and with the upstreams and routes of another system (TOML)
        #[arg(long = "config", alias = "config-file")]
        #[serde(skip)]
        config_file: "CONFIG_FILE", "scalar", "PATH";
        /// CPUs that get a core: all, a count, or a list such as 0-3,8
        cores: "CORES", "list", "CPUS" = "all";
        /// Connections per core; unset: from the limit of open files
        max_connections: "MAX_CONNECTIONS", "scalar", "COUNT";
        /// How sockets are waited for: auto (io_uring, else epoll), io_uring or epoll
        io_driver: "IO_DRIVER", "scalar", "DRIVER" = "auto";
        /// Refuse to start where io_uring is not available, as IO_DRIVER=io_uring does: true or false
        require_io_uring: "REQUIRE_IO_URING", "scalar", "BOOL" = "false";
        /// Where access-log lines go: off, stdout or a path
        access_log: "ACCESS_LOG", "scalar", "SINK" = "stdout";
        /// From failing readiness to closing the listeners
        shutdown_delay: "SHUTDOWN_DELAY", "scalar", "DURATION" = "0s";
        /// From closing the listeners to cutting off what is left
        shutdown_timeout: "SHUTDOWN_TIMEOUT", "scalar", "DURATION" = "15s";
        /// From the start of a new binary to its word that it is ready
        upgrade_timeout: "UPGRADE_TIMEOUT", "scalar", "DURATION" = "30s";
        /// File that holds the number of the process in charge
        pid_file: "PID_FILE", "scalar", "PATH";
    }
    "Tokens" {
        /// HS256 secret that signs and verifies (a flag is visible to every user of the host)
        jwt_secret: "JWT_SECRET", "scalar", "SECRET";
        /// File with that secret, in place of it
        jwt_secret_file: "JWT_SECRET_FILE", "scalar", "PATH";
        /// Secret that still verifies, for rotation
        jwt_secret_previous: "JWT_SECRET_PREVIOUS", "scalar", "SECRET";
        /// File with that secret, in place of it
        jwt_secret_previous_file: "JWT_SECRET_PREVIOUS_FILE", "scalar", "PATH";
        /// What iss must be; unset: not checked
        jwt_issuer: "JWT_ISSUER", "scalar", "ISSUER";
        /// What aud must be or contain; unset: not checked
        jwt_audience: "JWT_AUDIENCE", "scalar", "AUDIENCE";
        /// Allowed clock difference for exp and nbf
        jwt_leeway: "JWT_LEEWAY", "scalar", "DURATION" = "0s";
        /// Claim that names the user
        jwt_user_claim: "JWT_USER_CLAIM", "scalar", "CLAIM" = "sub";
    }
    "Rate limit" {
        /// Requests per second of one bucket, fractions allowed; 0: nothing passes
        rate_limit_rps: "RATE_LIMIT_RPS", "scalar", "RATE" = "10";
        /// Capacity of one bucket, in requests
        rate_limit_burst: "RATE_LIMIT_BURST", "scalar", "COUNT" = "20";
        /// Who keeps the buckets: redis, memory or off
        rate_limit_store: "RATE_LIMIT_STORE", "scalar", "STORE" = "redis";
        /// What every key in Redis begins with
        rate_limit_prefix: "RATE_LIMIT_PREFIX", "scalar", "PREFIX" = "rl";
        /// While Redis does not answer: open (no limit), memory or closed (503)
        rate_limit_on_redis_failure: "RATE_LIMIT_ON_REDIS_FAILURE", "scalar", "POLICY" = "open";
        /// Responses that tell the client its limit: refused or all
        rate_limit_headers: "RATE_LIMIT_HEADERS", "scalar", "RESPONSES" = "refused";
        /// Where Redis is: host:port, redis://… or unix:/path
        redis_addr: "REDIS_ADDR", "scalar", "REDIS" = "localhost:6379";
        /// ACL user of Redis
        redis_username: "REDIS_USERNAME", "scalar", "NAME";
        /// Its password (a flag is visible to every user of the host)
        redis_password: "REDIS_PASSWORD", "scalar", "SECRET";
        /// File with that password, in place of it
        redis_password_file: "REDIS_PASSWORD_FILE", "scalar", "PATH";
        /// How long one decision of Redis may take
        redis_timeout: "REDIS_TIMEOUT", "scalar", "DURATION" = "25ms";
    }
    "Upstreams" {
        /// The service that registers users and logs them in
        upstream_auth_url: "UPSTREAM_AUTH_URL", "scalar", "URL" = "http://auth:5001";
        /// The service of messages
        upstream_message_url: "UPSTREAM_MESSAGE_URL", "scalar", "URL" = "http://message:5002";
        /// The service of WebSockets
        upstream_delivery_url: "UPSTREAM_DELIVERY_URL", "scalar", "URL" = "http://delivery:5003";
        /// The service of users
        upstream_profile_url: "UPSTREAM_PROFILE_URL", "scalar", "URL" = "http://profile:5004";
        /// The service of conversations
        upstream_conversation_url: "UPSTREAM_CONVERSATION_URL", "scalar", "URL" = "http://conversation:5005";
        /// Connecting to an upstream
        upstream_connect_timeout: "UPSTREAM_CONNECT_TIMEOUT", "scalar", "DURATION" = "2s";
        /// From the end of a request to the head of its response
        upstream_head_timeout: "UPSTREAM_HEAD_TIMEOUT", "scalar", "DURATION" = "30s";
        /// Between bytes of a response, and of a request that an upstream does not take
        upstream_idle_timeout: "UPSTREAM_IDLE_TIMEOUT", "scalar", "DURATION" = "30s";
        /// How long a pooled connection may be idle
        upstream_keep_alive: "UPSTREAM_KEEP_ALIVE", "scalar", "DURATION" = "60s";
        /// Idle connections kept per upstream and core
        upstream_idle_connections: "UPSTREAM_IDLE_CONNECTIONS", "scalar", "COUNT" = "256";
        /// Requests in flight per upstream and core; over it: 503
        upstream_max_in_flight: "UPSTREAM_MAX_IN_FLIGHT", "scalar", "COUNT" = "1024";
        /// Between resolutions of an upstream's name
        dns_refresh: "DNS_REFRESH", "scalar", "DURATION" = "30s";
    }
    "WebSockets" {
        /// Browser origins that may open one, comma-separated; * for any
        ws_allowed_origins: "WS_ALLOWED_ORIGINS", "list", "ORIGIN,…" = "*";
        /// From the head of a handshake to the upstream's answer
        ws_handshake_timeout: "WS_HANDSHAKE_TIMEOUT", "scalar", "DURATION" = "10s";
        /// How long a client may be silent before it is pinged; 0s: never
        ws_ping_interval: "WS_PING_INTERVAL", "scalar", "DURATION" = "30s";
        /// How long a client may send no frame at all; 0s: for ever
        ws_idle_timeout: "WS_IDLE_TIMEOUT", "scalar", "DURATION" = "120s";
        /// How long a WebSocket may last; 0s: for ever
        ws_max_lifetime: "WS_MAX_LIFETIME", "scalar", "DURATION" = "0s";
        /// When the token's time is over: close or ignore
        ws_token_expiry: "WS_TOKEN_EXPIRY", "scalar", "ACTION" = "close";
        /// A message of a client, over all its frames; 0: no bound
        ws_max_message_bytes: "WS_MAX_MESSAGE_BYTES", "scalar", "SIZE" = "1MiB";
        /// Messages per second of one client, fractions allowed; 0: no bound
        ws_messages_per_second: "WS_MESSAGES_PER_SECOND", "scalar", "RATE" = "0";
        /// Messages that a client may send at once
        ws_messages_burst: "WS_MESSAGES_BURST", "scalar", "COUNT" = "20";
        /// WebSockets per core; unset: as many as connections
        ws_max_connections: "WS_MAX_CONNECTIONS", "scalar", "COUNT";
        /// WebSockets of one user in this process; 0: no bound
        ws_max_per_user: "WS_MAX_PER_USER", "scalar", "COUNT" = "0";
        /// A payload of which so much is still to come is moved by the kernel
        ws_splice_min: "WS_SPLICE_MIN", "scalar", "SIZE" = "32KiB";
        /// Whether a WebSocket may go to a core with fewer of them: on or off
        ws_balance: "WS_BALANCE", "scalar", "SWITCH" = "on";
        /// How many more of them than another core a core may have
        ws_balance_slack: "WS_BALANCE_SLACK", "scalar", "PERCENT" = "10%";
    }
    "Clients" {
        /// From the first byte of a request head to its last
        request_head_timeout: "REQUEST_HEAD_TIMEOUT", "scalar", "DURATION" = "10s";
        /// How long a connection may be idle between requests
        keep_alive_timeout: "KEEP_ALIVE_TIMEOUT", "scalar", "DURATION" = "75s";
        /// How long a body may stand still, in either direction
        body_timeout: "BODY_TIMEOUT", "scalar", "DURATION" = "30s";
        /// Bytes per second that a body must average; 0: no floor
        body_min_rate: "BODY_MIN_RATE", "scalar", "SIZE" = "1KiB";
        /// A request body; 0: no bound
        body_max_bytes: "BODY_MAX_BYTES", "scalar", "SIZE" = "10MiB";
        /// A request or response head
        head_max_bytes: "HEAD_MAX_BYTES", "scalar", "SIZE" = "32KiB";
        /// Header fields of one head
        head_max_fields: "HEAD_MAX_FIELDS", "scalar", "COUNT" = "100";
        /// A request line
        request_line_max_bytes: "REQUEST_LINE_MAX_BYTES", "scalar", "SIZE" = "8KiB";
    }
}

/// `[upstreams.NAME]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenUpstream {
    /// Where it listens: `http://host:port` or `http+unix://%2Fpath`.
    pub url: String,
    /// Where it stands (`gateway.toml:12`).
    #[serde(skip)]
    pub place: String,
}

/// One `[[route]]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenRoute {
    /// Its name in logs and metrics.
    pub name: String,
    /// Methods it takes; absent: any.
    pub methods: Option<Vec<String>>,
    /// Path patterns.
    pub paths: Vec<String>,
    /// Name of an upstream.
    pub upstream: String,
    /// `public` or `protected`; absent: protected.
    #[serde(default, deserialize_with = "scalar")]
    pub access: Option<String>,
    /// `http` or `websocket`; absent: http.
    #[serde(default, deserialize_with = "scalar")]
    pub kind: Option<String>,
    /// Where a handshake may carry its token: `header`, `subprotocol`, `query`; absent: all of them.
    pub tokens_from: Option<Vec<String>>,
    /// Whether the client's `Authorization` goes upstream; absent: true.
    #[serde(default, deserialize_with = "scalar")]
    pub forward_authorization: Option<String>,
    /// Whether trailer fields pass; absent: false.
    #[serde(default, deserialize_with = "scalar")]
    pub forward_trailers: Option<String>,
    /// Its own bound of a request body; absent: that of `BODY_MAX_BYTES`.
    #[serde(default, deserialize_with = "scalar")]
    pub body_max_bytes: Option<String>,
    /// Whether its requests draw from the client's global bucket; absent: true.
    #[serde(default, deserialize_with = "scalar")]
    pub limit_global: Option<String>,
    /// `[[route.limit]]`: its own limits.
    #[serde(default)]
    pub limit: Vec<WrittenLimit>,
    /// Where it stands (`gateway.toml:12`).
    #[serde(skip)]
    pub place: String,
}

/// One `[[route.limit]]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenLimit {
    /// Tokens per second.
    #[serde(deserialize_with = "scalar")]
    pub rate: Option<String>,
    /// Capacity, in tokens.
    #[serde(deserialize_with = "scalar")]
    pub burst: Option<String>,
    /// `user`, `ip` or `none`; absent: user on a protected route, ip on a public one.
    #[serde(deserialize_with = "scalar")]
    pub per: Option<String>,
    /// Tokens of one request; absent: 1.
    #[serde(deserialize_with = "scalar")]
    pub cost: Option<String>,
}

impl fmt::Debug for Written {
    /// The keys that are written, without their values: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = Self::KEYS.iter().map(|key| key.env).filter(|env| self.get(env).is_some());
        f.debug_set().entries(keys).finish()
    }
}

impl Written {
    /// Reads a file. What is wrong with its form goes to `mistakes`, the rest is kept: one mistake does not hide
    /// the next. The values are judged when they are lowered.
    #[must_use]
    pub fn from_file(path: &Path, mistakes: &mut Mistakes) -> Self {
        let text = read_regular(path).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))
        });
        match text {
            Ok(text) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                Self::from_toml(&text, &name.to_string_lossy(), mistakes)
            }
            Err(why) => {
                mistakes.add("CONFIG_FILE", &why);
                Self::default()
            }
        }
    }

    /// Reads the text of a file; `name` is what mistakes call it. Otherwise as [`Written::from_file`].
    #[must_use]
    pub fn from_toml(text: &str, name: &str, mistakes: &mut Mistakes) -> Self {
        let place = |offset: usize| {
            let line = 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
            format!("{name}:{line}")
        };
        let mut whole = Self::default();
        // `message()` and never the whole error: that one shows the source line, which may hold a secret.
        let table = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let place = place(error.span().map_or(0, |span| span.start));
                mistakes.add(&format!("CONFIG_FILE ({place})"), &one_line(error.message()));
                return whole;
            }
        };
        for Entry { offset, key, table } in entries(table) {
            match Self::deserialize(toml::Deserializer::from(Spanned::new(0..text.len(), table))) {
                Ok(entry) => whole.take_entry(entry, &place(offset)),
                Err(error) => {
                    // A missing field has the span of the whole table; its first line is what helps.
                    let start = error.span().map_or(offset, |span| span.start).max(offset);
                    mistakes.add(
                        &format!("{} ({})", one_line(&key), place(start)),
                        &one_line(&in_our_words(error.message())),
                    );
                }
            }
        }
        whole
    }

    /// Takes over one entry of a file.
    fn take_entry(&mut self, mut entry: Self, place: &str) {
        for (name, upstream) in std::mem::take(&mut entry.upstreams) {
            self.upstreams.insert(name, WrittenUpstream { place: place.to_owned(), ..upstream });
        }
        for route in std::mem::take(&mut entry.route) {
            self.route.push(WrittenRoute { place: place.to_owned(), ..route });
        }
        let keys = Self::KEYS.iter().map(|key| key.env).filter(|env| entry.get(env).is_some());
        entry.places = keys.map(|env| (env, place.to_owned())).collect();
        *self = std::mem::take(self).or(entry);
    }
}

/// The bytes of a regular file of a bounded size, or why not.
pub(super) fn read_regular(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    // Looked at before it is opened: opening a FIFO would wait for a writer.
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    if found.len() > limits::CONFIG_FILE_BYTES_MAX {
        return Err(format!("{} is over {} bytes", path.display(), limits::CONFIG_FILE_BYTES_MAX));
    }
    std::fs::read(path).map_err(unreadable)
}

/// One entry of a file, as a table of its own.
struct Entry<'a> {
    /// Where it begins, in bytes.
    offset: usize,
    /// What a mistake calls it.
    key: String,
    table: DeTable<'a>,
}

/// The table cut into its entries, a route and an upstream being entries too, in the order of the file.
fn entries(table: DeTable<'_>) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    for (key, value) in table {
        let span = value.span();
        let name = key.get_ref().clone().into_owned();
        match (name.as_str(), value.into_inner()) {
            ("route", DeValue::Array(routes)) => {
                for route in routes {
                    let (offset, span) = (route.span().start, route.span());
                    let routes = Spanned::new(span, DeValue::Array([route].into_iter().collect()));
                    entries.push(Entry { offset, key: name.clone(), table: single(key.clone(), routes) });
                }
            }
            ("upstreams", DeValue::Table(upstreams)) => {
                for (upstream, value) in upstreams {
                    let (offset, full_name) =
                        (upstream.span().start, format!("{name}.{}", upstream.get_ref()));
                    let upstreams = Spanned::new(span.clone(), DeValue::Table(single(upstream, value)));
                    entries.push(Entry { offset, key: full_name, table: single(key.clone(), upstreams) });
                }
            }
            (_, value) => {
                let known = Written::KEYS.iter().find(|key| key.field == name && key.env != "CONFIG_FILE");
                let subject = known.map_or(name, |known| known.env.to_owned());
                let table = single(key.clone(), Spanned::new(span, value));
                entries.push(Entry { offset: key.span().start, key: subject, table });
            }
        }
    }
    entries.sort_by_key(|entry| entry.offset);
    entries
}

/// A table of one entry.
fn single<'a>(key: Spanned<DeString<'a>>, value: Spanned<DeValue<'a>>) -> DeTable<'a> {
    let mut table = DeTable::new();
    table.insert(key, value);
    table
}

/// serde lists every key there is after an unknown one; the documentation does that better.
fn in_our_words(message: &str) -> String {
    match message.strip_prefix("unknown field ").and_then(|rest| rest.split_once(", expected")) {
        Some((field, _)) => format!("{field} is not a key of a configuration file"),
        None => {
            message.replace("missing field", "has no key").replace("expected a sequence", "expected an array")
        }
    }
}

/// The same on one line.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A string, number or boolean as text.
fn scalar<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_any(Text { list: false }).map(Some)
}

/// The same, or an array of them, joined by commas.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    from.deserialize_any(Text { list: true }).map(Some)
}

/// Takes any scalar as text.
struct Text {
    /// An array of scalars will do too.
    list: bool,
}

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.list {
            "a string, a number or an array of them"
        } else {
            "a string, number or boolean"
        })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<String, A::Error> {
        if !self.list {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let mut texts = Vec::new();
        while let Some(Item(text)) = items.next_element()? {
            texts.push(text);
        }
        Ok(texts.join(","))
    }
}

/// One element of a list.
struct Item(String);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text { list: false }).map(Item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Written, String) {
        let mut mistakes = Mistakes::default();
        let written = Written::from_toml(text, "gateway.toml", &mut mistakes);
        (written, mistakes.to_string())
    }

    #[test]
    fn takes_numbers_booleans_and_lists_as_text() {
        let (written, mistakes) = read(
            "port = 8081\nrate_limit_rps = 2.5\nrequire_io_uring = true\njwt_leeway = '5s'\n\
             cores = [0, 1]\ntrusted_proxies = ['10.0.0.0/8', '::1']\n",
        );
        assert_eq!(mistakes, "");
        for (key, text) in [
            ("PORT", "8081"),
            ("RATE_LIMIT_RPS", "2.5"),
            ("REQUIRE_IO_URING", "true"),
            ("JWT_LEEWAY", "5s"),
            ("CORES", "0,1"),
            ("TRUSTED_PROXIES", "10.0.0.0/8,::1"),
        ] {
            assert_eq!(written.get(key), Some(text), "{key}");
        }
        assert_eq!(written.places["JWT_LEEWAY"], "gateway.toml:4");
    }

    #[test]
    fn reads_upstreams_and_routes_with_their_place() {
        let (written, mistakes) = read(
            "[upstreams.orders]\nurl = 'http://orders'\n\n[[route]]\nname = 'orders'\npaths = ['/orders']\n\
             upstream = 'orders'\nbody_max_bytes = 1024\nforward_trailers = true\n",
        );
        assert_eq!(mistakes, "");
        assert_eq!(written.upstreams["orders"].place, "gateway.toml:1");
        let route = &written.route[0];
        assert_eq!((route.place.as_str(), route.body_max_bytes.as_deref()), ("gateway.toml:4", Some("1024")));
        assert_eq!(route.forward_trailers.as_deref(), Some("true"));
    }

    #[test]
    fn tells_every_mistake_of_form_with_its_line_and_keeps_the_rest() {
        let (written, mistakes) = read(
            "prot = 1\nport = [1]\nbind = '::1'\nconfig_file = 'x'\n[upstreams.a]\nuri = 'http://a'\n\
             [[route]]\nname = 'a'\nupstream = 'a'\n[[route]]\nname = 'b'\npaths = '/b'\nupstream = 'a'\n",
        );
        let expected = [
            "prot (gateway.toml:1): `prot` is not a key of a configuration file",
            "PORT (gateway.toml:2): invalid type: sequence, expected a string, number or boolean",
            "config_file (gateway.toml:4): `config_file` is not a key of a configuration file",
            "upstreams.a (gateway.toml:6): `uri` is not a key of a configuration file",
            "route (gateway.toml:7): has no key `paths`",
            "route (gateway.toml:12): invalid type: string \"/b\", expected an array",
        ];
        assert_eq!(mistakes.lines().collect::<Vec<_>>(), expected);
        assert_eq!(written.get("BIND"), Some("::1"));
    }

    #[test]
    fn tells_broken_syntax_without_showing_the_line() {
        let (written, mistakes) = read("port = 1\njwt_secret = \"hunter2\n");
        assert!(mistakes.starts_with("CONFIG_FILE (gateway.toml:2): "), "{mistakes}");
        assert!(!mistakes.contains("hunter2") && !mistakes.contains('\n'), "{mistakes}");
        assert_eq!(written, Written::default());
    }

    #[test]
    fn refuses_files_that_are_not_regular_or_not_there() {
        for path in ["/dev/null", "/", "/does/not/exist"] {
            let mut mistakes = Mistakes::default();
            let _ = Written::from_file(Path::new(path), &mut mistakes);
            assert!(mistakes.name("CONFIG_FILE") && mistakes.to_string().contains(path), "{mistakes}");
        }
    }

    #[test]
    fn the_nearer_layer_wins() {
        let (file, _) = read("port = 2\nbind = '::1'\n");
        let args = Written { port: Some("1".to_owned()), ..Written::default() };
        let merged = args.or(file).or(Written::defaults());
        assert_eq!(merged.get("PORT"), Some("1"));
        assert_eq!(merged.get("BIND"), Some("::1"));
        assert_eq!(merged.get("JWT_USER_CLAIM"), Some("sub"));
        assert_eq!(merged.places.get("BIND").map(String::as_str), Some("gateway.toml:2"));
        assert_eq!(merged.places.get("PORT"), None, "the file's place would be wrong for the flag's value");
    }

    #[test]
    fn never_prints_a_value_for_debugging() {
        let written = Written { jwt_secret: Some("hunter2".to_owned()), ..Written::default() };
        assert_eq!(format!("{written:?}"), "{\"JWT_SECRET\"}");
    }

    #[test]
    fn names_keys_alike_everywhere() {
        for key in Written::KEYS {
            assert_eq!(key.env.to_lowercase(), key.field);
        }
    }
}
