//! The settings under "Upstreams".

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::address::{self, UpstreamUrl};
use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{ReadyRequires, Upstream, Via};
use crate::config::value::{
    DAY, Parsed, SECOND, TICK, count, duration, items, quoted, show_duration, show_list,
};
use crate::limits;

/// The settings under "Upstreams".
pub const SECTION: Section = Section {
    heading: "Upstreams",
    heading_in_check: "Upstream connections",
    keys: &[
        &UPSTREAM_AUTH_URL,
        &UPSTREAM_MESSAGE_URL,
        &UPSTREAM_DELIVERY_URL,
        &UPSTREAM_PROFILE_URL,
        &UPSTREAM_CONVERSATION_URL,
        &UPSTREAM_CONNECT_TIMEOUT,
        &UPSTREAM_HEAD_TIMEOUT,
        &UPSTREAM_IDLE_TIMEOUT,
        &UPSTREAM_KEEP_ALIVE,
        &UPSTREAM_CONNECTION_AGE,
        &UPSTREAM_CONNECTION_REQUESTS,
        &UPSTREAM_IDLE_CONNECTIONS,
        &UPSTREAM_MAX_IN_FLIGHT,
        &UPSTREAM_HEAD_MAX_FIELDS,
        &VIA,
        &DNS_REFRESH,
        &DNS_SERVER,
        &READY_REQUIRES,
    ],
};

pub const UPSTREAM_AUTH_URL: Key<UpstreamUrl> = Key {
    env: "UPSTREAM_AUTH_URL",
    flag: "upstream-auth-url",
    value_name: "URL",
    in_file: InFile::Scalar,
    default: "http://auth:5001",
    bounds: "URL",
    help: "The service that registers users and logs them in",
    more: "",
    parse: address::upstream,
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_MESSAGE_URL: Key<UpstreamUrl> = Key {
    env: "UPSTREAM_MESSAGE_URL",
    flag: "upstream-message-url",
    value_name: "URL",
    in_file: InFile::Scalar,
    default: "http://message:5002",
    bounds: "URL",
    help: "The service of messages",
    more: "",
    parse: address::upstream,
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_DELIVERY_URL: Key<UpstreamUrl> = Key {
    env: "UPSTREAM_DELIVERY_URL",
    flag: "upstream-delivery-url",
    value_name: "URL",
    in_file: InFile::Scalar,
    default: "http://delivery:5003",
    bounds: "URL",
    help: "The service of WebSockets",
    more: "",
    parse: address::upstream,
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_PROFILE_URL: Key<UpstreamUrl> = Key {
    env: "UPSTREAM_PROFILE_URL",
    flag: "upstream-profile-url",
    value_name: "URL",
    in_file: InFile::Scalar,
    default: "http://profile:5004",
    bounds: "URL",
    help: "The service of users",
    more: "",
    parse: address::upstream,
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_CONVERSATION_URL: Key<UpstreamUrl> = Key {
    env: "UPSTREAM_CONVERSATION_URL",
    flag: "upstream-conversation-url",
    value_name: "URL",
    in_file: InFile::Scalar,
    default: "http://conversation:5005",
    bounds: "URL",
    help: "The service of conversations",
    more: "",
    parse: address::upstream,
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_CONNECT_TIMEOUT: Key<Duration> = Key {
    env: "UPSTREAM_CONNECT_TIMEOUT",
    flag: "upstream-connect-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "2s",
    bounds: "50ms to 24h",
    help: "How long connecting to an upstream may take",
    more: "A TLS handshake is a part of it.",
    parse: |text| duration(text, TICK, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.upstream_connect)),
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_HEAD_TIMEOUT: Key<Duration> = Key {
    env: "UPSTREAM_HEAD_TIMEOUT",
    flag: "upstream-head-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "60s",
    bounds: "50ms to 24h",
    help: "From the end of a request to the head of its response",
    more: "",
    parse: |text| duration(text, TICK, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.upstream_head)),
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_IDLE_TIMEOUT: Key<Duration> = Key {
    env: "UPSTREAM_IDLE_TIMEOUT",
    flag: "upstream-idle-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "60s",
    bounds: "50ms to 24h",
    help: "Between bytes of a response body, and of a request that an upstream does not read",
    more: "",
    parse: |text| duration(text, TICK, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.upstream_idle)),
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_KEEP_ALIVE: Key<Duration> = Key {
    env: "UPSTREAM_KEEP_ALIVE",
    flag: "upstream-keep-alive",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "60s",
    bounds: "50ms to 24h",
    help: "How long a pooled connection may be idle",
    more: "",
    parse: |text| duration(text, TICK, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.upstream_keep_alive)),
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_CONNECTION_AGE: Key<Duration> = Key {
    env: "UPSTREAM_CONNECTION_AGE",
    flag: "upstream-connection-age",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "1h",
    bounds: "0 to 24h",
    help: "How long a pooled connection is used, give or take a tenth; 0: as long as it lasts",
    more: "A request on it is never cut off.",
    parse: |text| duration(text, Duration::ZERO, DAY),
    shown: Shown::Value(|config| match config.timeouts.upstream_connection_age {
        Duration::ZERO => "0 (as long as it lasts)".to_owned(),
        age => show_duration(age),
    }),
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_CONNECTION_REQUESTS: Key<usize> = Key {
    env: "UPSTREAM_CONNECTION_REQUESTS",
    flag: "upstream-connection-requests",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "0",
    bounds: "0 to 1048576",
    help: "Requests that one connection to an upstream carries; 0: any number",
    more: "",
    parse: |text| count(text, 0, IN_FLIGHT_MAX),
    shown: Shown::Value(|config| match config.sizes.upstream_connection_requests {
        0 => "0 (any number) per connection".to_owned(),
        requests => format!("{requests} per connection"),
    }),
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_IDLE_CONNECTIONS: Key<usize> = Key {
    env: "UPSTREAM_IDLE_CONNECTIONS",
    flag: "upstream-idle-connections",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "256",
    bounds: "0 to 65536",
    help: "Idle connections kept per upstream and core",
    more: "",
    parse: |text| count(text, 0, IDLE_MAX),
    shown: Shown::Value(|config| format!("{} per upstream and core", config.sizes.upstream_idle)),
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_MAX_IN_FLIGHT: Key<usize> = Key {
    env: "UPSTREAM_MAX_IN_FLIGHT",
    flag: "upstream-max-in-flight",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "1024",
    bounds: "1 to 1048576",
    help: "Requests in flight per upstream and core",
    more: "Over it: 503 `overloaded`, at once.",
    parse: |text| count(text, 1, IN_FLIGHT_MAX),
    shown: Shown::Value(|config| format!("{} per upstream and core", config.sizes.upstream_in_flight)),
    on_reload: OnReload::Takes,
};

pub const UPSTREAM_HEAD_MAX_FIELDS: Key<usize, NoDefault> = Key {
    env: "UPSTREAM_HEAD_MAX_FIELDS",
    flag: "upstream-head-max-fields",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "1 to 1000",
    help: "Header fields of one response head; unset: as HEAD_MAX_FIELDS",
    more: "Over it: 502, with the cause `too_many_fields` in the access log.",
    parse: |text| count(text, 1, limits::FIELDS_MAX),
    shown: Shown::Value(|config| match config.sizes.upstream_fields {
        Some(fields) => format!("{fields} fields"),
        None => "as HEAD_MAX_FIELDS".to_owned(),
    }),
    on_reload: OnReload::Takes,
};

pub const VIA: Key<Via> = Key {
    env: "VIA",
    flag: "via",
    value_name: "on|off|NAME",
    in_file: InFile::Scalar,
    default: "on",
    bounds: "`on`, `off`, or a name of up to 64 letters, digits, `-`, `.` and `_`",
    help: "Name of the gateway in `Via` of requests: `on` (`realchat-gateway`), another name, or `off`: no `Via` goes \
           upstream",
    more: "nginx compresses nothing for a request with `Via` unless its `gzip_proxied` says so.",
    parse: via,
    shown: Shown::Value(|config| match &config.via {
        Via::Off => "off".to_owned(),
        Via::Name(name) => name.clone(),
    }),
    on_reload: OnReload::Takes,
};

pub const DNS_REFRESH: Key<Duration> = Key {
    env: "DNS_REFRESH",
    flag: "dns-refresh",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "30s",
    bounds: "1s to 24h",
    help: "Between two resolutions of an upstream's name",
    more: "",
    parse: |text| duration(text, SECOND, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.dns_refresh)),
    on_reload: OnReload::Takes,
};

pub const DNS_SERVER: Key<SocketAddr, NoDefault> = Key {
    env: "DNS_SERVER",
    flag: "dns-server",
    value_name: "ADDR",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "IP address and port",
    help: "The DNS server that is asked for names, each again when its answer has expired; unset: as the system does",
    more: "With it the file `/etc/hosts` does not count ([upstreams.md](upstreams.md#members)).",
    parse: |text| text.parse().map_err(|_| format!("{} is not an IP address and a port", quoted(text))),
    shown: Shown::Value(|config| config.dns_server.map_or("none".to_owned(), |server| server.to_string())),
    on_reload: OnReload::Takes,
};

pub const READY_REQUIRES: Key<ReadyRequires> = Key {
    env: "READY_REQUIRES",
    flag: "ready-requires",
    value_name: "NAME,…",
    in_file: InFile::List,
    default: "none",
    bounds: "`none`, `upstreams`, or a list of names of upstreams",
    help: "Upstreams without which the process is not ready: `none`, `upstreams` (each of them), or a list of names",
    more: "`/readyz` is 503 `upstream_down` while one of them has no usable member.",
    parse: required,
    shown: Shown::Value(|config| show_required(&config.ready_requires)),
    on_reload: OnReload::Takes,
};

/// The upstreams that readiness requires. Each of them exists.
pub(crate) fn ready_requires(layers: &mut Layers, upstreams: &[Upstream]) -> ReadyRequires {
    let required = layers.value(&READY_REQUIRES);
    if let ReadyRequires::Upstreams(names) = &required {
        let is_known = |name: &&String| upstreams.iter().any(|upstream| upstream.name == **name);
        for name in names.iter().filter(|name| !is_known(name)) {
            layers.refuse_written(&READY_REQUIRES, &format!("{} is no upstream", quoted(name)));
        }
    }
    required
}

/// A pseudonym (RFC 9110 §7.6.3), which is a token, so it needs no quotes.
fn via(text: &str) -> Parsed<Via> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match text {
        "on" => Ok(Via::Name("realchat-gateway".to_owned())),
        "off" => Ok(Via::Off),
        name if (1..=VIA_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name) => {
            Ok(Via::Name(name.to_owned()))
        }
        _ => Err(format!(
            "{} is neither on, off, nor a name of letters, digits, '-', '.' and '_'",
            quoted(text)
        )),
    }
}

fn required(text: &str) -> Parsed<ReadyRequires> {
    match text {
        "none" => Ok(ReadyRequires::Nothing),
        "upstreams" => Ok(ReadyRequires::EveryUpstream),
        names => Ok(ReadyRequires::Upstreams(items(names)?.into_iter().map(str::to_owned).collect())),
    }
}

fn show_required(required: &ReadyRequires) -> String {
    match required {
        ReadyRequires::Nothing => "none".to_owned(),
        ReadyRequires::EveryUpstream => "upstreams".to_owned(),
        ReadyRequires::Upstreams(names) => show_list(names),
    }
}

/// The longest name in `Via`, in bytes.
const VIA_BYTES_MAX: usize = 64;
/// Idle connections per upstream and core that an operator may set.
const IDLE_MAX: usize = 65_536;
/// Requests in flight per upstream and core that an operator may set.
pub(crate) const IN_FLIGHT_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{moves, refuses};

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (&UPSTREAM_AUTH_URL, "http://a", "auth http://a:80"),
                (&UPSTREAM_MESSAGE_URL, "https://a", "message https://a:443"),
                (&UPSTREAM_DELIVERY_URL, "http://a", "delivery http://a:80"),
                (&UPSTREAM_PROFILE_URL, "http://a", "profile http://a:80"),
                (&UPSTREAM_CONVERSATION_URL, "http://a", "conversation http://a:80"),
                (&UPSTREAM_CONNECT_TIMEOUT, "50ms", "UPSTREAM_CONNECT_TIMEOUT 50ms"),
                (&UPSTREAM_HEAD_TIMEOUT, "7s", "UPSTREAM_HEAD_TIMEOUT 7s"),
                (&UPSTREAM_IDLE_TIMEOUT, "7s", "UPSTREAM_IDLE_TIMEOUT 7s"),
                (&UPSTREAM_KEEP_ALIVE, "7s", "UPSTREAM_KEEP_ALIVE 7s"),
                (&UPSTREAM_CONNECTION_AGE, "7s", "UPSTREAM_CONNECTION_AGE 7s"),
                (&UPSTREAM_CONNECTION_REQUESTS, "7", "UPSTREAM_CONNECTION_REQUESTS 7 per"),
                (&UPSTREAM_IDLE_CONNECTIONS, "0", "UPSTREAM_IDLE_CONNECTIONS 0 per"),
                (&UPSTREAM_MAX_IN_FLIGHT, "7", "UPSTREAM_MAX_IN_FLIGHT 7 per"),
                (&UPSTREAM_HEAD_MAX_FIELDS, "300", "UPSTREAM_HEAD_MAX_FIELDS 300 fields"),
                (&VIA, "edge-1", "VIA edge-1"),
                (&DNS_REFRESH, "7s", "DNS_REFRESH 7s"),
                (&DNS_SERVER, "127.0.0.1:53", "DNS_SERVER 127.0.0.1:53"),
                (&READY_REQUIRES, "auth,message", "READY_REQUIRES auth, message"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&UPSTREAM_AUTH_URL, "auth:5001"),
            (&UPSTREAM_MESSAGE_URL, "http://a/b"),
            (&UPSTREAM_DELIVERY_URL, "https+unix://%2Fa"),
            (&UPSTREAM_PROFILE_URL, "http://"),
            (&UPSTREAM_CONVERSATION_URL, "ws://a"),
            (&UPSTREAM_CONNECT_TIMEOUT, "0s"),
            (&UPSTREAM_HEAD_TIMEOUT, "49ms"),
            (&UPSTREAM_IDLE_TIMEOUT, "forever"),
            (&UPSTREAM_KEEP_ALIVE, "-1s"),
            (&UPSTREAM_CONNECTION_AGE, "25h"),
            (&UPSTREAM_CONNECTION_REQUESTS, "-1"),
            (&UPSTREAM_IDLE_CONNECTIONS, "65537"),
            (&UPSTREAM_MAX_IN_FLIGHT, "0"),
            (&UPSTREAM_HEAD_MAX_FIELDS, "1001"),
            (&VIA, "a b"),
            (&DNS_REFRESH, "500ms"),
            (&DNS_SERVER, "127.0.0.1"),
            (&READY_REQUIRES, "auth,nobody"),
        ]);
    }
}
