//! Values as they are written: durations, sizes, lists. Each parser says what would have been right.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::{AccessLog, CoreChoice, Cors, IoDriver, LimitHeaders, LimitStore, OnRedisFailure, Per, Rate};
use crate::limits;

/// A value, or what is wrong with it: the second half of a sentence that begins with the key.
pub(super) type Parsed<T> = Result<T, String>;

/// The value in an error: on one line, and not endless.
pub(super) fn quoted(value: &str) -> String {
    let mut text: String = value.chars().take(QUOTED_CHARS_MAX).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    format!("{text:?}")
}

/// A whole number from `min` to `max`, digits only.
pub(crate) fn count<T>(value: &str, min: T, max: T) -> Parsed<T>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<T>() {
        Ok(number) if digits && number >= min && number <= max => Ok(number),
        _ => Err(format!("{} is not a whole number from {min} to {max}", quoted(value))),
    }
}

/// `true` or `false`, nothing else.
pub(super) fn boolean(value: &str) -> Parsed<bool> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{} is neither true nor false", quoted(value))),
    }
}

/// A duration with its unit, from `min` to `max`. `0` needs no unit.
pub fn duration(value: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let Some(duration) = plain_duration(value) else {
        return Err(format!("{} is not a duration (use 500ms, 10s, 5m, 1h)", quoted(value)));
    };
    if duration < min || duration > max {
        return Err(format!(
            "{} is not from {} to {}",
            quoted(value),
            show_duration(min),
            show_duration(max)
        ));
    }
    Ok(duration)
}

/// Digits and a unit.
fn plain_duration(value: &str) -> Option<Duration> {
    if value == "0" {
        return Some(Duration::ZERO);
    }
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let number = number.parse::<u64>().ok()?;
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(ms_per_unit).map(Duration::from_millis)
}

/// A duration as it would be written: in the largest unit that divides it.
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// A number of bytes from `min` to `max`, plain or in `KiB`, `MiB`, `GiB`.
pub(super) fn size(value: &str, min: u64, max: u64) -> Parsed<u64> {
    let Some(bytes) = plain_size(value) else {
        return Err(format!("{} is not a size (use 512, 64KiB, 10MiB, 1GiB)", quoted(value)));
    };
    if bytes < min || bytes > max {
        return Err(format!("{} is not from {} to {}", quoted(value), show_size(min), show_size(max)));
    }
    Ok(bytes)
}

/// Digits and perhaps a unit.
fn plain_size(value: &str) -> Option<u64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let number = number.parse::<u64>().ok()?;
    let bytes_per_unit = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes_per_unit)
}

/// A size as it would be written: in the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// Requests per second: a decimal number with at most three decimals. No exponent, no sign, no `inf`.
pub(super) fn rate(value: &str) -> Parsed<Rate> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let decimals = decimals.trim_end_matches('0');
    let has_form = value.split('.').all(is_number) && decimals.len() <= 3;
    let milli = has_form.then(|| format!("{whole}{decimals:0<3}").parse::<u32>().ok()).flatten();
    milli.filter(|milli| *milli <= limits::RATE_MILLI_MAX).map(Rate::from_milli).ok_or_else(|| {
        let max = Rate::from_milli(limits::RATE_MILLI_MAX);
        format!(
            "{} is not a number of requests per second (use 0, or 0.001 to {max}, up to three decimals)",
            quoted(value)
        )
    })
}

/// Tokens in a full bucket.
pub(super) fn burst(value: &str) -> Parsed<u32> {
    count(value, 1, limits::BURST_MAX)
}

/// Who shares a bucket of a route.
pub(super) fn per(value: &str) -> Parsed<Per> {
    match value {
        "user" => Ok(Per::User),
        "ip" => Ok(Per::Ip),
        "none" => Ok(Per::None),
        _ => Err(format!("{} is none of user, ip, none", quoted(value))),
    }
}

/// `open`, `memory` or `closed`.
pub(super) fn on_redis_failure(value: &str) -> Parsed<OnRedisFailure> {
    match value {
        "open" => Ok(OnRedisFailure::Open),
        "memory" => Ok(OnRedisFailure::Memory),
        "closed" => Ok(OnRedisFailure::Closed),
        _ => Err(format!("{} is none of open, memory, closed", quoted(value))),
    }
}

/// `refused` or `all`.
pub(super) fn limit_headers(value: &str) -> Parsed<LimitHeaders> {
    match value {
        "refused" => Ok(LimitHeaders::Refused),
        "all" => Ok(LimitHeaders::All),
        _ => Err(format!("{} is neither refused nor all", quoted(value))),
    }
}

/// What keys begin with. Nothing in it can be taken for a glob, a hash tag or an escape.
pub(super) fn key_prefix(value: &str) -> Parsed<String> {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte));
    if value.is_empty() || value.len() > limits::KEY_PREFIX_BYTES_MAX || !plain {
        return Err(format!(
            "{} is not 1 to {} letters, digits, '.', '_', ':' or '-'",
            quoted(value),
            limits::KEY_PREFIX_BYTES_MAX
        ));
    }
    Ok(value.to_owned())
}

/// An IP address, an IPv6 one with or without brackets.
pub(super) fn ip(value: &str) -> Parsed<IpAddr> {
    let bare = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).filter(|v| v.contains(':'));
    let address = bare.unwrap_or(value).parse();
    address.map_err(|_| format!("{} is not an IP address (use 0.0.0.0, 127.0.0.1, ::1)", quoted(value)))
}

/// An address with a port, or `off`.
pub(super) fn socket_or_off(value: &str) -> Parsed<Option<SocketAddr>> {
    if value == "off" {
        return Ok(None);
    }
    let address = value.parse().map(Some);
    address.map_err(|_| {
        format!("{} is not an address with a port (use 127.0.0.1:9901, [::1]:9901 or off)", quoted(value))
    })
}

/// Networks and single addresses; `none` for none. The second list holds a note for each network that was
/// written with host bits: it is taken as the network around them.
pub(super) fn networks(value: &str) -> Parsed<(Vec<IpNet>, Vec<String>)> {
    let (mut networks, mut notes) = (Vec::new(), Vec::new());
    for item in items(value)? {
        let parsed = item.parse::<IpNet>().ok().or_else(|| item.parse::<IpAddr>().ok().map(IpNet::from));
        let Some(network) = parsed else {
            return Err(format!(
                "{} is not a network or an address (use 10.0.0.0/8, fd00::/8, 192.0.2.7)",
                quoted(item)
            ));
        };
        if network != network.trunc() {
            notes.push(format!("{item} has bits set behind its prefix and is taken as {}", network.trunc()));
        }
        networks.push(network.trunc());
    }
    networks.sort_unstable();
    networks.dedup();
    Ok((networks, notes))
}

/// Browser origins, `*`, or `none`.
pub(super) fn cors(value: &str) -> Parsed<Cors> {
    let items = items(value)?;
    if items == ["*"] {
        return Ok(Cors::Any);
    }
    let mut origins = items.into_iter().map(origin).collect::<Parsed<Vec<_>>>()?;
    origins.sort_unstable();
    origins.dedup();
    Ok(if origins.is_empty() { Cors::Off } else { Cors::Origins(origins) })
}

/// One origin as browsers serialize it: lower case, without the scheme's own port (RFC 6454 §6.2).
fn origin(value: &str) -> Parsed<String> {
    let wrong = |why: &str| Err(format!("{} {why}", quoted(value)));
    if value == "*" {
        return wrong("stands alone or not at all");
    }
    let lower = value.to_ascii_lowercase();
    let Some((scheme, authority)) = lower.split_once("://") else {
        return wrong("is not an origin (use https://chat.example or http://localhost:3000)");
    };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !scheme_ok {
        return wrong("is not an origin: its scheme is not valid");
    }
    if authority.contains('*') {
        return wrong("is not an origin: wildcards are not supported, name each origin");
    }
    if authority.contains(['/', '?', '#', '@']) {
        return wrong("is not an origin: it is scheme://host or scheme://host:port, without anything behind");
    }
    let Some((host, port)) = host_and_port(authority) else {
        return wrong("is not an origin: its host or port is not valid");
    };
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{bracketed}"),
        (_, Some(port)) => format!("{scheme}://{bracketed}:{port}"),
    })
}

/// `all`, a count, or a list of CPU numbers and ranges. A number alone is a count.
pub(super) fn cores(value: &str) -> Parsed<CoreChoice> {
    if value == "all" {
        return Ok(CoreChoice::All);
    }
    let form = || {
        format!(
            "{} is not a choice of CPUs (use all, a count such as 4, or a list such as 0-3,8)",
            quoted(value)
        )
    };
    if !value.contains(['-', ',']) {
        return count(value, 1, limits::CPUS_MAX).map(CoreChoice::Count).map_err(|_| form());
    }
    let mut cpus = Vec::new();
    // A trailing comma makes the list of one CPU: `3,`.
    let listed = value.strip_suffix(',').unwrap_or(value);
    for part in listed.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| count(text, 0, limits::CPUS_MAX - 1).map_err(|_| form());
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("the range {} runs backwards", quoted(part)));
        }
        cpus.extend(first..=last);
        if cpus.len() > limits::CPUS_MAX {
            return Err(format!("{} names a CPU twice", quoted(value)));
        }
    }
    cpus.sort_unstable();
    match cpus.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{} names CPU {} twice", quoted(value), pair[0])),
        None => Ok(CoreChoice::List(cpus)),
    }
}

/// How sockets are waited for.
pub(super) fn io_driver(value: &str) -> Parsed<IoDriver> {
    match value {
        "auto" => Ok(IoDriver::Auto),
        "io_uring" => Ok(IoDriver::IoUring),
        "epoll" => Ok(IoDriver::Epoll),
        _ => Err(format!("{} is no driver (use auto, io_uring or epoll)", quoted(value))),
    }
}

/// `redis`, `memory` or `off`.
pub(super) fn store(value: &str) -> Parsed<LimitStore> {
    match value {
        "redis" => Ok(LimitStore::Redis),
        "memory" => Ok(LimitStore::Memory),
        "off" => Ok(LimitStore::Off),
        _ => Err(format!("{} is none of redis, memory, off", quoted(value))),
    }
}

/// `off`, `stdout` or a path. A path has a slash in it, so that a misspelt word does not become a file.
pub(super) fn access_log(value: &str) -> Parsed<AccessLog> {
    match value {
        "off" => Ok(AccessLog::Off),
        "stdout" => Ok(AccessLog::Stdout),
        _ if value.ends_with('/') => Err(format!("{} is a directory", quoted(value))),
        _ if value.contains('/') && !value.contains(char::is_control) => {
            Ok(AccessLog::File(PathBuf::from(value)))
        }
        _ => Err(format!("{} is none of off, stdout or a path with a / in it (./access.log)", quoted(value))),
    }
}

/// A path of a file, absolute or with a `/` in it: a name alone is more likely a slip.
pub(super) fn file_path(value: &str) -> Parsed<PathBuf> {
    if value.ends_with('/') || !value.contains('/') || value.contains(char::is_control) {
        return Err(format!("{} is not a path of a file with a / in it (/run/gateway.pid)", quoted(value)));
    }
    Ok(PathBuf::from(value))
}

/// Text for a comparison: no control characters, not endless.
pub(super) fn text(value: &str) -> Parsed<String> {
    if value.chars().any(char::is_control) {
        return Err("has a control character in it".to_owned());
    }
    if value.len() > limits::SUBJECT_BYTES_MAX {
        return Err(format!("is over {} bytes", limits::SUBJECT_BYTES_MAX));
    }
    Ok(value.to_owned())
}

/// A host in lower case, without brackets, and its port, if both are well-formed.
pub(super) fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        (plain_host(host).then_some(host)?, port)
    };
    let port = match port {
        Some(port) => Some(count::<u16>(port, 1, u16::MAX).ok()?),
        None => None,
    };
    Some((host.to_ascii_lowercase(), port))
}

/// A name or an IPv4 address. A name whose last label is a number would be read as an address by some
/// resolvers, so such a host must be one.
fn plain_host(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let numeric = labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    host.len() <= 253
        && labels.split('.').all(label_ok)
        && (!numeric || host.parse::<std::net::Ipv4Addr>().is_ok())
}

/// The items of a list, separated by commas and white space; `none` alone is the empty list.
fn items(value: &str) -> Parsed<Vec<&str>> {
    if value.trim() == "none" {
        return Ok(Vec::new());
    }
    let items: Vec<&str> = value.split([',', ' ', '\t', '\n']).filter(|item| !item.is_empty()).collect();
    if items.is_empty() {
        return Err(format!("{} names nothing (use none)", quoted(value)));
    }
    if items.len() > limits::LISTED_MAX {
        return Err(format!("has {} items, over {}", items.len(), limits::LISTED_MAX));
    }
    Ok(items)
}

/// Characters of a value that an error shows.
const QUOTED_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn reads_durations_with_their_unit() {
        let ms = |value| duration(value, Duration::ZERO, DAY).map(|d| d.as_millis());
        for (value, expected) in
            [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0), ("0", 0)]
        {
            assert_eq!(ms(value), Ok(expected), "{value}");
        }
        for value in ["5x", "10", "", "s", "-1s", "1.5s", "1 s", "+1s", "10S", "99999999999999999999s", "25h"]
        {
            assert!(ms(value).is_err(), "{value}");
        }
        assert_eq!(ms("5x"), Err("\"5x\" is not a duration (use 500ms, 10s, 5m, 1h)".to_owned()));
        assert_eq!(ms("25h"), Err("\"25h\" is not from 0s to 24h".to_owned()));
        assert_eq!(ms("18446744073709551615h").ok(), None);
    }

    #[test]
    fn shows_durations_and_sizes_as_they_would_be_written() {
        for value in ["500ms", "10s", "5m", "1h", "0s", "90s"] {
            assert_eq!(show_duration(plain_duration(value).unwrap()), value);
        }
        for value in ["0", "512", "64KiB", "10MiB", "1GiB", "1025"] {
            assert_eq!(show_size(plain_size(value).unwrap()), value);
        }
    }

    #[test]
    fn reads_sizes_plain_or_with_a_unit() {
        for (value, expected) in
            [("0", 0), ("512", 512), ("64KiB", 65_536), ("10MiB", 10 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(value, 0, u64::MAX), Ok(expected), "{value}");
        }
        for value in [
            "10M",
            "10MB",
            "1.5MiB",
            "-1",
            "MiB",
            "",
            "1kib",
            "99999999999999999999",
            "18446744073709551615GiB",
        ] {
            assert!(size(value, 0, u64::MAX).is_err(), "{value}");
        }
        assert_eq!(size("1KiB", 2048, 4096), Err("\"1KiB\" is not from 2KiB to 4KiB".to_owned()));
    }

    #[test]
    fn reads_counts_and_booleans_exactly() {
        assert_eq!(count("7", 1, 9), Ok(7));
        for value in ["0", "10", "+7", "-7", " 7", "7.0", "", "0x7"] {
            assert!(count(value, 1, 9).is_err(), "{value}");
        }
        assert_eq!((boolean("true"), boolean("false")), (Ok(true), Ok(false)));
        for value in ["True", "1", "yes", "on", ""] {
            assert!(boolean(value).is_err(), "{value}");
        }
    }

    #[test]
    fn reads_rates_with_fractions_and_without_tricks() {
        for (value, milli) in [
            ("0", 0),
            ("0.000", 0),
            ("10", 10_000),
            ("10.0", 10_000),
            ("0.5", 500),
            ("0.5000", 500),
            ("3.333", 3_333),
            ("1000000", 1_000_000_000),
            ("0.001", 1),
        ] {
            assert_eq!(rate(value), Ok(Rate::from_milli(milli)), "{value}");
        }
        for value in [
            "-1",
            "-0",
            "inf",
            "NaN",
            "1e3",
            "0.0001",
            "1.2345",
            "1000001",
            "1000000.001",
            "99999999999",
            "",
            ".",
            "1.",
            ".5",
            "1.2.3",
            "+1",
            "1.é",
        ] {
            assert!(rate(value).is_err(), "{value}");
        }
        for text in ["0", "10", "0.5", "3.333", "0.001", "1000000", "0.05"] {
            assert_eq!(rate(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn reads_addresses() {
        assert_eq!(ip("::1"), ip("[::1]"));
        assert!(ip("127.0.0.1").is_ok());
        for value in ["localhost", "[127.0.0.1]", "1.2.3", "127.0.0.1:80", "*"] {
            assert!(ip(value).is_err(), "{value}");
        }
        assert_eq!(socket_or_off("off"), Ok(None));
        assert!(socket_or_off("127.0.0.1:9901").is_ok() && socket_or_off("[::1]:0").is_ok());
        for value in ["localhost:9901", "9901", ":9901", "127.0.0.1", "Off"] {
            assert!(socket_or_off(value).is_err(), "{value}");
        }
    }

    #[test]
    fn reads_networks_and_single_addresses() {
        let read = |value| {
            networks(value).map(|(nets, notes)| {
                (nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), notes.len())
            })
        };
        assert_eq!(read("none"), Ok((String::new(), 0)));
        assert_eq!(
            read("10.0.0.0/8, 192.0.2.7 fd00::/8"),
            Ok(("10.0.0.0/8 192.0.2.7/32 fd00::/8".into(), 0))
        );
        assert_eq!(
            read("10.1.2.3/8,10.0.0.0/8"),
            Ok(("10.0.0.0/8".into(), 1)),
            "host bits are cut, and said"
        );
        for value in ["10.0.0.0/33", "localhost", "10.0.0", ",", "none,10.0.0.0/8", "*"] {
            assert!(read(value).is_err(), "{value}");
        }
    }

    #[test]
    fn reads_origins_as_browsers_write_them() {
        let one = |value| match cors(value) {
            Ok(Cors::Origins(origins)) => origins.join(" "),
            other => format!("{other:?}"),
        };
        assert_eq!(cors("none"), Ok(Cors::Off));
        assert_eq!(cors("*"), Ok(Cors::Any));
        assert_eq!(one("https://Chat.Example"), "https://chat.example");
        assert_eq!(one("HTTPS://chat.example:443"), "https://chat.example");
        assert_eq!(one("http://localhost:3000,http://[::1]:3000"), "http://[::1]:3000 http://localhost:3000");
        assert_eq!(one("capacitor://localhost"), "capacitor://localhost");
        for value in [
            "chat.example",
            "https://chat.example/",
            "https://chat.example/x",
            "https://*.example",
            "*,https://a",
            "null",
            "https://",
            "https://a:0",
            "https://a:99999",
            "https://u@a",
            "https://a?b",
            "://a",
            "https://a b#",
        ] {
            assert!(cors(value).is_err(), "{value}");
        }
    }

    #[test]
    fn reads_a_choice_of_cpus() {
        assert_eq!(cores("all"), Ok(CoreChoice::All));
        assert_eq!(cores("4"), Ok(CoreChoice::Count(4)));
        assert_eq!(cores("0-3,8"), Ok(CoreChoice::List(vec![0, 1, 2, 3, 8])));
        assert_eq!(cores("8, 0-1"), Ok(CoreChoice::List(vec![0, 1, 8])));
        assert_eq!(cores("3,"), Ok(CoreChoice::List(vec![3])));
        for value in
            ["0", "", "3-1", "1,1", "0-3,2", "-1", "a", "1-", "1,,2", "0-99999999999", "ALL", "1.5", ","]
        {
            assert!(cores(value).is_err(), "{value}");
        }
        assert_eq!(cores("3-1"), Err("the range \"3-1\" runs backwards".to_owned()));
        assert_eq!(cores("0-3,2"), Err("\"0-3,2\" names CPU 2 twice".to_owned()));
    }

    #[test]
    fn reads_where_lines_and_buckets_go() {
        assert_eq!(access_log("off"), Ok(AccessLog::Off));
        assert_eq!(access_log("stdout"), Ok(AccessLog::Stdout));
        assert_eq!(access_log("/var/log/a"), Ok(AccessLog::File(PathBuf::from("/var/log/a"))));
        for value in ["stderr", "Off", "none", "/var/log/", "/a\nb"] {
            assert!(access_log(value).is_err(), "{value}");
        }
        assert_eq!(file_path("/run/a.pid"), Ok(PathBuf::from("/run/a.pid")));
        for value in ["a.pid", "/run/", "/run/a\nb"] {
            assert!(file_path(value).is_err(), "{value}");
        }
        assert_eq!(store("memory"), Ok(LimitStore::Memory));
        assert!(store("Redis").is_err() && per("IP").is_err() && limit_headers("none").is_err());
        assert_eq!(on_redis_failure("closed"), Ok(OnRedisFailure::Closed));
        assert_eq!(key_prefix("a.b_c:d-1"), Ok("a.b_c:d-1".to_owned()));
        for value in ["", "a b", "{a}", "a%", "é", &"x".repeat(65)] {
            assert!(key_prefix(value).is_err(), "{value}");
        }
    }

    #[test]
    fn quotes_on_one_line_and_not_endlessly() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert!(quoted(&"x".repeat(1000)).len() < 100);
    }
}
