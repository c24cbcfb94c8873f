//! The settings under "Rate limit", and what they mean together.

use std::path::PathBuf;
use std::time::Duration;

use super::redis_sentinel::{
    self, REDIS_SENTINEL_PASSWORD, REDIS_SENTINEL_PASSWORD_FILE, REDIS_SENTINEL_USERNAME,
};
use super::redis_tls::{REDIS_CA_FILE, REDIS_CERT_FILE, REDIS_KEY_FILE, REDIS_SERVER_NAME, redis_tls};
use crate::config::address::{self, RedisUrl};
use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{
    Choice, Config, LimitHeaders, LimitStore, OnRedisFailure, Rate, RateLimit, Redis, Secret,
};
use crate::config::secret::SecretKeys;
use crate::config::value::{Parsed, burst, choice, duration, quoted, rate, show_duration, text};
use crate::limits::KEY_PREFIX_BYTES_MAX;

/// The settings under "Rate limit".
pub const SECTION: Section = Section {
    heading: "Rate limit",
    heading_in_check: "Rate limit",
    keys: &[
        &RATE_LIMIT_RPS,
        &RATE_LIMIT_BURST,
        &RATE_LIMIT_STORE,
        &RATE_LIMIT_PREFIX,
        &RATE_LIMIT_ON_REDIS_FAILURE,
        &RATE_LIMIT_HEADERS,
        &REDIS_ADDR,
        &REDIS_USERNAME,
        &REDIS_PASSWORD,
        &REDIS_PASSWORD_FILE,
        &REDIS_TIMEOUT,
        &REDIS_SENTINEL_USERNAME,
        &REDIS_SENTINEL_PASSWORD,
        &REDIS_SENTINEL_PASSWORD_FILE,
        &REDIS_CA_FILE,
        &REDIS_SERVER_NAME,
        &REDIS_CERT_FILE,
        &REDIS_KEY_FILE,
    ],
};

pub const RATE_LIMIT_RPS: Key<Rate> = Key {
    env: "RATE_LIMIT_RPS",
    flag: "rate-limit-rps",
    value_name: "RATE",
    in_file: InFile::Scalar,
    default: "10",
    bounds: "0, or 0.001 to 1000000 requests/s",
    help: "Refill rate of one bucket, in requests per second; 0: no request passes",
    more: "Up to three decimals.",
    parse: rate,
    shown: Shown::Value(|config| format!("{} requests/s", config.rate_limit.rate)),
    on_reload: OnReload::Takes,
};

pub const RATE_LIMIT_BURST: Key<u32> = Key {
    env: "RATE_LIMIT_BURST",
    flag: "rate-limit-burst",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "20",
    bounds: "1 to 1000000 requests",
    help: "Capacity of one bucket, in requests",
    more: "",
    parse: burst,
    shown: Shown::Value(|config| format!("{} requests", config.rate_limit.burst)),
    on_reload: OnReload::Takes,
};

pub const RATE_LIMIT_STORE: Key<LimitStore> = Key {
    env: "RATE_LIMIT_STORE",
    flag: "rate-limit-store",
    value_name: "STORE",
    in_file: InFile::Scalar,
    default: "redis",
    bounds: "`redis`, `memory` or `off`",
    help: "Where the buckets are stored: `redis`, `memory` or `off`",
    more: "`redis`: all instances share them. `memory`: in this process. `off`: there is no limit.",
    parse: choice,
    shown: Shown::Value(|config| config.rate_limit.store.word().to_owned()),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.rate_limit.store = running.rate_limit.store),
};

pub const RATE_LIMIT_PREFIX: Key<String> = Key {
    env: "RATE_LIMIT_PREFIX",
    flag: "rate-limit-prefix",
    value_name: "PREFIX",
    in_file: InFile::Scalar,
    default: "rl",
    bounds: "1 to 64 letters, digits, `.`, `_`, `:`, `-`",
    help: "Prefix of every bucket in Redis",
    more: "Systems with different prefixes can share one Redis.",
    parse: key_prefix,
    shown: Shown::Value(|config| config.rate_limit.prefix.clone()),
    on_reload: OnReload::Takes,
};

pub const RATE_LIMIT_ON_REDIS_FAILURE: Key<OnRedisFailure> = Key {
    env: "RATE_LIMIT_ON_REDIS_FAILURE",
    flag: "rate-limit-on-redis-failure",
    value_name: "POLICY",
    in_file: InFile::Scalar,
    default: "open",
    bounds: "`open`, `memory` or `closed`",
    help: "What happens while Redis does not answer: `open` (no limit), `memory` (buckets of this \
           process) or `closed` (503)",
    more: "",
    parse: choice,
    shown: Shown::Value(|config| config.rate_limit.on_failure.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const RATE_LIMIT_HEADERS: Key<LimitHeaders> = Key {
    env: "RATE_LIMIT_HEADERS",
    flag: "rate-limit-headers",
    value_name: "RESPONSES",
    in_file: InFile::Scalar,
    default: "refused",
    bounds: "`refused` or `all`",
    help: "Responses that report the limit to the client: `refused` or `all`",
    more: "They have `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`: only 429, or every \
           response to a request that has a limit.",
    parse: choice,
    shown: Shown::Value(|config| config.rate_limit.headers.word().to_owned()),
    on_reload: OnReload::Takes,
};

pub const REDIS_ADDR: Key<RedisUrl> = Key {
    env: "REDIS_ADDR",
    flag: "redis-addr",
    value_name: "REDIS",
    in_file: InFile::Scalar,
    default: "localhost:6379",
    bounds: "`host:port`, `redis://[[user]:password@]host[:port][/db]`, \
             `redis-cluster://[[user]:password@]host[:port],…`, \
             `redis-sentinel://[[user]:password@]host[:port],…/master[/db]`, each with `rediss` for TLS, \
             `unix:/path`",
    help: "Address of Redis: `host:port`, `redis://…`, `redis-cluster://…`, `redis-sentinel://…` or `unix:/path`",
    more: "Of a cluster, some nodes are enough: they know the others. User and password are percent-encoded.",
    parse: address::redis,
    shown: Shown::Value(show_redis),
    on_reload: OnReload::Takes,
};

pub const REDIS_USERNAME: Key<String, NoDefault> = Key {
    env: "REDIS_USERNAME",
    flag: "redis-username",
    value_name: "NAME",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "up to 256 bytes, with a password",
    help: "ACL user of Redis; unset: the default user of Redis",
    more: "",
    parse: text,
    shown: Shown::Value(|config| {
        config.redis.username.clone().unwrap_or_else(|| "the default user".to_owned())
    }),
    on_reload: OnReload::Takes,
};

pub const REDIS_PASSWORD: Key<Secret, NoDefault> = Key {
    env: "REDIS_PASSWORD",
    flag: "redis-password",
    value_name: "SECRET",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "not beside one in `REDIS_ADDR`",
    help: "Password of the Redis user (a flag is visible to every user of the host)",
    more: "Use the variable or a file.",
    parse: |text| Ok(Secret(text.into())),
    shown: Shown::Secret {
        summary: |config| show_password(&config.redis).to_owned(),
        differs: |one, other| one.redis.password != other.redis.password,
    },
    on_reload: OnReload::Takes,
};

pub const REDIS_PASSWORD_FILE: Key<PathBuf, NoDefault> = Key {
    env: "REDIS_PASSWORD_FILE",
    flag: "redis-password-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a regular file",
    help: "File that holds the password, in place of `REDIS_PASSWORD`",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const REDIS_TIMEOUT: Key<Duration> = Key {
    env: "REDIS_TIMEOUT",
    flag: "redis-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "25ms",
    bounds: "1ms to 10s",
    help: "How long one decision of Redis may take",
    more: "",
    parse: |text| duration(text, TIMEOUT_MIN, TIMEOUT_MAX),
    shown: Shown::Value(|config| show_duration(config.redis.timeout)),
    on_reload: OnReload::Takes,
};

/// The global rate limit.
pub(crate) fn rate_limit(layers: &mut Layers) -> RateLimit {
    RateLimit {
        store: layers.value(&RATE_LIMIT_STORE),
        rate: layers.value(&RATE_LIMIT_RPS),
        burst: layers.value(&RATE_LIMIT_BURST),
        prefix: layers.value(&RATE_LIMIT_PREFIX),
        on_failure: layers.value(&RATE_LIMIT_ON_REDIS_FAILURE),
        headers: layers.value(&RATE_LIMIT_HEADERS),
    }
}

/// Where Redis is, and the user and password for it: from its URL, or from settings of their own.
pub(crate) fn redis(layers: &mut Layers) -> Redis {
    let RedisUrl { address, username, password, database, is_tls } = layers.value(&REDIS_ADDR);
    let (tls, timeout) = (redis_tls(layers, is_tls), layers.value(&REDIS_TIMEOUT));
    let (sentinel_username, sentinel_password) = redis_sentinel::credentials(layers, &address);
    let of_url =
        Redis { address, username, password, database, tls, sentinel_username, sentinel_password, timeout };
    let first_own = first_credential(layers);
    let username = layers.option(&REDIS_USERNAME);
    let keys = SecretKeys { value: &REDIS_PASSWORD, file: &REDIS_PASSWORD_FILE };
    let password = keys.find(layers).map(|found| found.secret);
    let Some(key) = first_own else { return of_url };
    if of_url.password.is_some() {
        layers.mistakes.add(key, "is written beside a password in REDIS_ADDR: keep one of them");
    } else if password.is_none()
        && !layers.any_is_wrong(&[&REDIS_USERNAME, &REDIS_PASSWORD, &REDIS_PASSWORD_FILE])
    {
        layers.mistakes.add(key, "is written without REDIS_PASSWORD (or REDIS_PASSWORD_FILE)");
    }
    Redis { username, password, ..of_url }
}

/// The first of the settings for user and password that is written.
fn first_credential(layers: &Layers) -> Option<&'static str> {
    let written = [
        (layers.has(&REDIS_USERNAME), REDIS_USERNAME.env),
        (layers.has(&REDIS_PASSWORD), REDIS_PASSWORD.env),
        (layers.has(&REDIS_PASSWORD_FILE), REDIS_PASSWORD_FILE.env),
    ];
    written.into_iter().find_map(|(is_written, env)| is_written.then_some(env))
}

/// Reads the prefix of keys. Nothing in it can be taken for a glob, a hash tag or an escape.
/// Reads the beginning of keys in Redis.
pub(super) fn key_prefix(value: &str) -> Parsed<String> {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte));
    if value.is_empty() || value.len() > KEY_PREFIX_BYTES_MAX || !plain {
        return Err(format!(
            "{} is not 1 to {} letters, digits, '.', '_', ':' or '-'",
            quoted(value),
            KEY_PREFIX_BYTES_MAX
        ));
    }
    Ok(value.to_owned())
}

fn show_redis(config: &Config) -> String {
    let addr = address::show_redis(&config.redis);
    if config.uses_redis() { addr } else { format!("{addr} (not used)") }
}

fn show_password(redis: &Redis) -> &'static str {
    if redis.password.is_some() { "set" } else { "none" }
}

/// The shortest and the longest time for one decision.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::AnyKey;
    use crate::config::testing::{TempFile, lowered, moves, refuses};

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                // The routes for registering and logging in have the global rate and burst.
                (
                    &RATE_LIMIT_RPS,
                    "0.5",
                    "RATE_LIMIT_RPS 0.5 requests/s\nauth-register public\nauth-login public",
                ),
                (
                    &RATE_LIMIT_BURST,
                    "7",
                    "RATE_LIMIT_BURST 7 requests\nauth-register public\nauth-login public",
                ),
                (
                    &RATE_LIMIT_STORE,
                    "memory",
                    "RATE_LIMIT_STORE memory\nREDIS_ADDR localhost:6379 (not used)",
                ),
                (&RATE_LIMIT_PREFIX, "shop:rl", "RATE_LIMIT_PREFIX shop:rl"),
                (&RATE_LIMIT_ON_REDIS_FAILURE, "closed", "RATE_LIMIT_ON_REDIS_FAILURE closed"),
                (&RATE_LIMIT_HEADERS, "all", "RATE_LIMIT_HEADERS all"),
                (&REDIS_ADDR, "redis://r:1/2", "REDIS_ADDR redis://r:1/2"),
                (&REDIS_PASSWORD, "hunter2", "REDIS_ADDR redis://…@localhost:6379/0\nREDIS_PASSWORD set"),
                (&REDIS_TIMEOUT, "3ms", "REDIS_TIMEOUT 3ms"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&RATE_LIMIT_RPS, "-1"),
            (&RATE_LIMIT_RPS, "0.0001"),
            (&RATE_LIMIT_BURST, "0"),
            (&RATE_LIMIT_STORE, "none"),
            (&RATE_LIMIT_PREFIX, "a b"),
            (&RATE_LIMIT_ON_REDIS_FAILURE, "close"),
            (&RATE_LIMIT_HEADERS, "none"),
            (&REDIS_ADDR, "localhost"),
            (&REDIS_USERNAME, "a\nb"),
            (&REDIS_USERNAME, "gateway"),
            (&REDIS_PASSWORD_FILE, "/does/not/exist"),
            (&REDIS_TIMEOUT, "0s"),
            (&REDIS_TIMEOUT, "11s"),
        ]);
    }

    #[test]
    fn a_prefix_has_no_special_characters() {
        assert_eq!(key_prefix("a.b_c:d-1"), Ok("a.b_c:d-1".to_owned()));
        for value in ["", "a b", "{a}", "a%", "é", &"x".repeat(65)] {
            assert!(key_prefix(value).is_err(), "{value}");
        }
    }

    #[test]
    fn the_password_of_redis_is_written_in_one_place() {
        let redis = |settings: &[(&dyn AnyKey, &str)]| {
            let Redis { username, password, database, .. } = lowered(settings).expect("a user").config.redis;
            (username, password.map(|secret| String::from_utf8(secret.0).unwrap()), database)
        };
        let told = |settings: &[(&dyn AnyKey, &str)]| lowered(settings).unwrap_err().to_string();
        let some = |text: &str| Some(text.to_owned());
        let file = TempFile::new("redis", b"of a file\n");
        assert_eq!(
            redis(&[
                (&REDIS_USERNAME, "gw"),
                (&REDIS_PASSWORD_FILE, file.path()),
                (&REDIS_ADDR, "redis://h/3")
            ]),
            (some("gw"), some("of a file"), 3)
        );
        assert_eq!(redis(&[(&REDIS_ADDR, "redis://u:p@h/3")]), (some("u"), some("p"), 3));
        assert_eq!(
            told(&[(&REDIS_ADDR, "redis://u:hunter2@h"), (&REDIS_PASSWORD, "hunter2")]),
            "REDIS_PASSWORD: is written beside a password in REDIS_ADDR: keep one of them"
        );
        assert_eq!(
            told(&[(&REDIS_ADDR, "redis://u:hunter2@h"), (&REDIS_USERNAME, "u")]),
            "REDIS_USERNAME: is written beside a password in REDIS_ADDR: keep one of them"
        );
        assert_eq!(
            told(&[(&REDIS_PASSWORD, "hunter2"), (&REDIS_PASSWORD_FILE, file.path())]),
            "REDIS_PASSWORD: is written beside REDIS_PASSWORD_FILE: keep one of them"
        );
        assert_eq!(
            told(&[(&REDIS_USERNAME, "u")]),
            "REDIS_USERNAME: is written without REDIS_PASSWORD (or REDIS_PASSWORD_FILE)"
        );
    }
}
