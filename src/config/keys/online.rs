//! The settings under "Who is online", and what they mean together.

use std::num::NonZeroU32;
use std::time::Duration;

use super::limits::key_prefix;
use crate::config::key::{InFile, Key, OnReload, Section, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{Choice, EventStream, Online, OverMax};
use crate::config::value::{Parsed, choice, count, duration, quoted, show_duration};
use crate::limits::STREAM_BYTES_MAX;

/// The settings under "Who is online".
pub const SECTION: Section = Section {
    heading: "Who is online",
    heading_in_check: "Who is online",
    keys: &[
        &WS_MAX_PER_USER_GLOBAL,
        &WS_MAX_PER_USER_GLOBAL_ACTION,
        &WS_EVENTS,
        &WS_EVENTS_MAX,
        &WS_LEASE,
        &WS_PREFIX,
    ],
};

pub const WS_MAX_PER_USER_GLOBAL: Key<Option<NonZeroU32>> = Key {
    env: "WS_MAX_PER_USER_GLOBAL",
    flag: "ws-max-per-user-global",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`off`, or 1 to 10000",
    help: "WebSockets of one user over all instances, counted in Redis",
    more: "While Redis is out of reach `WS_MAX_PER_USER` alone holds.",
    parse: per_user_max,
    shown: Shown::Value(|config| show_per_user(config.online.per_user_max)),
    on_reload: OnReload::Takes,
};

pub const WS_MAX_PER_USER_GLOBAL_ACTION: Key<OverMax> = Key {
    env: "WS_MAX_PER_USER_GLOBAL_ACTION",
    flag: "ws-max-per-user-global-action",
    value_name: "ACTION",
    in_file: InFile::Scalar,
    default: "refuse",
    bounds: "`refuse` or `close_oldest`",
    help: "What happens over it: `refuse` (the new one gets 429) or `close_oldest` (the oldest ends with 4409)",
    more: "",
    parse: choice,
    shown: Shown::Value(|config| config.online.over_max.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const WS_EVENTS: Key<Option<EventStream>> = Key {
    env: "WS_EVENTS",
    flag: "ws-events",
    value_name: "STREAM",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`off`, or `redis:` and the name of a stream",
    help: "Where it is told which WebSockets open and close, and who is online: `redis:STREAM`",
    more: "Up to 128 letters, digits, `.`, `_`, `:`, `-`, `{` and `}`. [live-control.md](live-control.md#events) has \
           the format.",
    parse: events,
    shown: Shown::Value(|config| show_events(config.online.events.as_ref())),
    on_reload: OnReload::Takes,
};

pub const WS_EVENTS_MAX: Key<u64> = Key {
    env: "WS_EVENTS_MAX",
    flag: "ws-events-max",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "100000",
    bounds: "1000 to 100000000",
    help: "Events that the stream keeps, about",
    more: "Older ones are removed.",
    parse: |text| count(text, 1_000, EVENTS_MAX),
    shown: Shown::Value(|config| config.online.events_max.to_string()),
    on_reload: OnReload::Takes,
};

pub const WS_LEASE: Key<Duration> = Key {
    env: "WS_LEASE",
    flag: "ws-lease",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "90s",
    bounds: "3s to 1h",
    help: "How long a WebSocket still counts in Redis that is not renewed, because its instance has died",
    more: "Each is renewed in a third of this time.",
    parse: |text| duration(text, LEASE_MIN, LEASE_MAX),
    shown: Shown::Value(|config| show_duration(config.online.lease)),
    on_reload: OnReload::Takes,
};

pub const WS_PREFIX: Key<String> = Key {
    env: "WS_PREFIX",
    flag: "ws-prefix",
    value_name: "PREFIX",
    in_file: InFile::Scalar,
    default: "rc",
    bounds: "1 to 64 letters, digits, `.`, `_`, `:`, `-`",
    help: "Prefix of the keys in Redis that hold the WebSockets of each user",
    more: "",
    parse: key_prefix,
    shown: Shown::Value(|config| config.online.prefix.clone()),
    on_reload: OnReload::Takes,
};

/// What Redis is told of WebSockets.
/// Who is online. `control_stream`: the key of the other stream.
pub(crate) fn online(layers: &mut Layers, control_stream: Option<&str>) -> Online {
    let events = layers.value(&WS_EVENTS);
    if events.as_ref().is_some_and(|events| Some(events.0.as_str()) == control_stream) {
        layers.refuse(&WS_EVENTS, "is REVOCATION_STREAM too: events would push revocations out");
    }
    Online {
        per_user_max: layers.value(&WS_MAX_PER_USER_GLOBAL),
        over_max: layers.value(&WS_MAX_PER_USER_GLOBAL_ACTION),
        events,
        events_max: layers.value(&WS_EVENTS_MAX),
        lease: layers.value(&WS_LEASE),
        prefix: layers.value(&WS_PREFIX),
    }
}

fn per_user_max(value: &str) -> Parsed<Option<NonZeroU32>> {
    match value {
        "off" => Ok(None),
        _ => count(value, 1, PER_USER_MAX).map(NonZeroU32::new),
    }
}

fn events(value: &str) -> Parsed<Option<EventStream>> {
    if value == "off" {
        return Ok(None);
    }
    let name = value.strip_prefix("redis:").unwrap_or_default();
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-{}".contains(&byte));
    match is_plain && (1..=STREAM_BYTES_MAX).contains(&name.len()) {
        true => Ok(Some(EventStream(name.to_owned()))),
        false => Err(format!("{} is neither off nor redis: and the name of a stream", quoted(value))),
    }
}

fn show_per_user(per_user_max: Option<NonZeroU32>) -> String {
    per_user_max.map_or_else(|| "no bound".to_owned(), |max| max.to_string())
}

fn show_events(events: Option<&EventStream>) -> String {
    events.map_or_else(|| "off".to_owned(), |stream| format!("redis:{}", stream.0))
}

/// Tunnels that one user may be allowed over all instances: the oldest of them is found by looking at all.
const PER_USER_MAX: u32 = 10_000;
/// Events that a stream may be allowed.
const EVENTS_MAX: u64 = 100_000_000;
/// The shortest and the longest lease.
const LEASE_MIN: Duration = Duration::from_secs(3);
const LEASE_MAX: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{moves, refuses};

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (&WS_MAX_PER_USER_GLOBAL, "5", "WS_MAX_PER_USER_GLOBAL 5"),
                (
                    &WS_MAX_PER_USER_GLOBAL_ACTION,
                    "close_oldest",
                    "WS_MAX_PER_USER_GLOBAL_ACTION close_oldest",
                ),
                (&WS_EVENTS, "redis:{rc}:events", "WS_EVENTS redis:{rc}:events"),
                (&WS_EVENTS_MAX, "5000", "WS_EVENTS_MAX 5000"),
                (&WS_LEASE, "3s", "WS_LEASE 3s"),
                (&WS_PREFIX, "chat", "WS_PREFIX chat"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&WS_MAX_PER_USER_GLOBAL, "0"),
            (&WS_MAX_PER_USER_GLOBAL_ACTION, "close"),
            (&WS_EVENTS, "on"),
            (&WS_EVENTS, "redis:"),
            (&WS_EVENTS, "redis:a b"),
            (&WS_EVENTS_MAX, "10"),
            (&WS_LEASE, "1s"),
            (&WS_PREFIX, "{rc}"),
        ]);
    }

    #[test]
    fn events_do_not_go_into_the_stream_of_revocations() {
        let text = "jwt_max_lifetime = '1h'\nrevocation_stream = '{rc}:control'\n";
        let told =
            crate::config::testing::lowered_toml(&format!("{text}ws_events = 'redis:{{rc}}:control'\n"));
        let told = told.map(|_| ()).unwrap_err().to_string();
        assert!(told.starts_with("WS_EVENTS: is REVOCATION_STREAM too"), "{told}");
        assert!(
            crate::config::testing::lowered_toml(&format!("{text}ws_events = 'redis:{{rc}}:events'\n"))
                .is_ok()
        );
    }
}
