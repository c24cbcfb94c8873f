//! WebSockets: what holds for handshakes and tunnels, and what was written of it.

use std::fmt;
use std::time::Duration;

use super::lower::{Layers, between};
use super::value::{self, Parsed, quoted};
use super::{Cors, Rate};
use crate::limits::{self, TICK_MS};

/// What holds for handshakes and tunnels. A tunnel keeps the one that it began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// Which browser origins may open one. A request without `Origin` comes from no browser.
    pub origins: Origins,
    /// From a whole request head to the upstream's answer. `WS_HANDSHAKE_TIMEOUT`, 10 s.
    pub handshake: Duration,
    /// After so long without a sign of life a client is pinged; zero: never. `WS_PING_INTERVAL`, 30 s.
    pub ping_interval: Duration,
    /// After so long without any frame of the client's the tunnel ends; zero: never. `WS_IDLE_TIMEOUT`, 120 s.
    pub idle: Duration,
    /// After so long a tunnel ends whatever happens on it; zero: never. `WS_MAX_LIFETIME`, none.
    pub lifetime: Duration,
    /// What becomes of a tunnel when its token's time is over.
    pub token_expiry: TokenExpiry,
    /// Payload bytes of one message of a client, over all its frames; 0: any. `WS_MAX_MESSAGE_BYTES`, 1 MiB.
    pub message_bytes_max: u64,
    /// Messages per second of one client; zero: any. `WS_MESSAGES_PER_SECOND`, none.
    pub message_rate: Rate,
    /// Messages that a client may send at once. `WS_MESSAGES_BURST`, 20.
    pub message_burst: u32,
    /// Tunnels of one core. `WS_MAX_CONNECTIONS`; `None`: as many as connections.
    pub tunnels_max: Option<usize>,
    /// Tunnels of one user in this process; 0: any. `WS_MAX_PER_USER`, 0.
    pub per_user_max: u32,
    /// A payload of which at least so many bytes are still to come is spliced, in bytes. `WS_SPLICE_MIN`, 32 KiB.
    pub splice_bytes_min: u64,
    /// How many more tunnels than the least loaded core a core may have, in percent of its own; `None`: a tunnel stays
    /// where its client's connection was accepted. `WS_BALANCE` and `WS_BALANCE_SLACK`.
    pub balance_slack_percent: Option<u32>,
}

/// Which browser origins may open a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Any: tokens are not sent by browsers on their own.
    Any,
    /// These; serialized, lower case.
    Listed(Vec<String>),
}

/// What becomes of a tunnel when its token's time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenExpiry {
    /// The client is told, with 1008, and the tunnel ends.
    Close,
    /// Nothing.
    Ignore,
}

/// Where a route's handshakes may carry their token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenSources {
    /// In `Authorization: Bearer …`.
    pub header: bool,
    /// As the subprotocol `bearer.…`.
    pub subprotocol: bool,
    /// As `access_token` in the query.
    pub query: bool,
}

impl TokenSources {
    /// All of them.
    pub const ALL: TokenSources = TokenSources { header: true, subprotocol: true, query: true };

    /// The names of a route's `tokens_from`.
    ///
    /// # Errors
    /// An unknown name, or no name.
    pub(super) fn of(names: &[String]) -> Parsed<TokenSources> {
        let mut sources = TokenSources { header: false, subprotocol: false, query: false };
        for name in names {
            let source = match name.as_str() {
                "header" => &mut sources.header,
                "subprotocol" => &mut sources.subprotocol,
                "query" => &mut sources.query,
                other => return Err(format!("{} is not header, subprotocol or query", quoted(other))),
            };
            *source = true;
        }
        if names.is_empty() {
            return Err("is empty (leave it out for every source)".to_owned());
        }
        Ok(sources)
    }
}

impl fmt::Display for TokenSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [(self.header, "header"), (self.subprotocol, "subprotocol"), (self.query, "query")];
        let names: Vec<&str> = named.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect();
        f.write_str(&names.join(", "))
    }
}

impl Layers {
    pub(super) fn websocket(&mut self) -> WebSocket {
        let tick = Duration::from_millis(TICK_MS);
        let slack = self.value("WS_BALANCE_SLACK", percent);
        let is_balanced = self.value("WS_BALANCE", on_or_off);
        WebSocket {
            origins: self.value("WS_ALLOWED_ORIGINS", origins),
            handshake: self.value("WS_HANDSHAKE_TIMEOUT", between(tick, DAY)),
            ping_interval: self.value("WS_PING_INTERVAL", zero_or(SECOND)),
            idle: self.value("WS_IDLE_TIMEOUT", zero_or(SECOND)),
            lifetime: self.value("WS_MAX_LIFETIME", zero_or(SECOND)),
            token_expiry: self.value("WS_TOKEN_EXPIRY", token_expiry),
            message_bytes_max: self
                .value("WS_MAX_MESSAGE_BYTES", |text| value::size(text, 0, MESSAGE_BYTES_MAX)),
            message_rate: self.value("WS_MESSAGES_PER_SECOND", value::rate),
            message_burst: self.value("WS_MESSAGES_BURST", value::burst),
            tunnels_max: self.option("WS_MAX_CONNECTIONS", |text| value::count(text, 1, TUNNELS_MAX)),
            per_user_max: self.value("WS_MAX_PER_USER", |text| value::count(text, 0, PER_USER_MAX)),
            splice_bytes_min: self.value("WS_SPLICE_MIN", |text| {
                value::size(text, limits::SPLICE_BYTES_LEAST as u64, MESSAGE_BYTES_MAX)
            }),
            balance_slack_percent: is_balanced.then_some(slack),
        }
    }
}

/// `*`, or browser origins.
fn origins(value: &str) -> Parsed<Origins> {
    match value::cors(value)? {
        Cors::Any => Ok(Origins::Any),
        Cors::Origins(origins) => Ok(Origins::Listed(origins)),
        Cors::Off => Ok(Origins::Listed(Vec::new())),
    }
}

fn token_expiry(value: &str) -> Parsed<TokenExpiry> {
    match value {
        "close" => Ok(TokenExpiry::Close),
        "ignore" => Ok(TokenExpiry::Ignore),
        _ => Err(format!("{} is neither close nor ignore", quoted(value))),
    }
}

fn on_or_off(value: &str) -> Parsed<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{} is neither on nor off", quoted(value))),
    }
}

/// `10%`.
fn percent(value: &str) -> Parsed<u32> {
    let number = value.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match number.and_then(|digits| digits.parse().ok()) {
        Some(percent @ 0..=1000) => Ok(percent),
        _ => Err(format!("{} is not from 0% to 1000%", quoted(value))),
    }
}

/// Zero, for never, or a duration that is not shorter than this.
fn zero_or(min: Duration) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| match value::duration(text, Duration::ZERO, WEEK)? {
        Duration::ZERO => Ok(Duration::ZERO),
        given if given < min => {
            Err(format!("{} is neither 0s nor at least {}", quoted(text), value::show_duration(min)))
        }
        given => Ok(given),
    }
}

/// The largest bound of a message, and of what is spliced, in bytes.
const MESSAGE_BYTES_MAX: u64 = 1 << 40;
/// Tunnels that one core may be allowed.
const TUNNELS_MAX: usize = 16 * 1024 * 1024;
/// Tunnels that one user may be allowed.
const PER_USER_MAX: u32 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Written, lower};

    fn websocket(write: impl Fn(&mut Written)) -> Result<WebSocket, String> {
        let mut written = Written { jwt_secret: Some("x".repeat(32)), ..Written::default() };
        write(&mut written);
        let lowered = lower(written, Written::default()).map_err(|mistakes| mistakes.to_string())?;
        Ok((*lowered.config.websocket).clone())
    }

    #[test]
    fn what_holds_when_nothing_is_written() {
        let ws = websocket(|_| {}).expect("the defaults");
        assert_eq!((ws.origins, ws.token_expiry), (Origins::Any, TokenExpiry::Close));
        let seconds = [ws.handshake, ws.ping_interval, ws.idle, ws.lifetime].map(|wait| wait.as_secs());
        assert_eq!(seconds, [10, 30, 120, 0]);
        assert_eq!((ws.message_bytes_max, ws.message_rate.milli(), ws.per_user_max), (1 << 20, 0, 0));
        assert_eq!((ws.tunnels_max, ws.balance_slack_percent), (None, Some(10)));
    }

    #[test]
    fn each_key_is_understood() {
        let ws = websocket(|written| {
            written.ws_allowed_origins = Some("https://Chat.example:443, http://localhost:3000".to_owned());
            written.ws_ping_interval = Some("0".to_owned());
            written.ws_token_expiry = Some("ignore".to_owned());
            written.ws_messages_per_second = Some("2.5".to_owned());
            written.ws_messages_burst = Some("7".to_owned());
            written.ws_max_connections = Some("9".to_owned());
            written.ws_max_per_user = Some("3".to_owned());
            written.ws_splice_min = Some("64KiB".to_owned());
            written.ws_balance = Some("off".to_owned());
        })
        .expect("right values");
        let listed = ["http://localhost:3000", "https://chat.example"].map(str::to_owned).to_vec();
        assert_eq!((ws.origins, ws.token_expiry), (Origins::Listed(listed), TokenExpiry::Ignore));
        assert_eq!((ws.ping_interval, ws.message_rate.milli(), ws.message_burst), (Duration::ZERO, 2500, 7));
        assert_eq!((ws.tunnels_max, ws.per_user_max), (Some(9), 3));
        assert_eq!((ws.splice_bytes_min, ws.balance_slack_percent), (64 << 10, None));
    }

    #[test]
    fn each_mistake_is_told_by_its_key() {
        let told = websocket(|written| {
            written.ws_allowed_origins = Some("chat.example".to_owned());
            written.ws_idle_timeout = Some("10ms".to_owned());
            written.ws_token_expiry = Some("warn".to_owned());
            written.ws_balance = Some("yes".to_owned());
            written.ws_balance_slack = Some("10".to_owned());
            written.ws_splice_min = Some("1".to_owned());
        })
        .expect_err("mistakes");
        let keys: Vec<&str> = told.lines().filter_map(|line| line.split(':').next()).collect();
        let expected = [
            "WS_BALANCE_SLACK",
            "WS_BALANCE",
            "WS_ALLOWED_ORIGINS",
            "WS_IDLE_TIMEOUT",
            "WS_TOKEN_EXPIRY",
            "WS_SPLICE_MIN",
        ];
        assert_eq!(keys, expected, "{told}");
        assert!(told.contains("\"10ms\" is neither 0s nor at least 1s"), "{told}");
    }

    #[test]
    fn sources_have_names() {
        let of =
            |names: &[&str]| TokenSources::of(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(of(&["header", "subprotocol", "query"]), Ok(TokenSources::ALL));
        assert_eq!(of(&["query"]).map(|sources| sources.to_string()), Ok("query".to_owned()));
        assert!(of(&[]).is_err() && of(&["cookie"]).is_err());
    }
}
