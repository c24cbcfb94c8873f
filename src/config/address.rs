//! Where other services are: upstream URLs and the address of Redis.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use super::value::{Parsed, count, host_and_port, quoted};
use super::{Redis, RedisAddress, Secret, Upstream, UpstreamAddress};

/// An upstream by its URL: `http://host:port` or `http+unix://%2Frun%2Fa.sock`.
pub(super) fn upstream(name: &str, url: &str) -> Parsed<Upstream> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("{} is not a URL ({FORMS})", shown(url)));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (address, authority) = match scheme.to_ascii_lowercase().as_str() {
        "http" => tcp(url, rest)?,
        "http+unix" => (UpstreamAddress::Unix(socket_path(url, rest)?), "localhost".to_owned()),
        "https" => return Err(format!("{}: https upstreams are not supported yet", shown(url))),
        _ => return Err(format!("{} has a scheme that is not supported ({FORMS})", shown(url))),
    };
    Ok(Upstream { name: name.to_owned(), address, authority })
}

/// The URL of an upstream, as it would be written.
pub(super) fn show_upstream(upstream: &Upstream) -> String {
    match &upstream.address {
        UpstreamAddress::Tcp { host, port } if host.contains(':') => format!("http://[{host}]:{port}"),
        UpstreamAddress::Tcp { host, port } => format!("http://{host}:{port}"),
        UpstreamAddress::Unix(path) => {
            format!("http+unix://{}", percent_encoded(path.as_os_str().as_bytes()))
        }
    }
}

/// An address of Redis, perhaps with user, password and database; the timeout is not its business and is 0.
/// What is written never comes back in an error if it may hold a password.
pub(super) fn redis(value: &str) -> Parsed<Redis> {
    let wrong = |why: &str| Err(format!("{} {why}", shown(value)));
    let at =
        |address| Redis { address, username: None, password: None, database: 0, timeout: Duration::ZERO };
    let tcp = |host, port| at(RedisAddress::Tcp { host, port });
    if value.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return wrong("has white space or a control character in it");
    }
    if let Some(path) = value.strip_prefix("unix:") {
        return match path {
            _ if !path.starts_with('/') || path.ends_with('/') => wrong("is not unix: and an absolute path"),
            _ if path.len() > SOCKET_PATH_BYTES_MAX => wrong("is longer than the path of a socket can be"),
            _ => Ok(at(RedisAddress::Unix(PathBuf::from(path)))),
        };
    }
    if value.starts_with("rediss://") {
        return wrong("asks for TLS, which is not supported yet");
    }
    let Some(url) = value.strip_prefix("redis://") else {
        return match host_and_port(value) {
            Some((host, Some(port))) => Ok(tcp(host, port)),
            _ => wrong(
                "is not an address of Redis (use localhost:6379, [::1]:6379, redis://host:6379/0, \
                 unix:/run/redis.sock)",
            ),
        };
    };
    let (credentials, rest) = match url.rsplit_once('@') {
        Some((credentials, rest)) => (Some(credentials), rest),
        None => (None, url),
    };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((host, port)) = host_and_port(authority) else {
        return wrong("has no valid host and port");
    };
    let database = match count(if database.is_empty() { "0" } else { database }, 0, u32::MAX) {
        Ok(database) => database,
        Err(_) => return wrong("has something else than the number of a database behind the host"),
    };
    let address = Redis { database, ..tcp(host, port.unwrap_or(REDIS_PORT)) };
    let Some(credentials) = credentials else { return Ok(address) };
    let Some((username, password)) = credentials.split_once(':') else {
        return wrong(
            "has a user and no password (use redis://user:password@host or redis://:password@host)",
        );
    };
    let (Some(username), Some(password)) = (percent_decoded(username), percent_decoded(password)) else {
        return wrong("has a user or password that is not percent-encoded as it should be");
    };
    let Ok(username) = String::from_utf8(username) else {
        return wrong("has a user that is not UTF-8");
    };
    if password.is_empty() {
        return wrong("has an empty password");
    }
    let username = Some(username).filter(|username| !username.is_empty());
    Ok(Redis { username, password: Some(Secret(password)), ..address })
}

/// The address of Redis as it would be written, without user and password.
pub(super) fn show_redis(redis: &Redis) -> String {
    let hidden = if redis.password.is_some() { "…@" } else { "" };
    match &redis.address {
        RedisAddress::Unix(path) => format!("unix:{}", path.display()),
        RedisAddress::Tcp { host, port } => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            match redis.database {
                0 if hidden.is_empty() => format!("{host}:{port}"),
                database => format!("redis://{hidden}{host}:{port}/{database}"),
            }
        }
    }
}

/// Host and port, and what the upstream gets as `Host`: as written, since names may be told apart by it.
fn tcp(url: &str, authority: &str) -> Parsed<(UpstreamAddress, String)> {
    if authority.contains('@') {
        return Err("has a user or password in it, which is not supported".to_owned());
    }
    if authority.contains(['/', '?', '#']) {
        return Err(format!("{} has a path or query; requests keep their own ({FORMS})", shown(url)));
    }
    let Some((host, port)) = host_and_port(authority) else {
        return Err(format!("{} has no valid host and port ({FORMS})", shown(url)));
    };
    Ok((UpstreamAddress::Tcp { host, port: port.unwrap_or(80) }, authority.to_ascii_lowercase()))
}

/// The percent-encoded path of a socket.
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

/// The bytes behind `%XX`; `None` if an escape is broken.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
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

/// Everything but unreserved characters (RFC 3986 §2.3) as `%XX`.
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

/// The value in an error, unless it may hold a password.
fn shown(value: &str) -> String {
    if value.contains('@') {
        "the value (not shown: it may hold a password)".to_owned()
    } else {
        quoted(value)
    }
}

/// What an upstream's URL looks like.
const FORMS: &str = "use http://host:port or http+unix://%2Frun%2Fa.sock";
/// Where Redis listens when its URL does not say.
const REDIS_PORT: u16 = 6379;
/// `sun_path` of `sockaddr_un` without its NUL (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

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
            let upstream = upstream("auth", url).unwrap();
            assert_eq!((upstream.address, upstream.authority.as_str()), (address, authority), "{url}");
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
            "https://auth",
            "http://a..b",
            "http://é",
        ] {
            assert!(upstream("auth", url).is_err(), "{url}");
        }
        let long = format!("http+unix://%2F{}", "a".repeat(107));
        assert!(upstream("auth", &long).unwrap_err().contains("longer"));
    }

    #[test]
    fn says_that_https_is_not_supported_yet() {
        assert!(
            upstream("auth", "https://auth:1").unwrap_err().contains("https upstreams are not supported yet")
        );
    }

    #[test]
    fn never_shows_a_password() {
        for error in [
            upstream("auth", "http://u:hunter2@auth").unwrap_err(),
            upstream("auth", "https://u:hunter2@auth").unwrap_err(),
            redis("redis://:hunter2@a b").unwrap_err(),
            redis("rediss://:hunter2@a").unwrap_err(),
        ] {
            assert!(!error.contains("hunter2"), "{error}");
        }
        let redis = redis("redis://u:hunter2@h:1/0").unwrap();
        assert_eq!(show_redis(&redis), "redis://…@h:1/0");
        assert!(!format!("{redis:?}").contains("hunter2"));
    }

    #[test]
    fn reads_user_password_and_database_of_redis() {
        let read = |value| {
            let Redis { username, password, database, .. } = redis(value).unwrap();
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
        ] {
            assert_eq!(redis(value).map(|redis| show_redis(&redis)), Ok(shown.to_owned()));
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
            "rediss://h",
            "http://h:1",
            "::1:6379",
            ":6379",
        ] {
            assert!(redis(value).is_err(), "{value}");
        }
    }

    #[test]
    fn shows_upstreams_as_they_would_be_written() {
        for url in
            ["http://auth:5001", "http://[::1]:80", "http+unix://%2Frun%2Fa.sock", "http+unix://%2Fa%25b%0A"]
        {
            assert_eq!(show_upstream(&upstream("a", url).unwrap()), url);
        }
    }
}
