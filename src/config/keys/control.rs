//! The settings under "Live control", and what they mean together.

use std::time::Duration;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{Choice, Config, Control, Issuer, OnStreamFailure, Redis, Renewal};
use crate::config::value::{Parsed, choice, duration, quoted, show_duration};
use crate::limits::{STREAM_KEY_BYTES_MAX, STREAM_STALE_DEFAULT, STREAM_STALE_LEAST};

/// The settings under "Live control".
pub const SECTION: Section = Section {
    heading: "Live control",
    heading_in_check: "Live control",
    keys: &[&REVOCATION_STREAM, &REVOCATION_ON_REDIS_FAILURE, &REVOCATION_MAX_STALE, &SESSION_RENEW],
};

pub const REVOCATION_STREAM: Key<String, NoDefault> = Key {
    env: "REVOCATION_STREAM",
    flag: "revocation-stream",
    value_name: "KEY",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "visible ASCII, up to 128 characters",
    help: "Key of the Redis stream that revocations come by, as in `{rc}:control`",
    more: "In the Redis of `REDIS_ADDR`, without sentinels and TLS, whatever `RATE_LIMIT_STORE` is. Every issuer \
           needs a bound of its tokens' lifetime with it (`JWT_MAX_LIFETIME`).",
    parse: stream_key,
    shown: Shown::Value(|config| config.control.stream.clone().unwrap_or_else(|| "off".to_owned())),
    on_reload: OnReload::NeedsRestart(|running, wanted| {
        wanted.control.stream.clone_from(&running.control.stream);
    }),
};

pub const REVOCATION_ON_REDIS_FAILURE: Key<OnStreamFailure> = Key {
    env: "REVOCATION_ON_REDIS_FAILURE",
    flag: "revocation-on-redis-failure",
    value_name: "POLICY",
    in_file: InFile::Scalar,
    default: "open",
    bounds: "`open` or `closed`",
    help: "What happens when the stream was not read for `REVOCATION_MAX_STALE`: `open` (what is known of revocations \
           stays in force) or `closed` (503 for every token)",
    more: "",
    parse: choice,
    shown: Shown::Value(|config| if_on(config, || config.control.on_failure.word().to_owned())),
    on_reload: OnReload::Takes,
};

pub const REVOCATION_MAX_STALE: Key<Duration> = Key {
    env: "REVOCATION_MAX_STALE",
    flag: "revocation-max-stale",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "60s",
    bounds: "10s to 24h",
    help: "How long the stream may be out of reach before `REVOCATION_ON_REDIS_FAILURE` matters",
    more: "",
    parse: |text| duration(text, STREAM_STALE_LEAST, DAY),
    shown: Shown::Value(|config| if_on(config, || show_duration(config.control.stale_max))),
    on_reload: OnReload::Takes,
};

pub const SESSION_RENEW: Key<Renewal> = Key {
    env: "SESSION_RENEW",
    flag: "session-renew",
    value_name: "SWITCH",
    in_file: InFile::Scalar,
    default: "off",
    bounds: "`on` or `off`",
    help: "Whether a client can renew the token of an open WebSocket: `on` or `off`",
    more: "By `POST /_gateway/session/renew`. Needs `REVOCATION_STREAM`.",
    parse: choice,
    shown: Shown::Value(|config| config.control.renewal.word().to_owned()),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.control.renewal = running.control.renewal),
};

/// Live control. A revocation is kept until no token that it refuses can be valid any more, so there has to be such a
/// time.
pub(crate) fn control(layers: &mut Layers, issuers: &[Issuer], redis: &Redis) -> Control {
    let stream = layers.option(&REVOCATION_STREAM);
    if stream.is_some() && !redis.has_stream() {
        layers.refuse(&REVOCATION_STREAM, "needs a Redis in REDIS_ADDR without sentinels and without TLS");
    }
    let endless = issuers.iter().find(|issuer| issuer.lifetime_max.is_none());
    if let (Some(_), Some(issuer)) = (&stream, endless) {
        let name = &issuer.name;
        let why = format!(
            "needs a bound of every token's lifetime, and those of the issuer {name} may live for ever \
                           (set JWT_MAX_LIFETIME, or max_lifetime of the issuer)"
        );
        layers.refuse(&REVOCATION_STREAM, &why);
    }
    let renewal = layers.value(&SESSION_RENEW);
    if renewal == Renewal::On && stream.is_none() && !layers.any_is_wrong(&[&REVOCATION_STREAM]) {
        layers.refuse(
            &SESSION_RENEW,
            "needs REVOCATION_STREAM, by which instances tell each other of renewals",
        );
    }
    Control {
        renewal,
        stream,
        on_failure: layers.value(&REVOCATION_ON_REDIS_FAILURE),
        stale_max: layers.value(&REVOCATION_MAX_STALE),
    }
}

fn if_on(config: &Config, shown: impl Fn() -> String) -> String {
    if config.control.stream.is_some() { shown() } else { "not used".to_owned() }
}

fn stream_key(value: &str) -> Parsed<String> {
    let is_visible = value.bytes().all(|byte| byte.is_ascii_graphic());
    match value.len() {
        1..=STREAM_KEY_BYTES_MAX if is_visible => Ok(value.to_owned()),
        _ => Err(format!("{} is not 1 to {STREAM_KEY_BYTES_MAX} visible ASCII characters", quoted(value))),
    }
}

const DAY: Duration = Duration::from_secs(86_400);
const _: () = assert!(STREAM_STALE_DEFAULT.as_secs() == 60 && STREAM_STALE_LEAST.as_secs() == 10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::tokens::JWT_MAX_LIFETIME;
    use crate::config::testing::{config, lowered, lowered_toml, moves, refuses};

    const STREAM: &str = "jwt_max_lifetime = '1h'\nrevocation_stream = '{rc}:control'\n";

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(&SECTION, &[]);
    }

    #[test]
    fn a_stream_is_what_the_others_are_about() {
        let off = config("revocation_on_redis_failure = 'closed'\n").control;
        assert_eq!((off.stream, off.on_failure), (None, OnStreamFailure::Closed));
        let on = config(STREAM);
        assert_eq!(on.control.stream.as_deref(), Some("{rc}:control"));
        assert_eq!(
            (on.control.on_failure, on.control.stale_max),
            (OnStreamFailure::Open, STREAM_STALE_DEFAULT)
        );
        let shown = crate::config::describe(&on);
        let words: Vec<_> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in
            ["REVOCATION_STREAM {rc}:control", "REVOCATION_ON_REDIS_FAILURE open", "REVOCATION_MAX_STALE 60s"]
        {
            assert!(
                words.iter().any(|found| found.starts_with(line.trim_end_matches("60s"))),
                "{line}: {shown}"
            );
        }
    }

    #[test]
    fn a_stream_is_not_read_behind_sentinels_or_over_tls() {
        for address in ["redis-sentinel://a/chat", "rediss://a", "rediss-cluster://a"] {
            let text = format!("redis_addr = '{address}'\n{STREAM}");
            let told = lowered_toml(&text).map(|_| ()).expect_err(address).to_string();
            assert!(told.contains("needs a Redis in REDIS_ADDR without sentinels"), "{told}");
        }
    }

    #[test]
    fn tokens_that_live_for_ever_are_a_mistake_with_it() {
        let told = lowered(&[(&REVOCATION_STREAM, "x")]).unwrap_err().to_string();
        assert!(
            told.starts_with("REVOCATION_STREAM: needs a bound") && told.contains("issuer default"),
            "{told}"
        );
        assert!(lowered(&[(&REVOCATION_STREAM, "x"), (&JWT_MAX_LIFETIME, "1h")]).is_ok());
        let issuer = "[[issuer]]\nname = 'corp'\nissuer = 'x'\naudiences = ['a']\n\
                      jwks_url = 'https://id.example/keys'\n";
        let other = |more: &str| lowered_toml(&format!("{STREAM}{issuer}{more}"));
        assert!(other("").is_ok());
        let told = other("max_lifetime = '0s'\n").unwrap_err().to_string();
        assert!(told.contains("issuer corp"), "{told}");
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&REVOCATION_STREAM, "a b"),
            (&REVOCATION_ON_REDIS_FAILURE, "shut"),
            (&REVOCATION_MAX_STALE, "9s"),
            (&REVOCATION_MAX_STALE, "25h"),
            (&SESSION_RENEW, "maybe"),
            (&SESSION_RENEW, "on"),
        ]);
    }
}
