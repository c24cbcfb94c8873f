//! The settings under "Clients", and what they mean together.

use std::time::Duration;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{Choice, EmptySegments, HalfClose};
use crate::config::value::{
    DAY, TICK, buffer_size, choice, count, duration, show_bytes, show_duration, show_size, size,
};
use crate::limits;

/// The settings under "Clients".
pub const SECTION: Section = Section {
    heading: "Clients",
    heading_in_check: "Clients",
    keys: &[
        &REQUEST_HEAD_TIMEOUT,
        &KEEP_ALIVE_TIMEOUT,
        &BODY_TIMEOUT,
        &BODY_MIN_RATE,
        &BODY_MAX_BYTES,
        &HEAD_MAX_BYTES,
        &HEAD_MAX_FIELDS,
        &REQUEST_LINE_MAX_BYTES,
        &EMPTY_SEGMENTS,
        &CLIENT_HALF_CLOSE,
        &MAX_CONNECTIONS_PER_ADDRESS,
        &MAX_REQUESTS_PER_ADDRESS,
    ],
};

pub const REQUEST_HEAD_TIMEOUT: Key<Duration> = Key {
    env: "REQUEST_HEAD_TIMEOUT",
    flag: "request-head-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "10s",
    bounds: "50ms to 24h",
    help: "From the first byte of a request head to its last",
    more: "",
    parse: |text| duration(text, TICK, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.request_head)),
    on_reload: OnReload::Takes,
};

pub const KEEP_ALIVE_TIMEOUT: Key<Duration> = Key {
    env: "KEEP_ALIVE_TIMEOUT",
    flag: "keep-alive-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "75s",
    bounds: "50ms to 24h",
    help: "How long a connection may be idle between requests",
    more: "",
    parse: |text| duration(text, TICK, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.keep_alive)),
    on_reload: OnReload::Takes,
};

pub const BODY_TIMEOUT: Key<Duration> = Key {
    env: "BODY_TIMEOUT",
    flag: "body-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "30s",
    bounds: "50ms to 24h",
    help: "How long a body may make no progress, in either direction",
    more: "Also the time over which `BODY_MIN_RATE` is averaged.",
    parse: |text| duration(text, TICK, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.body)),
    on_reload: OnReload::Takes,
};

pub const BODY_MIN_RATE: Key<u64> = Key {
    env: "BODY_MIN_RATE",
    flag: "body-min-rate",
    value_name: "SIZE",
    in_file: InFile::Scalar,
    default: "1KiB",
    bounds: "0 to 1GiB per second",
    help: "Bytes per second that a body must average while the gateway waits for it; 0: no bound",
    more: "",
    parse: |text| size(text, 0, BODY_RATE_MAX),
    shown: Shown::Value(|config| show_body_rate(config.sizes.body_rate_min)),
    on_reload: OnReload::Takes,
};

pub const BODY_MAX_BYTES: Key<u64> = Key {
    env: "BODY_MAX_BYTES",
    flag: "body-max-bytes",
    value_name: "SIZE",
    in_file: InFile::Scalar,
    default: "10MiB",
    bounds: "0 to 2^63-1 bytes",
    help: "Size of a request body; 0: no bound",
    more: "Over it: 413.",
    parse: |text| size(text, 0, BODY_BYTES_MAX),
    shown: Shown::Value(|config| show_bytes(config.sizes.body_bytes, "no bound")),
    on_reload: OnReload::Takes,
};

pub const HEAD_MAX_BYTES: Key<usize> = Key {
    env: "HEAD_MAX_BYTES",
    flag: "head-max-bytes",
    value_name: "SIZE",
    in_file: InFile::Scalar,
    default: "32KiB",
    bounds: "1KiB to 256KiB",
    help: "Size of a request or response head",
    more: "Over it: 431 to a client, 502 for an upstream. Over 32KiB every I/O buffer is larger by as much.",
    parse: |text| buffer_size(text, HEAD_BYTES_MIN, limits::HEAD_BYTES_MAX),
    shown: Shown::Value(|config| show_bytes(config.sizes.head_bytes as u64, "0")),
    on_reload: OnReload::Takes,
};

pub const HEAD_MAX_FIELDS: Key<usize> = Key {
    env: "HEAD_MAX_FIELDS",
    flag: "head-max-fields",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "100",
    bounds: "1 to 1000",
    help: "Header fields of one head",
    more: "Over it: 431 to a client, 502 for an upstream.",
    parse: |text| count(text, 1, limits::FIELDS_MAX),
    shown: Shown::Value(|config| format!("{} fields", config.sizes.fields)),
    on_reload: OnReload::Takes,
};

pub const REQUEST_LINE_MAX_BYTES: Key<usize> = Key {
    env: "REQUEST_LINE_MAX_BYTES",
    flag: "request-line-max-bytes",
    value_name: "SIZE",
    in_file: InFile::Scalar,
    default: "8KiB",
    bounds: "128 bytes to less than `HEAD_MAX_BYTES`",
    help: "Size of a request line",
    more: "Over it: 414.",
    parse: |text| buffer_size(text, REQUEST_LINE_BYTES_MIN, limits::HEAD_BYTES_MAX),
    shown: Shown::Value(|config| show_bytes(config.sizes.request_line_bytes as u64, "0")),
    on_reload: OnReload::Takes,
};

pub const EMPTY_SEGMENTS: Key<EmptySegments> = Key {
    env: "EMPTY_SEGMENTS",
    flag: "empty-segments",
    value_name: "WHAT",
    in_file: InFile::Scalar,
    default: "refuse",
    bounds: "`refuse` or `merge`",
    help: "What becomes of a path with `//`: it is refused (400, `refuse`), or has one slash instead (`merge`)",
    more: "It is matched and forwarded so. A route may say otherwise ([odd paths](#odd-paths)).",
    parse: choice,
    shown: Shown::Value(|config| config.empty_segments.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const CLIENT_HALF_CLOSE: Key<HalfClose> = Key {
    env: "CLIENT_HALF_CLOSE",
    flag: "client-half-close",
    value_name: "WHAT",
    in_file: InFile::Scalar,
    default: "serve",
    bounds: "`serve` or `abort`",
    help: "A client that has sent its request and half-closes gets its response (`serve`), or has left (`abort`)",
    more: "A reset ends the request in either case ([requests.md](requests.md#when-things-go-wrong)).",
    parse: choice,
    shown: Shown::Value(|config| config.client_half_close.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const MAX_CONNECTIONS_PER_ADDRESS: Key<usize, NoDefault> = Key {
    env: "MAX_CONNECTIONS_PER_ADDRESS",
    flag: "max-connections-per-address",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "0 to 16777216",
    help: "Connections of one client address per core; 0: no bound; unset: half of MAX_CONNECTIONS",
    more: "An IPv6 /64 is one address. Over it: 429. Peers of `TRUSTED_PROXIES` are exempt.",
    parse: |text| count(text, 0, HELD_MAX),
    shown: Shown::Value(|config| {
        show_held(config.connections_per_address_max, "half of the core's connections")
    }),
    on_reload: OnReload::Takes,
};

pub const MAX_REQUESTS_PER_ADDRESS: Key<usize, NoDefault> = Key {
    env: "MAX_REQUESTS_PER_ADDRESS",
    flag: "max-requests-per-address",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "0 to 16777216",
    help: "Requests of one client address in flight per core; 0: no bound; unset: a quarter of UPSTREAM_MAX_IN_FLIGHT",
    more: "An IPv6 /64 is one address. Over it: 429. Behind `TRUSTED_PROXIES` the client is the one that they name.",
    parse: |text| count(text, 0, HELD_MAX),
    shown: Shown::Value(|config| {
        show_held(config.sizes.requests_per_address, "a quarter of UPSTREAM_MAX_IN_FLIGHT")
    }),
    on_reload: OnReload::Takes,
};

/// The sizes of a head and of a request line, in bytes. The line fits the head.
pub(crate) fn head_sizes(layers: &mut Layers) -> (usize, usize) {
    let head = layers.value(&HEAD_MAX_BYTES);
    let line = layers.value(&REQUEST_LINE_MAX_BYTES);
    if line >= head && !layers.any_is_wrong(&[&HEAD_MAX_BYTES, &REQUEST_LINE_MAX_BYTES]) {
        let show = |bytes: usize| show_size(bytes as u64);
        let why = format!("{} leaves no room in a head of {} (HEAD_MAX_BYTES)", show(line), show(head));
        layers.refuse(&REQUEST_LINE_MAX_BYTES, &why);
    }
    (head, line)
}

fn show_body_rate(bytes_per_second: u64) -> String {
    match bytes_per_second {
        0 => "no floor".to_owned(),
        _ => format!("{}/s", show_bytes(bytes_per_second, "")),
    }
}

/// The largest bound of a body that an operator may set, in bytes: the largest `Content-Length`.
pub(crate) const BODY_BYTES_MAX: u64 = i64::MAX as u64;
/// The smallest head that an operator may set, in bytes: the head of a browser must pass.
const HEAD_BYTES_MIN: usize = 1024;
/// The smallest request line that an operator may set, in bytes.
const REQUEST_LINE_BYTES_MIN: usize = 128;
/// The highest rate that an operator may demand of a body, in bytes per second.
const BODY_RATE_MAX: u64 = 1 << 30;

fn show_held(max: Option<usize>, unset: &str) -> String {
    match max {
        None => unset.to_owned(),
        Some(0) => "no bound".to_owned(),
        Some(max) => format!("{max} per core"),
    }
}

/// The largest bound of what one address holds.
const HELD_MAX: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{lowered, moves, refuses};

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (&REQUEST_HEAD_TIMEOUT, "7s", "REQUEST_HEAD_TIMEOUT 7s"),
                (&KEEP_ALIVE_TIMEOUT, "7s", "KEEP_ALIVE_TIMEOUT 7s"),
                (&BODY_TIMEOUT, "7s", "BODY_TIMEOUT 7s"),
                (&BODY_MIN_RATE, "0", "BODY_MIN_RATE no floor"),
                (&BODY_MAX_BYTES, "0", "BODY_MAX_BYTES no bound"),
                (&HEAD_MAX_BYTES, "16KiB", "HEAD_MAX_BYTES 16KiB"),
                (&HEAD_MAX_FIELDS, "50", "HEAD_MAX_FIELDS 50 fields"),
                (&REQUEST_LINE_MAX_BYTES, "4000", "REQUEST_LINE_MAX_BYTES 4000 bytes"),
                (&EMPTY_SEGMENTS, "merge", "EMPTY_SEGMENTS merge"),
                (&CLIENT_HALF_CLOSE, "abort", "CLIENT_HALF_CLOSE abort"),
                (&MAX_CONNECTIONS_PER_ADDRESS, "7", "MAX_CONNECTIONS_PER_ADDRESS 7 per core"),
                (&MAX_REQUESTS_PER_ADDRESS, "0", "MAX_REQUESTS_PER_ADDRESS no bound"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&REQUEST_HEAD_TIMEOUT, "0s"),
            (&KEEP_ALIVE_TIMEOUT, "75"),
            (&BODY_TIMEOUT, "1d"),
            (&BODY_MIN_RATE, "1KB"),
            (&BODY_MAX_BYTES, "10M"),
            (&HEAD_MAX_BYTES, "257KiB"),
            (&HEAD_MAX_FIELDS, "1001"),
            (&REQUEST_LINE_MAX_BYTES, "32KiB"),
            (&EMPTY_SEGMENTS, "keep"),
            (&CLIENT_HALF_CLOSE, "wait"),
            (&MAX_CONNECTIONS_PER_ADDRESS, "-1"),
            (&MAX_REQUESTS_PER_ADDRESS, "many"),
        ]);
    }

    #[test]
    fn a_line_is_not_compared_with_a_head_that_is_wrong() {
        let told = lowered(&[(&HEAD_MAX_BYTES, "x"), (&REQUEST_LINE_MAX_BYTES, "32KiB")]).unwrap_err();
        assert_eq!(told.count(), 1, "{told}");
    }
}
