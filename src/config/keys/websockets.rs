//! The settings under "WebSockets", and what they mean together.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{Choice, Cors, Origins, Rate, TokenExpiry, WebSocket};
use crate::config::origins;
use crate::config::value::{DAY, Parsed, SECOND, TICK, burst, choice, count, duration, quoted, rate};
use crate::config::value::{show_bytes, show_duration, show_list, show_size, size};
use crate::limits::SPLICE_BYTES_LEAST;

/// The settings under "WebSockets".
pub const SECTION: Section = Section {
    heading: "WebSockets",
    heading_in_check: "WebSockets",
    keys: &[
        &WS_ALLOWED_ORIGINS,
        &WS_HANDSHAKE_TIMEOUT,
        &WS_HANDSHAKE_RATE,
        &WS_PING_INTERVAL,
        &WS_IDLE_TIMEOUT,
        &WS_MAX_LIFETIME,
        &WS_TOKEN_EXPIRY,
        &WS_REVOKED_CODE,
        &WS_MAX_MESSAGE_BYTES,
        &WS_MESSAGES_PER_SECOND,
        &WS_MESSAGES_BURST,
        &WS_FRAMES_PER_SECOND,
        &WS_CONTROL_FRAMES_PER_SECOND,
        &WS_MAX_CONNECTIONS,
        &WS_MAX_PER_USER,
        &WS_SPLICE_MIN,
        &WS_BALANCE,
        &WS_BALANCE_SLACK,
    ],
};

pub const WS_ALLOWED_ORIGINS: Key<Origins> = Key {
    env: "WS_ALLOWED_ORIGINS",
    flag: "ws-allowed-origins",
    value_name: "ORIGIN,…",
    in_file: InFile::List,
    default: "*",
    bounds: "list of origins, up to 1024, `*` or `none`",
    help: "Browser origins that may open a WebSocket, comma-separated; `*`: any; `none`: no browser",
    more: "A request without `Origin` comes from no browser and passes.",
    parse: ws_origins,
    shown: Shown::Value(|config| show_origins(&config.websocket.origins)),
    on_reload: OnReload::Takes,
};

pub const WS_HANDSHAKE_TIMEOUT: Key<Duration> = Key {
    env: "WS_HANDSHAKE_TIMEOUT",
    flag: "ws-handshake-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "10s",
    bounds: "50ms to 24h",
    help: "From the head of a handshake to the upstream's answer",
    more: "",
    parse: |text| duration(text, TICK, DAY),
    shown: Shown::Value(|config| show_duration(config.websocket.handshake)),
    on_reload: OnReload::Takes,
};

pub const WS_HANDSHAKE_RATE: Key<Option<NonZeroU32>> = Key {
    env: "WS_HANDSHAKE_RATE",
    flag: "ws-handshake-rate",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "1000",
    bounds: "`off`, or 1 to 100000",
    help: "Handshakes per second that one core takes, so that clients who all come back at once do not hold up \
           ordinary requests",
    more: "A tenth of them may come at once. Over it a handshake gets 503 `handshakes_paced`, with a \
           `Retry-After` that spreads the clients.",
    parse: handshake_rate,
    shown: Shown::Value(|config| show_handshake_rate(config.websocket.handshake_rate)),
    on_reload: OnReload::Takes,
};

pub const WS_PING_INTERVAL: Key<Duration> = Key {
    env: "WS_PING_INTERVAL",
    flag: "ws-ping-interval",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "30s",
    bounds: "0s, or 1s to 168h",
    help: "How long a client may be silent before the gateway pings it; 0s: no pings",
    more: "A ping that is not answered within two intervals ends the tunnel.",
    parse: zero_or_longer,
    shown: Shown::Value(|config| show_or_never(config.websocket.ping_interval)),
    on_reload: OnReload::Takes,
};

pub const WS_IDLE_TIMEOUT: Key<Duration> = Key {
    env: "WS_IDLE_TIMEOUT",
    flag: "ws-idle-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "120s",
    bounds: "0s, or 1s to 168h",
    help: "How long a client may send no frame at all; 0s: no bound",
    more: "Pongs are frames. The same time applies to bytes that a peer's kernel does not acknowledge, \
           and to a window that it keeps shut (120s if this setting is 0s).",
    parse: zero_or_longer,
    shown: Shown::Value(|config| show_or_never(config.websocket.idle)),
    on_reload: OnReload::Takes,
};

pub const WS_MAX_LIFETIME: Key<Duration> = Key {
    env: "WS_MAX_LIFETIME",
    flag: "ws-max-lifetime",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "0s",
    bounds: "0s, or 1s to 168h",
    help: "How long a WebSocket may last, even in use; 0s: no bound",
    more: "",
    parse: zero_or_longer,
    shown: Shown::Value(|config| show_or_never(config.websocket.lifetime)),
    on_reload: OnReload::Takes,
};

pub const WS_TOKEN_EXPIRY: Key<TokenExpiry> = Key {
    env: "WS_TOKEN_EXPIRY",
    flag: "ws-token-expiry",
    value_name: "ACTION",
    in_file: InFile::Scalar,
    default: "close",
    bounds: "`close` or `ignore`",
    help: "What happens to a WebSocket when the `exp` of its token passes: `close` (it ends with 1008) \
           or `ignore`",
    more: "",
    parse: choice,
    shown: Shown::Value(|config| config.websocket.token_expiry.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const WS_REVOKED_CODE: Key<u16> = Key {
    env: "WS_REVOKED_CODE",
    flag: "ws-revoked-code",
    value_name: "CODE",
    in_file: InFile::Scalar,
    default: "1008",
    bounds: "1000 to 1003, 1007 to 1014, or 3000 to 4999",
    help: "Code of the Close frame to a client whose token was revoked",
    more: "",
    parse: close_code,
    shown: Shown::Value(|config| config.websocket.revoked_code.to_string()),
    on_reload: OnReload::Takes,
};

pub const WS_MAX_MESSAGE_BYTES: Key<u64> = Key {
    env: "WS_MAX_MESSAGE_BYTES",
    flag: "ws-max-message-bytes",
    value_name: "SIZE",
    in_file: InFile::Scalar,
    default: "1MiB",
    bounds: "0 to 1024GiB",
    help: "Size of a client's message, over all its frames; 0: no bound",
    more: "Over it the tunnel ends with 1009.",
    parse: |text| size(text, 0, MESSAGE_BYTES_MAX),
    shown: Shown::Value(|config| show_bytes(config.websocket.message_bytes_max, "no bound")),
    on_reload: OnReload::Takes,
};

pub const WS_MESSAGES_PER_SECOND: Key<Rate> = Key {
    env: "WS_MESSAGES_PER_SECOND",
    flag: "ws-messages-per-second",
    value_name: "RATE",
    in_file: InFile::Scalar,
    default: "0",
    bounds: "0, or 0.001 to 1000000",
    help: "Messages per second of one client on one WebSocket; 0: no bound",
    more: "Up to three decimals. The client's pings and pongs count. Over it the tunnel ends with 1008.",
    parse: rate,
    shown: Shown::Value(|config| show_rate(config.websocket.message_rate, "messages")),
    on_reload: OnReload::Takes,
};

pub const WS_MESSAGES_BURST: Key<u32> = Key {
    env: "WS_MESSAGES_BURST",
    flag: "ws-messages-burst",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "20",
    bounds: "1 to 1000000",
    help: "Messages that a client may send at once",
    more: "It is also the least that the bounds of frames let pass at once.",
    parse: burst,
    shown: Shown::Value(|config| format!("{} messages", config.websocket.message_burst)),
    on_reload: OnReload::Takes,
};

pub const WS_FRAMES_PER_SECOND: Key<Rate> = Key {
    env: "WS_FRAMES_PER_SECOND",
    flag: "ws-frames-per-second",
    value_name: "RATE",
    in_file: InFile::Scalar,
    default: "1000",
    bounds: "0, or 0.001 to 1000000",
    help: "Frames per second of one client on one WebSocket, of every kind; 0: no bound",
    more: "Those of a second may come at once, and at least `WS_MESSAGES_BURST`. Over it the tunnel ends with 1008.",
    parse: rate,
    shown: Shown::Value(|config| show_rate(config.websocket.frame_rate, "frames")),
    on_reload: OnReload::Takes,
};

pub const WS_CONTROL_FRAMES_PER_SECOND: Key<Rate> = Key {
    env: "WS_CONTROL_FRAMES_PER_SECOND",
    flag: "ws-control-frames-per-second",
    value_name: "RATE",
    in_file: InFile::Scalar,
    default: "10",
    bounds: "0, or 0.001 to 1000000",
    help: "Pings and pongs per second of one client on one WebSocket; 0: no bound",
    more: "Pongs that answer a ping do not count. Those of a second may come at once, and at least \
           `WS_MESSAGES_BURST`. Over it the tunnel ends with 1008.",
    parse: rate,
    shown: Shown::Value(|config| show_rate(config.websocket.control_frame_rate, "control frames")),
    on_reload: OnReload::Takes,
};

pub const WS_MAX_CONNECTIONS: Key<usize, NoDefault> = Key {
    env: "WS_MAX_CONNECTIONS",
    flag: "ws-max-connections",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "1 to 16777216",
    help: "WebSockets per core; unset: as many as connections",
    more: "Over it a handshake gets 503.",
    parse: |text| count(text, 1, TUNNELS_MAX),
    shown: Shown::Value(|config| show_tunnels(config.websocket.tunnels_max)),
    on_reload: OnReload::Takes,
};

pub const WS_MAX_PER_USER: Key<u32> = Key {
    env: "WS_MAX_PER_USER",
    flag: "ws-max-per-user",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "20",
    bounds: "0 to 1000000",
    help: "WebSockets of one user in this process; 0: no bound",
    more: "Over it a handshake gets 429.",
    parse: |text| count(text, 0, PER_USER_MAX),
    shown: Shown::Value(|config| show_per_user(config.websocket.per_user_max)),
    on_reload: OnReload::Takes,
};

pub const WS_SPLICE_MIN: Key<u64> = Key {
    env: "WS_SPLICE_MIN",
    flag: "ws-splice-min",
    value_name: "SIZE",
    in_file: InFile::Scalar,
    default: "32KiB",
    bounds: "4KiB to 1024GiB",
    help: "Remainder of a payload from which the kernel moves it through a pipe",
    more: "A smaller remainder is copied.",
    parse: |text| size(text, SPLICE_BYTES_LEAST as u64, MESSAGE_BYTES_MAX),
    shown: Shown::Value(|config| show_size(config.websocket.splice_bytes_min)),
    on_reload: OnReload::Takes,
};

pub const WS_BALANCE: Key<Switch> = Key {
    env: "WS_BALANCE",
    flag: "ws-balance",
    value_name: "SWITCH",
    in_file: InFile::Scalar,
    default: "on",
    bounds: "`on` or `off`",
    help: "Whether a new WebSocket moves to the core with the fewest of them: `on` or `off`",
    more: "",
    parse: choice,
    shown: Shown::Value(|config| switch(config.websocket.balance_slack_percent).word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const WS_BALANCE_SLACK: Key<u32> = Key {
    env: "WS_BALANCE_SLACK",
    flag: "ws-balance-slack",
    value_name: "PERCENT",
    in_file: InFile::Scalar,
    default: "10%",
    bounds: "0% to 1000%",
    help: "How many more WebSockets than that core a core may have, in percent of its own",
    more: "A core may always have 16 more.",
    parse: percent,
    shown: Shown::Value(|config| show_slack(config.websocket.balance_slack_percent)),
    on_reload: OnReload::Takes,
};

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// `on`
    On,
    /// `off`
    Off,
}

impl Choice for Switch {
    const ALL: &'static [Self] = &[Self::On, Self::Off];

    fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// The rules for handshakes and tunnels.
pub(crate) fn websocket(layers: &mut Layers) -> WebSocket {
    let slack = layers.value(&WS_BALANCE_SLACK);
    let balance = layers.value(&WS_BALANCE);
    WebSocket {
        origins: layers.value(&WS_ALLOWED_ORIGINS),
        handshake: layers.value(&WS_HANDSHAKE_TIMEOUT),
        handshake_rate: layers.value(&WS_HANDSHAKE_RATE),
        ping_interval: layers.value(&WS_PING_INTERVAL),
        idle: layers.value(&WS_IDLE_TIMEOUT),
        lifetime: layers.value(&WS_MAX_LIFETIME),
        token_expiry: layers.value(&WS_TOKEN_EXPIRY),
        revoked_code: layers.value(&WS_REVOKED_CODE),
        message_bytes_max: layers.value(&WS_MAX_MESSAGE_BYTES),
        message_rate: layers.value(&WS_MESSAGES_PER_SECOND),
        message_burst: layers.value(&WS_MESSAGES_BURST),
        frame_rate: layers.value(&WS_FRAMES_PER_SECOND),
        control_frame_rate: layers.value(&WS_CONTROL_FRAMES_PER_SECOND),
        tunnels_max: layers.option(&WS_MAX_CONNECTIONS),
        per_user_max: layers.value(&WS_MAX_PER_USER),
        splice_bytes_min: layers.value(&WS_SPLICE_MIN),
        balance_slack_percent: (balance == Switch::On).then_some(slack),
    }
}

/// A code that an endpoint may send (RFC 6455 §7.4).
fn close_code(value: &str) -> Parsed<u16> {
    match value.parse::<u16>() {
        Ok(code @ (1000..=1003 | 1007..=1014 | 3000..=4999)) => Ok(code),
        _ => Err(format!(
            "{} is no code that may be sent (1000 to 1003, 1007 to 1014, 3000 to 4999)",
            quoted(value)
        )),
    }
}

/// Reads `*`, `none`, or browser origins.
fn ws_origins(value: &str) -> Parsed<Origins> {
    Ok(match origins::cors(value)? {
        Cors::Any => Origins::Any,
        Cors::Origins(origins) => Origins::Listed(origins),
        Cors::Off => Origins::Listed(Vec::new()),
    })
}

/// Reads a rate of handshakes.
fn handshake_rate(value: &str) -> Parsed<Option<NonZeroU32>> {
    match value {
        "off" => Ok(None),
        _ => count(value, 1, HANDSHAKES_MAX).map(NonZeroU32::new),
    }
}

/// Reads a percentage: `10%`.
fn percent(value: &str) -> Parsed<u32> {
    let digits = value.strip_suffix('%').unwrap_or_default();
    count(digits, 0, 1000).map_err(|_| format!("{} is not from 0% to 1000%", quoted(value)))
}

/// Reads a duration: zero, or at least a second.
fn zero_or_longer(value: &str) -> Parsed<Duration> {
    match duration(value, Duration::ZERO, WEEK)? {
        Duration::ZERO => Ok(Duration::ZERO),
        given if given < SECOND => {
            Err(format!("{} is neither 0s nor at least {}", quoted(value), show_duration(SECOND)))
        }
        given => Ok(given),
    }
}

fn show_or_never(wait: Duration) -> String {
    if wait.is_zero() { "never".to_owned() } else { show_duration(wait) }
}

fn show_origins(origins: &Origins) -> String {
    match origins {
        Origins::Any => "*".to_owned(),
        Origins::Listed(origins) => show_list(origins),
    }
}

fn show_rate(rate: Rate, of_what: &str) -> String {
    match rate.milli() {
        0 => "no bound".to_owned(),
        _ => format!("{rate} {of_what}/s"),
    }
}

fn show_handshake_rate(rate: Option<NonZeroU32>) -> String {
    rate.map_or_else(|| "no bound".to_owned(), |rate| format!("{rate} handshakes/s per core"))
}

fn show_tunnels(tunnels_max: Option<usize>) -> String {
    match tunnels_max {
        Some(count) => format!("{count} per core"),
        None => "as many as connections".to_owned(),
    }
}

fn show_per_user(per_user_max: u32) -> String {
    if per_user_max == 0 { "no bound".to_owned() } else { per_user_max.to_string() }
}

fn switch(slack_percent: Option<u32>) -> Switch {
    if slack_percent.is_some() { Switch::On } else { Switch::Off }
}

fn show_slack(slack_percent: Option<u32>) -> String {
    slack_percent.map_or_else(|| "not used".to_owned(), |percent| format!("{percent}%"))
}

/// The largest bound of a message, and of what is spliced, in bytes.
const MESSAGE_BYTES_MAX: u64 = 1 << 40;
/// Handshakes per second that one core may be allowed.
const HANDSHAKES_MAX: u32 = 100_000;
/// Tunnels that one core may be allowed.
const TUNNELS_MAX: usize = 16 * 1024 * 1024;
/// Tunnels that one user may be allowed.
const PER_USER_MAX: u32 = 1_000_000;
const WEEK: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{config, lowered, moves, refuses};

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (&WS_ALLOWED_ORIGINS, "https://A.b:443", "WS_ALLOWED_ORIGINS https://a.b"),
                (&WS_HANDSHAKE_TIMEOUT, "7s", "WS_HANDSHAKE_TIMEOUT 7s"),
                (&WS_HANDSHAKE_RATE, "off", "WS_HANDSHAKE_RATE no bound"),
                (&WS_PING_INTERVAL, "0", "WS_PING_INTERVAL never"),
                (&WS_IDLE_TIMEOUT, "7s", "WS_IDLE_TIMEOUT 7s"),
                (&WS_MAX_LIFETIME, "168h", "WS_MAX_LIFETIME 168h"),
                (&WS_TOKEN_EXPIRY, "ignore", "WS_TOKEN_EXPIRY ignore"),
                (&WS_REVOKED_CODE, "4401", "WS_REVOKED_CODE 4401"),
                (&WS_MAX_MESSAGE_BYTES, "0", "WS_MAX_MESSAGE_BYTES no bound"),
                (&WS_MESSAGES_PER_SECOND, "2.5", "WS_MESSAGES_PER_SECOND 2.5 messages/s"),
                (&WS_MESSAGES_BURST, "7", "WS_MESSAGES_BURST 7 messages"),
                (&WS_FRAMES_PER_SECOND, "50", "WS_FRAMES_PER_SECOND 50 frames/s"),
                (&WS_CONTROL_FRAMES_PER_SECOND, "0", "WS_CONTROL_FRAMES_PER_SECOND no bound"),
                (&WS_MAX_CONNECTIONS, "9", "WS_MAX_CONNECTIONS 9 per core"),
                (&WS_MAX_PER_USER, "3", "WS_MAX_PER_USER 3"),
                (&WS_SPLICE_MIN, "64KiB", "WS_SPLICE_MIN 64KiB"),
                (&WS_BALANCE, "off", "WS_BALANCE off\nWS_BALANCE_SLACK not used"),
                (&WS_BALANCE_SLACK, "0%", "WS_BALANCE_SLACK 0%"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&WS_ALLOWED_ORIGINS, "chat.example"),
            (&WS_HANDSHAKE_TIMEOUT, "0s"),
            (&WS_HANDSHAKE_RATE, "0"),
            (&WS_PING_INTERVAL, "169h"),
            (&WS_IDLE_TIMEOUT, "10ms"),
            (&WS_MAX_LIFETIME, "1d"),
            (&WS_TOKEN_EXPIRY, "warn"),
            (&WS_REVOKED_CODE, "1006"),
            (&WS_MAX_MESSAGE_BYTES, "1MB"),
            (&WS_MESSAGES_PER_SECOND, "-1"),
            (&WS_MESSAGES_BURST, "0"),
            (&WS_FRAMES_PER_SECOND, "many"),
            (&WS_CONTROL_FRAMES_PER_SECOND, "-1"),
            (&WS_MAX_CONNECTIONS, "0"),
            (&WS_MAX_PER_USER, "1000001"),
            (&WS_SPLICE_MIN, "1"),
            (&WS_BALANCE, "yes"),
            (&WS_BALANCE_SLACK, "10"),
            (&WS_BALANCE_SLACK, "+1%"),
            (&WS_BALANCE_SLACK, "%"),
        ]);
        let told = lowered(&[(&WS_IDLE_TIMEOUT, "10ms")]).unwrap_err().to_string();
        assert_eq!(told, "WS_IDLE_TIMEOUT: \"10ms\" is neither 0s nor at least 1s");
    }

    #[test]
    fn has_these_rules_while_nothing_is_written() {
        let ws = config("").websocket;
        assert_eq!((&ws.origins, ws.token_expiry), (&Origins::Any, TokenExpiry::Close));
        let seconds = [ws.handshake, ws.ping_interval, ws.idle, ws.lifetime].map(|wait| wait.as_secs());
        assert_eq!(seconds, [10, 30, 120, 0]);
        assert_eq!((ws.message_bytes_max, ws.message_rate.milli(), ws.per_user_max), (1 << 20, 0, 20));
        assert_eq!((ws.frame_rate.milli(), ws.control_frame_rate.milli()), (1_000_000, 10_000));
        assert_eq!((ws.message_burst, ws.splice_bytes_min), (20, 32 << 10));
        assert_eq!((ws.tunnels_max, ws.balance_slack_percent), (None, Some(10)));
    }
}
