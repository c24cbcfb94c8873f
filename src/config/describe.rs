//! What `check` prints: everything that is in force.

use std::fmt::Write;
use std::time::Duration;

use super::lower::SECRET_BYTES_SAFE;
use super::value::{show_duration, show_size};
use super::{
    Access, AccessLog, Config, CoreChoice, Cors, IoDriver, LimitHeaders, LimitStore, OnRedisFailure, Origins,
    Per, Redis, Route, RouteKind, RouteLimit, Secret, TokenExpiry, TokenSources, WebSocket, address,
};

/// Every setting in force, in columns, with units. Of secrets only how many there are and whether they are long
/// enough.
#[must_use]
pub fn describe(config: &Config) -> String {
    let mut text = String::new();
    for (heading, settings) in sections(config) {
        let rows = settings.into_iter().map(|(key, value)| vec![key.to_owned(), value]).collect();
        section(&mut text, heading, rows);
    }
    let upstreams = config.upstreams.iter();
    section(
        &mut text,
        "Upstreams",
        upstreams.map(|u| vec![u.name.clone(), address::show_upstream(u)]).collect(),
    );
    let heads =
        ["NAME", "ACCESS", "KIND", "METHODS", "PATHS", "UPSTREAM", "BESIDES"].map(str::to_owned).to_vec();
    let routes = config.routes.iter().map(|route| route_row(config, route));
    section(&mut text, "Routes", std::iter::once(heads).chain(routes).collect());
    text
}

/// The settings, by the headings of `--help`.
pub(super) fn sections(config: &Config) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let Config { listen, jwt, rate_limit, redis, timeouts, sizes, .. } = config;
    vec![
        (
            "Listening",
            vec![
                ("PORT", listen.port.to_string()),
                ("BIND", listen.bind.map_or_else(|| "every address".to_owned(), |bind| bind.to_string())),
                ("ADMIN_ADDR", config.admin_addr.map_or_else(|| "off".to_owned(), |addr| addr.to_string())),
                ("TRUSTED_PROXIES", joined(&config.trusted_proxies)),
                ("CORS_ALLOWED_ORIGINS", show_cors(&config.cors)),
            ],
        ),
        (
            "Process",
            vec![
                ("CORES", show_cores(&config.cores)),
                ("MAX_CONNECTIONS", show_connections(config.connections_max)),
                ("IO_DRIVER", show_driver(config.io_driver).to_owned()),
                ("ACCESS_LOG", show_access_log(&config.access_log)),
                ("SHUTDOWN_DELAY", show_duration(timeouts.shutdown_delay)),
                ("SHUTDOWN_TIMEOUT", show_duration(timeouts.shutdown)),
                ("UPGRADE_TIMEOUT", show_duration(timeouts.upgrade)),
                (
                    "PID_FILE",
                    config.pid_file.as_ref().map_or_else(|| "none".to_owned(), |p| p.display().to_string()),
                ),
            ],
        ),
        (
            "Tokens",
            vec![
                ("JWT_SECRET", show_secrets(&jwt.secrets)),
                ("JWT_ISSUER", shown_or(jwt.issuer.as_deref(), "not checked")),
                ("JWT_AUDIENCE", shown_or(jwt.audience.as_deref(), "not checked")),
                ("JWT_LEEWAY", show_duration(jwt.leeway)),
                ("JWT_USER_CLAIM", jwt.user_claim.clone()),
            ],
        ),
        (
            "Rate limit",
            vec![
                ("RATE_LIMIT_RPS", format!("{} requests/s", rate_limit.rate)),
                ("RATE_LIMIT_BURST", format!("{} requests", rate_limit.burst)),
                ("RATE_LIMIT_STORE", show_store(rate_limit.store).to_owned()),
                ("RATE_LIMIT_PREFIX", rate_limit.prefix.clone()),
                ("RATE_LIMIT_ON_REDIS_FAILURE", show_on_failure(rate_limit.on_failure).to_owned()),
                ("RATE_LIMIT_HEADERS", show_headers(rate_limit.headers).to_owned()),
                ("REDIS_ADDR", show_redis(config)),
                ("REDIS_USERNAME", shown_or(redis.username.as_deref(), "the default user")),
                ("REDIS_PASSWORD", show_password(redis).to_owned()),
                ("REDIS_TIMEOUT", show_duration(redis.timeout)),
            ],
        ),
        (
            "Upstream connections",
            vec![
                ("UPSTREAM_CONNECT_TIMEOUT", show_duration(timeouts.upstream_connect)),
                ("UPSTREAM_HEAD_TIMEOUT", show_duration(timeouts.upstream_head)),
                ("UPSTREAM_IDLE_TIMEOUT", show_duration(timeouts.upstream_idle)),
                ("UPSTREAM_KEEP_ALIVE", show_duration(timeouts.upstream_keep_alive)),
                ("UPSTREAM_IDLE_CONNECTIONS", format!("{} per upstream and core", sizes.upstream_idle)),
                ("UPSTREAM_MAX_IN_FLIGHT", format!("{} per upstream and core", sizes.upstream_in_flight)),
                ("DNS_REFRESH", show_duration(timeouts.dns_refresh)),
            ],
        ),
        ("WebSockets", websockets(&config.websocket)),
        (
            "Clients",
            vec![
                ("REQUEST_HEAD_TIMEOUT", show_duration(timeouts.request_head)),
                ("KEEP_ALIVE_TIMEOUT", show_duration(timeouts.keep_alive)),
                ("BODY_TIMEOUT", show_duration(timeouts.body)),
                ("BODY_MIN_RATE", show_bound(sizes.body_rate_min, "no floor", "/s")),
                ("BODY_MAX_BYTES", show_bound(sizes.body_bytes, "no bound", "")),
                ("HEAD_MAX_BYTES", show_bound(sizes.head_bytes as u64, "0", "")),
                ("HEAD_MAX_FIELDS", format!("{} fields", sizes.fields)),
                ("REQUEST_LINE_MAX_BYTES", show_bound(sizes.request_line_bytes as u64, "0", "")),
            ],
        ),
    ]
}

fn websockets(ws: &WebSocket) -> Vec<(&'static str, String)> {
    let or_never = |wait: Duration| if wait.is_zero() { "never".to_owned() } else { show_duration(wait) };
    let rate = match ws.message_rate.milli() {
        0 => "no bound".to_owned(),
        _ => format!("{} messages/s", ws.message_rate),
    };
    let per_core = |count: usize| format!("{count} per core");
    let slack = ws.balance_slack_percent.map_or("not used".to_owned(), |percent| format!("{percent}%"));
    let origins = match &ws.origins {
        Origins::Any => "*".to_owned(),
        Origins::Listed(origins) => joined(origins),
    };
    let expiry = match ws.token_expiry {
        TokenExpiry::Close => "close",
        TokenExpiry::Ignore => "ignore",
    };
    let per_user = if ws.per_user_max == 0 { "no bound".to_owned() } else { ws.per_user_max.to_string() };
    vec![
        ("WS_ALLOWED_ORIGINS", origins),
        ("WS_HANDSHAKE_TIMEOUT", show_duration(ws.handshake)),
        ("WS_PING_INTERVAL", or_never(ws.ping_interval)),
        ("WS_IDLE_TIMEOUT", or_never(ws.idle)),
        ("WS_MAX_LIFETIME", or_never(ws.lifetime)),
        ("WS_TOKEN_EXPIRY", expiry.to_owned()),
        ("WS_MAX_MESSAGE_BYTES", show_bound(ws.message_bytes_max, "no bound", "")),
        ("WS_MESSAGES_PER_SECOND", rate),
        ("WS_MESSAGES_BURST", format!("{} messages", ws.message_burst)),
        ("WS_MAX_CONNECTIONS", ws.tunnels_max.map_or("as many as connections".to_owned(), per_core)),
        ("WS_MAX_PER_USER", per_user),
        ("WS_SPLICE_MIN", show_size(ws.splice_bytes_min)),
        ("WS_BALANCE", if ws.balance_slack_percent.is_some() { "on" } else { "off" }.to_owned()),
        ("WS_BALANCE_SLACK", slack),
    ]
}

/// One line of the table of routes.
pub(super) fn route_row(config: &Config, route: &Route) -> Vec<String> {
    let access = match route.access {
        Access::Public => "public",
        Access::Protected => "protected",
    };
    let kind = match route.kind {
        RouteKind::Http => "http",
        RouteKind::WebSocket => "websocket",
    };
    let methods = if route.methods.is_empty() { "any".to_owned() } else { route.methods.join(",") };
    let upstream = config.upstreams.get(route.upstream).map_or("?", |upstream| upstream.name.as_str());
    let mut besides = Vec::new();
    if !route.authorization_forwarded {
        besides.push("Authorization stays here".to_owned());
    }
    if route.trailers_forwarded {
        besides.push("trailers pass".to_owned());
    }
    if let Some(bytes) = route.body_bytes_max {
        besides.push(format!("body {}", show_bound(bytes, "without bound", "")));
    }
    if route.token_sources != TokenSources::ALL {
        besides.push(format!("tokens from {}", route.token_sources));
    }
    besides.extend(route.limits.iter().map(show_limit));
    if !route.is_limited_globally {
        besides.push("no global limit".to_owned());
    }
    let paths = route.paths.join(" ");
    vec![route.name.clone(), access.into(), kind.into(), methods, paths, upstream.into(), besides.join(", ")]
}

/// A heading and its rows, in columns as wide as their widest cell.
fn section(text: &mut String, heading: &str, rows: Vec<Vec<String>>) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line_break = if text.is_empty() { "" } else { "\n" };
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line_break}{heading}");
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
}

fn show_secrets(secrets: &[Secret]) -> String {
    let short = secrets.iter().filter(|secret| secret.0.len() < SECRET_BYTES_SAFE).count();
    let count = if secrets.len() == 1 { "1 secret".to_owned() } else { format!("{} secrets", secrets.len()) };
    match short {
        0 => format!("{count}, {SECRET_BYTES_SAFE} bytes or longer"),
        _ if short == secrets.len() => format!("{count}, TOO SHORT (under {SECRET_BYTES_SAFE} bytes)"),
        _ => format!("{count}, {short} of them TOO SHORT (under {SECRET_BYTES_SAFE} bytes)"),
    }
}

fn show_redis(config: &Config) -> String {
    let addr = address::show_redis(&config.redis);
    if config.rate_limit.store == LimitStore::Redis { addr } else { format!("{addr} (not used)") }
}

fn show_password(redis: &Redis) -> &'static str {
    if redis.password.is_some() { "set" } else { "none" }
}

/// `5/s burst 20 per ip`.
fn show_limit(limit: &RouteLimit) -> String {
    let per = match limit.per {
        Per::User => "per user",
        Per::Ip => "per ip",
        Per::None => "for everybody",
    };
    let cost = if limit.cost == 1 { String::new() } else { format!(" cost {}", limit.cost) };
    format!("{}/s burst {} {per}{cost}", limit.rate, limit.burst)
}

fn show_on_failure(on_failure: OnRedisFailure) -> &'static str {
    match on_failure {
        OnRedisFailure::Open => "open",
        OnRedisFailure::Memory => "memory",
        OnRedisFailure::Closed => "closed",
    }
}

fn show_headers(headers: LimitHeaders) -> &'static str {
    match headers {
        LimitHeaders::Refused => "refused",
        LimitHeaders::All => "all",
    }
}

fn show_store(store: LimitStore) -> &'static str {
    match store {
        LimitStore::Redis => "redis",
        LimitStore::Memory => "memory",
        LimitStore::Off => "off",
    }
}

fn show_driver(driver: IoDriver) -> &'static str {
    match driver {
        IoDriver::Auto => "auto",
        IoDriver::IoUring => "io_uring",
        IoDriver::Epoll => "epoll",
    }
}

fn show_cores(cores: &CoreChoice) -> String {
    match cores {
        CoreChoice::All => "all".to_owned(),
        CoreChoice::Count(1) => "1 core".to_owned(),
        CoreChoice::Count(count) => format!("{count} cores"),
        CoreChoice::List(cpus) => format!("CPUs {}", joined(cpus)),
    }
}

fn show_connections(connections_max: Option<usize>) -> String {
    match connections_max {
        Some(count) => format!("{count} per core"),
        None => "from the limit of open files".to_owned(),
    }
}

fn show_cors(cors: &Cors) -> String {
    match cors {
        Cors::Off => "none".to_owned(),
        Cors::Any => "*".to_owned(),
        Cors::Origins(origins) => joined(origins),
    }
}

fn show_access_log(log: &AccessLog) -> String {
    match log {
        AccessLog::Off => "off".to_owned(),
        AccessLog::Stdout => "stdout".to_owned(),
        AccessLog::File(path) => path.display().to_string(),
    }
}

fn show_bound(bytes: u64, zero: &str, unit: &str) -> String {
    match bytes {
        0 => zero.to_owned(),
        _ if bytes.is_multiple_of(1024) => format!("{}{unit}", show_size(bytes)),
        _ => format!("{bytes} bytes{unit}"),
    }
}

fn shown_or(text: Option<&str>, none: &str) -> String {
    text.unwrap_or(none).to_owned()
}

fn joined<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
