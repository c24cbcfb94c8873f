//! Addresses of other services: URLs of upstreams, and the address of Redis.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::meaning::{
    Balancing, HostSent, Members, Redis, RedisAddress, RedisHost, Secret, Upstream, UpstreamAddress,
    UpstreamBounds, UpstreamTls,
};
use super::value::{Parsed, count, host_and_port, quoted};
use crate::limits::{NAME_BYTES_MAX, REDIS_SEEDS_MAX};

/// The meaning of an upstream's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// Where the upstream listens.
    pub address: UpstreamAddress,
    /// The value of `Host` in requests to it.
    pub authority: String,
    /// TLS to it, as it is unless more is written.
    pub tls: Option<UpstreamTls>,
}

impl UpstreamUrl {
    /// The upstream of this name at this URL.
    pub(super) fn named(self, name: &str) -> Upstream {
        let UpstreamUrl { address, authority, tls } = self;
        Upstream {
            name: name.to_owned(),
            members: Members::one(address),
            authority,
            host_sent: HostSent::Upstream,
            rewrite_location: true,
            connection_reuse: true,
            tls,
            balancing: Balancing::default(),
            bounds: UpstreamBounds::default(),
            health: None,
        }
    }

    /// No address yet, and this `Host`.
    pub(super) fn nowhere(authority: String) -> UpstreamUrl {
        UpstreamUrl { address: UpstreamAddress::Unix(PathBuf::new()), authority, tls: None }
    }
}

/// The meaning of an address of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Where Redis listens.
    pub address: RedisAddress,
    /// The ACL user. `None`: the default user.
    pub username: Option<String>,
    /// The password of the user. `None`: no `AUTH` is sent.
    pub password: Option<Secret>,
    /// The number of the database.
    pub database: u32,
    /// Whether it is spoken to over TLS.
    pub is_tls: bool,
}

impl RedisUrl {
    /// An address without user, password and database.
    fn at(address: RedisAddress) -> Self {
        Self { address, username: None, password: None, database: 0, is_tls: false }
    }
}

/// Reads the URL of an upstream: `http://host:port`, `https://host:port` or `http+unix://%2Frun%2Fa.sock`.
pub(super) fn upstream(url: &str) -> Parsed<UpstreamUrl> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("{} is not a URL ({FORMS})", shown(url)));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {
            let (address, authority) = tcp(url, rest, HTTP_PORT)?;
            Ok(UpstreamUrl { address, authority, tls: None })
        }
        "https" => {
            let (address, authority) = tcp(url, rest, HTTPS_PORT)?;
            let tls = Some(UpstreamTls::to(&address));
            Ok(UpstreamUrl { address, authority, tls })
        }
        "http+unix" => {
            let address = UpstreamAddress::Unix(socket_path(url, rest)?);
            Ok(UpstreamUrl { address, authority: "localhost".to_owned(), tls: None })
        }
        "https+unix" => Err(format!("{}: there is no TLS over a Unix socket (use http+unix://)", shown(url))),
        _ => Err(format!("{} has a scheme that is not supported ({FORMS})", shown(url))),
    }
}

/// The URL of an address.
pub(super) fn show_url(address: &UpstreamAddress, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    match address {
        UpstreamAddress::Tcp { host, port } if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
        UpstreamAddress::Tcp { host, port } => format!("{scheme}://{host}:{port}"),
        UpstreamAddress::Unix(path) => {
            format!("http+unix://{}", percent_encoded(path.as_os_str().as_bytes()))
        }
    }
}

/// Reads the address of Redis, with an optional user, password and database. An error never shows a value that may
/// hold a password.
pub(super) fn redis(value: &str) -> Parsed<RedisUrl> {
    if value.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return wrong(value, "has white space or a control character in it");
    }
    if let Some(path) = value.strip_prefix("unix:") {
        return redis_socket(value, path);
    }
    for (scheme, is_tls) in [("redis://", false), ("rediss://", true)] {
        if let Some(url) = value.strip_prefix(scheme) {
            return Ok(RedisUrl { is_tls, ..redis_url(value, url)? });
        }
    }
    for (scheme, is_tls) in [("redis-sentinel://", false), ("rediss-sentinel://", true)] {
        if let Some(url) = value.strip_prefix(scheme) {
            return Ok(RedisUrl { is_tls, ..redis_sentinel(value, url)? });
        }
    }
    for (scheme, is_tls) in [("redis-cluster://", false), ("rediss-cluster://", true)] {
        if let Some(url) = value.strip_prefix(scheme) {
            return Ok(RedisUrl { is_tls, ..redis_cluster(value, url)? });
        }
    }
    match host_and_port(value) {
        Some((host, Some(port))) => Ok(RedisUrl::at(RedisAddress::Tcp { host, port })),
        _ => wrong(
            value,
            "is not an address of Redis (use localhost:6379, [::1]:6379, redis://host:6379/0, \
             redis-cluster://host:7000,host:7001, redis-sentinel://host,host/master, the same with rediss, \
             unix:/run/redis.sock)",
        ),
    }
}

/// The part after `unix:`.
fn redis_socket(value: &str, path: &str) -> Parsed<RedisUrl> {
    if !path.starts_with('/') || path.ends_with('/') {
        return wrong(value, "is not unix: and an absolute path");
    }
    if path.len() > SOCKET_PATH_BYTES_MAX {
        return wrong(value, "is longer than the path of a socket can be");
    }
    Ok(RedisUrl::at(RedisAddress::Unix(PathBuf::from(path))))
}

/// The part after `redis-cluster://`. A cluster has one database.
fn redis_cluster(value: &str, url: &str) -> Parsed<RedisUrl> {
    let (credentials, rest) = split_credentials(url);
    let nodes = redis_hosts(value, rest.strip_suffix('/').unwrap_or(rest), REDIS_PORT)?;
    let (username, password) = match credentials {
        Some(credentials) => redis_credentials(value, credentials)?,
        None => (None, None),
    };
    Ok(RedisUrl { address: RedisAddress::Cluster(nodes), username, password, database: 0, is_tls: false })
}

/// The part after `redis-sentinel://`: sentinels, the name of the master, and a database.
fn redis_sentinel(value: &str, url: &str) -> Parsed<RedisUrl> {
    let (credentials, rest) = split_credentials(url);
    let Some((list, rest)) = rest.split_once('/') else {
        return wrong(value, "has no name of a master behind the sentinels");
    };
    let sentinels = redis_hosts(value, list, SENTINEL_PORT)?;
    let (master, database) = rest.split_once('/').unwrap_or((rest, ""));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if master.is_empty() || master.len() > NAME_BYTES_MAX || !master.bytes().all(is_plain) {
        return wrong(value, "has no name of a master behind the sentinels (letters, digits, '.', '_', '-')");
    }
    let Ok(database) = count(if database.is_empty() { "0" } else { database }, 0, u32::MAX) else {
        return wrong(value, "has something else than the number of a database behind the master's name");
    };
    let (username, password) = match credentials {
        Some(credentials) => redis_credentials(value, credentials)?,
        None => (None, None),
    };
    let address = RedisAddress::Sentinel { sentinels, master: master.to_owned() };
    Ok(RedisUrl { address, username, password, database, is_tls: false })
}

/// Hosts with commas between them.
fn redis_hosts(value: &str, list: &str, default_port: u16) -> Parsed<Vec<RedisHost>> {
    let host = |text: &str| {
        let (host, port) = host_and_port(text)?;
        Some(RedisHost { host, port: port.unwrap_or(default_port) })
    };
    let Some(hosts) = list.split(',').map(host).collect::<Option<Vec<_>>>() else {
        return wrong(value, "has something else than hosts and ports with commas between them");
    };
    if hosts.len() > REDIS_SEEDS_MAX {
        return wrong(value, &format!("has more than {REDIS_SEEDS_MAX} hosts"));
    }
    Ok(hosts)
}

fn split_credentials(url: &str) -> (Option<&str>, &str) {
    match url.rsplit_once('@') {
        Some((credentials, rest)) => (Some(credentials), rest),
        None => (None, url),
    }
}

/// The part after `redis://`.
fn redis_url(value: &str, url: &str) -> Parsed<RedisUrl> {
    let (credentials, rest) = split_credentials(url);
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((host, port)) = host_and_port(authority) else {
        return wrong(value, "has no valid host and port");
    };
    let Ok(database) = count(if database.is_empty() { "0" } else { database }, 0, u32::MAX) else {
        return wrong(value, "has something else than the number of a database behind the host");
    };
    let address = RedisAddress::Tcp { host, port: port.unwrap_or(REDIS_PORT) };
    let (username, password) = match credentials {
        Some(credentials) => redis_credentials(value, credentials)?,
        None => (None, None),
    };
    Ok(RedisUrl { address, username, password, database, is_tls: false })
}

/// The part before the `@`: a user, which may be empty, and a password.
fn redis_credentials(value: &str, credentials: &str) -> Parsed<(Option<String>, Option<Secret>)> {
    let Some((username, password)) = credentials.split_once(':') else {
        return wrong(
            value,
            "has a user and no password (use redis://user:password@host or redis://:password@host)",
        );
    };
    let (Some(username), Some(password)) = (percent_decoded(username), percent_decoded(password)) else {
        return wrong(value, "has a user or password that is not percent-encoded as it should be");
    };
    let Ok(username) = String::from_utf8(username) else {
        return wrong(value, "has a user that is not UTF-8");
    };
    if password.is_empty() {
        return wrong(value, "has an empty password");
    }
    Ok((Some(username).filter(|username| !username.is_empty()), Some(Secret(password))))
}

/// The address of Redis as an operator writes it, without user and password.
pub(super) fn show_redis(redis: &Redis) -> String {
    let s = if redis.tls.is_some() { "s" } else { "" };
    let hidden = if redis.password.is_some() { "…@" } else { "" };
    match &redis.address {
        RedisAddress::Unix(path) => format!("unix:{}", path.display()),
        RedisAddress::Sentinel { sentinels, master } => {
            let sentinels: Vec<String> = sentinels.iter().map(RedisHost::to_string).collect();
            let database = redis.database;
            format!("redis{s}-sentinel://{hidden}{}/{master}/{database}", sentinels.join(","))
        }
        RedisAddress::Cluster(nodes) => {
            let nodes: Vec<String> = nodes.iter().map(RedisHost::to_string).collect();
            format!("redis{s}-cluster://{hidden}{}", nodes.join(","))
        }
        RedisAddress::Tcp { host, port } => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            match redis.database {
                0 if hidden.is_empty() && s.is_empty() => format!("{host}:{port}"),
                database => format!("redis{s}://{hidden}{host}:{port}/{database}"),
            }
        }
    }
}

/// Host and port. `Host` is the authority as it is written: servers may choose a site by it.
fn tcp(url: &str, authority: &str, default_port: u16) -> Parsed<(UpstreamAddress, String)> {
    if authority.contains('@') {
        return Err("has a user or password in it, which is not supported".to_owned());
    }
    if authority.contains(['/', '?', '#']) {
        return Err(format!("{} has a path or query; requests keep their own ({FORMS})", shown(url)));
    }
    let Some((host, port)) = host_and_port(authority) else {
        return Err(format!("{} has no valid host and port ({FORMS})", shown(url)));
    };
    let address = UpstreamAddress::Tcp { host, port: port.unwrap_or(default_port) };
    Ok((address, authority.to_ascii_lowercase()))
}

/// Decodes the path of a socket.
fn socket_path(url: &str, encoded: &str) -> Parsed<PathBuf> {
    let wrong = |why: &str| Err(format!("{} {why} (use http+unix://%2Frun%2Fa.sock)", shown(url)));
    let Some(path) = percent_decoded(encoded) else {
        return wrong("is not percent-encoded as it should be");
    };
    if encoded.contains(['/', '?', '#']) {
        return wrong("has a slash, ? or # that is not percent-encoded");
    }
    if !path.starts_with(b"/") || path.ends_with(b"/") || path.contains(&0) {
        return wrong("is not the absolute path of a socket");
    }
    if path.len() > SOCKET_PATH_BYTES_MAX {
        return wrong("is longer than the path of a socket can be");
    }
    Ok(PathBuf::from(std::ffi::OsString::from_vec(path)))
}

/// Decodes `%XX`. `None`: an escape is broken.
pub(super) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => hex_digit(bytes.next()?)? * 16 + hex_digit(bytes.next()?)?,
            byte => byte,
        };
        decoded.push(byte);
    }
    Some(decoded)
}

/// Encodes everything but unreserved characters (RFC 3986 §2.3) as `%XX`.
fn percent_encoded(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded =
        bytes.iter().map(|&b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") });
    encoded.collect()
}

/// The value of a hexadecimal digit.
fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A mistake about a value that may hold a password.
fn wrong<T>(value: &str, why: &str) -> Parsed<T> {
    Err(format!("{} {why}", shown(value)))
}

/// A value as an error shows it, unless it may hold a password.
fn shown(value: &str) -> String {
    if value.contains('@') {
        "the value (not shown: it may hold a password)".to_owned()
    } else {
        quoted(value)
    }
}

/// The forms of an upstream's URL, for mistakes.
const FORMS: &str = "use http://host:port, https://host:port or http+unix://%2Frun%2Fa.sock";
/// The port of an `http://` URL without one.
const HTTP_PORT: u16 = 80;
/// The port of an `https://` URL without one.
const HTTPS_PORT: u16 = 443;
/// The port of a `redis://` URL without one.
const REDIS_PORT: u16 = 6379;
/// The port of a sentinel without one.
const SENTINEL_PORT: u16 = 26379;
/// `sun_path` of `sockaddr_un` without its NUL (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn show(url: RedisUrl) -> String {
        let RedisUrl { address, username, password, database, is_tls } = url;
        let (tls, timeout) = (is_tls.then(Default::default), std::time::Duration::ZERO);
        let (sentinel_username, sentinel_password) = (None, None);
        show_redis(&Redis {
            address,
            username,
            password,
            database,
            tls,
            sentinel_username,
            sentinel_password,
            timeout,
        })
    }

    fn tcp_address(host: &str, port: u16) -> UpstreamAddress {
        UpstreamAddress::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn reads_upstream_urls() {
        for (url, address, authority) in [
            ("http://auth:5001", tcp_address("auth", 5001), "auth:5001"),
            ("http://auth:5001/", tcp_address("auth", 5001), "auth:5001"),
            ("HTTP://Auth.Example", tcp_address("auth.example", 80), "auth.example"),
            ("http://127.0.0.1:1", tcp_address("127.0.0.1", 1), "127.0.0.1:1"),
            ("http://[::1]:5001", tcp_address("::1", 5001), "[::1]:5001"),
            ("http+unix://%2Frun%2Fa.sock", UpstreamAddress::Unix("/run/a.sock".into()), "localhost"),
            ("http+unix://%2frun%2Fa.sock/", UpstreamAddress::Unix("/run/a.sock".into()), "localhost"),
        ] {
            let expected = UpstreamUrl { address, authority: authority.to_owned(), tls: None };
            assert_eq!(upstream(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn an_https_url_means_tls_to_its_host() {
        for (url, address, authority, server_name) in [
            ("https://auth:5001", tcp_address("auth", 5001), "auth:5001", "auth"),
            ("HTTPS://Auth.Example/", tcp_address("auth.example", 443), "auth.example", "auth.example"),
            ("https://127.0.0.1:1", tcp_address("127.0.0.1", 1), "127.0.0.1:1", "127.0.0.1"),
            ("https://[::1]", tcp_address("::1", 443), "[::1]", "::1"),
        ] {
            let tls = UpstreamTls { server_name: server_name.to_owned(), ca: None, certificate: None };
            let expected = UpstreamUrl { address, authority: authority.to_owned(), tls: Some(tls) };
            assert_eq!(upstream(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn refuses_upstream_urls_that_say_more_or_less() {
        for url in [
            "auth:5001",
            "http://",
            "http://auth:5001/api",
            "http://auth?x",
            "http://auth#x",
            "http://a b",
            "ftp://auth",
            "http://auth:",
            "http://auth:0",
            "http://auth:65536",
            "http://:80",
            "http://1.2.3.4.5",
            "http://[::1",
            "http://::1:80",
            "http+unix:///run/a.sock",
            "http+unix://run%2Fa.sock",
            "http+unix://%2",
            "http+unix://%2Fa%00",
            "http+unix://",
            "http://auth//",
            "https://",
            "https://auth/api",
            "https://auth:0",
            "https+unix://%2Frun%2Fa.sock",
            "http://a..b",
            "http://é",
        ] {
            assert!(upstream(url).is_err(), "{url}");
        }
        let long = format!("http+unix://%2F{}", "a".repeat(107));
        assert!(upstream(&long).unwrap_err().contains("longer"));
    }

    #[test]
    fn says_that_there_is_no_tls_over_a_unix_socket() {
        let told = upstream("https+unix://%2Frun%2Fa.sock").unwrap_err();
        assert!(told.contains("there is no TLS over a Unix socket"), "{told}");
    }

    #[test]
    fn never_shows_a_password() {
        for error in [
            upstream("http://u:hunter2@auth").unwrap_err(),
            upstream("https://u:hunter2@auth").unwrap_err(),
            redis("redis://:hunter2@a b").unwrap_err(),
            redis("rediss://:hunter2@a b").unwrap_err(),
            redis("redis-cluster://:hunter2@a,b b").unwrap_err(),
            redis("redis-cluster://:hunter2@a,").unwrap_err(),
        ] {
            assert!(!error.contains("hunter2"), "{error}");
        }
        let redis = redis("redis://u:hunter2@h:1/0").unwrap();
        assert_eq!(show(redis.clone()), "redis://…@h:1/0");
        assert!(!format!("{redis:?}").contains("hunter2"));
    }

    #[test]
    fn reads_user_password_and_database_of_redis() {
        let read = |value| {
            let RedisUrl { username, password, database, .. } = redis(value).unwrap();
            (username, password.map(|secret| String::from_utf8(secret.0).unwrap()), database)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("redis://h"), (None, None, 0));
        assert_eq!(read("redis://:p@h/3"), (None, some("p"), 3));
        assert_eq!(read("redis://u:p%40%3A%2f@h:1/"), (some("u"), some("p@:/"), 0));
        assert_eq!(read("redis://u:a@b@h"), (some("u"), some("a@b"), 0));
    }

    #[test]
    fn reads_addresses_of_redis() {
        for (value, shown) in [
            ("localhost:6379", "localhost:6379"),
            ("[::1]:6379", "[::1]:6379"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("redis://h", "h:6379"),
            ("redis://h:1/0", "h:1"),
            ("redis://h:1/2", "redis://h:1/2"),
            ("redis://u:p@h:1/0", "redis://…@h:1/0"),
            ("redis://:p@[::1]:1/", "redis://…@[::1]:1/0"),
            ("unix:/run/r.sock", "unix:/run/r.sock"),
            ("redis-cluster://a:7000,B,[::1]:1/", "redis-cluster://a:7000,b:6379,[::1]:1"),
            ("rediss://h", "rediss://h:6379/0"),
            ("rediss://:p@h:1/2", "rediss://…@h:1/2"),
            ("rediss-cluster://a,b", "rediss-cluster://a:6379,b:6379"),
            ("redis-sentinel://a,b:1/chat", "redis-sentinel://a:26379,b:1/chat/0"),
            ("rediss-sentinel://:p@a/chat/2", "rediss-sentinel://…@a:26379/chat/2"),
            ("redis-cluster://u:p@a,b", "redis-cluster://…@a:6379,b:6379"),
        ] {
            assert_eq!(redis(value).map(show), Ok(shown.to_owned()));
        }
        for value in [
            "localhost",
            "localhost:",
            "localhost:0",
            "redis://",
            "redis://h/x",
            "redis://h/0?protocol=resp3",
            "redis://u@h",
            "redis://u:@h",
            "redis://u:%zz@h",
            "redis://%ff:p@h",
            "redis://h/4294967296",
            "unix:run",
            "unix:/",
            "rediss://",
            "rediss-cluster://a/1",
            "redis-sentinel://a,b",
            "redis-sentinel://a,b/",
            "redis-sentinel:///chat",
            "redis-sentinel://a/chat/x",
            "redis-sentinel://a/ch at",
            "redis-cluster://",
            "redis-cluster://a,",
            "redis-cluster://a;b",
            "redis-cluster://a/1",
            "redis-cluster://a:0",
            "redis-cluster://u@a",
            "http://h:1",
            "::1:6379",
            ":6379",
        ] {
            assert!(redis(value).is_err(), "{value}");
        }
    }
}
