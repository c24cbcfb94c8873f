//! The settings under "Live control", and what they mean together.

use std::time::Duration;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{
    BackChannelLogout, Choice, Config, Control, Issuer, OnStreamFailure, Redis, Renewal,
};
use crate::config::value::{Parsed, choice, duration, quoted, show_duration};
use crate::limits::{
    LOGOUT_CLIENTS_MAX, LOGOUT_NAME_BYTES_MAX, STREAM_KEY_BYTES_MAX, STREAM_STALE_DEFAULT, STREAM_STALE_LEAST,
};

/// The settings under "Live control".
pub const SECTION: Section = Section {
    heading: "Live control",
    heading_in_check: "Live control",
    keys: &[
        &REVOCATION_STREAM,
        &REVOCATION_ON_REDIS_FAILURE,
        &REVOCATION_MAX_STALE,
        &SESSION_RENEW,
        &BACKCHANNEL_LOGOUT_PATH,
        &BACKCHANNEL_LOGOUT_CLIENTS,
    ],
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

pub const BACKCHANNEL_LOGOUT_PATH: Key<String, NoDefault> = Key {
    env: "BACKCHANNEL_LOGOUT_PATH",
    flag: "backchannel-logout-path",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a path, up to 256 bytes",
    help: "Path of the public listener to which issuers post logout tokens (OpenID Connect Back-Channel Logout)",
    more: "Needs `REVOCATION_STREAM` and `BACKCHANNEL_LOGOUT_CLIENTS`. Unset: no such path.",
    parse: logout_path,
    shown: Shown::Value(|config| {
        config.control.logout.as_ref().map_or_else(|| "none".to_owned(), |logout| logout.path.clone())
    }),
    on_reload: OnReload::NeedsRestart(|running, wanted| {
        wanted.control.logout.clone_from(&running.control.logout)
    }),
};

pub const BACKCHANNEL_LOGOUT_CLIENTS: Key<Vec<String>, NoDefault> = Key {
    env: "BACKCHANNEL_LOGOUT_CLIENTS",
    flag: "backchannel-logout-clients",
    value_name: "CLIENT,…",
    in_file: InFile::List,
    default: NoDefault,
    bounds: "list of client ids, up to 16 of up to 256 bytes",
    help: "Client ids at the issuers, comma-separated: `aud` of a logout token must be one of them or contain one",
    more: "They are not `JWT_AUDIENCE`: an ID token has a client id there, and is no access token.",
    parse: logout_clients,
    shown: Shown::Value(|config| {
        config.control.logout.as_ref().map_or_else(|| "none".to_owned(), |logout| logout.clients.join(", "))
    }),
    on_reload: OnReload::NeedsRestart(|running, wanted| {
        wanted.control.logout.clone_from(&running.control.logout)
    }),
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
        logout: logout(layers, stream.is_some()),
        renewal,
        stream,
        on_failure: layers.value(&REVOCATION_ON_REDIS_FAILURE),
        stale_max: layers.value(&REVOCATION_MAX_STALE),
    }
}

/// Back-channel logout: its keys go together.
fn logout(layers: &mut Layers, has_stream: bool) -> Option<BackChannelLogout> {
    let path = layers.option(&BACKCHANNEL_LOGOUT_PATH);
    let clients = layers.option(&BACKCHANNEL_LOGOUT_CLIENTS);
    if layers.any_is_wrong(&[&BACKCHANNEL_LOGOUT_PATH, &BACKCHANNEL_LOGOUT_CLIENTS, &REVOCATION_STREAM]) {
        return None;
    }
    match (path, clients) {
        (None, None) => None,
        (Some(_), _) if !has_stream => {
            layers.refuse(
                &BACKCHANNEL_LOGOUT_PATH,
                "needs REVOCATION_STREAM, by which instances learn of a logout",
            );
            None
        }
        (Some(path), Some(clients)) => Some(BackChannelLogout { path, clients }),
        (Some(_), None) => {
            let why = "needs BACKCHANNEL_LOGOUT_CLIENTS: for whom a logout token has to be";
            layers.refuse(&BACKCHANNEL_LOGOUT_PATH, why);
            None
        }
        (None, Some(_)) => {
            layers.refuse(&BACKCHANNEL_LOGOUT_CLIENTS, "has no meaning without BACKCHANNEL_LOGOUT_PATH");
            None
        }
    }
}

fn logout_path(value: &str) -> Parsed<String> {
    let is_path = value.starts_with('/')
        && value.len() <= LOGOUT_NAME_BYTES_MAX
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
        && !value.contains("//")
        && !value.split('/').any(|segment| segment == "." || segment == "..");
    match is_path {
        true => Ok(value.to_owned()),
        false => {
            Err(format!("{} is not a path of letters, digits and -._~, such as /oidc/logout", quoted(value)))
        }
    }
}

fn logout_clients(value: &str) -> Parsed<Vec<String>> {
    let clients: Vec<String> = value.split(',').map(|client| client.trim().to_owned()).collect();
    let is_client = |client: &String| (1..=LOGOUT_NAME_BYTES_MAX).contains(&client.len());
    match clients.len() <= LOGOUT_CLIENTS_MAX && clients.iter().all(is_client) {
        true => Ok(clients),
        false => Err(format!("{} is not a list of 1 to {LOGOUT_CLIENTS_MAX} client ids", quoted(value))),
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
    fn a_logout_needs_a_stream_a_path_and_clients() {
        let text = format!("{STREAM}backchannel_logout_path = '/oidc/logout'\n");
        let told = lowered_toml(&text).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("needs BACKCHANNEL_LOGOUT_CLIENTS"), "{told}");
        let logout = config(&format!("{text}backchannel_logout_clients = ['chat', 'web']\n")).control.logout;
        let logout = logout.expect("a logout");
        assert_eq!(
            (logout.path.as_str(), logout.clients),
            ("/oidc/logout", vec!["chat".to_owned(), "web".to_owned()])
        );
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
            (&BACKCHANNEL_LOGOUT_PATH, "logout"),
            (&BACKCHANNEL_LOGOUT_PATH, "/a/../b"),
            (&BACKCHANNEL_LOGOUT_PATH, "/logout"),
            (&BACKCHANNEL_LOGOUT_CLIENTS, "a,,b"),
            (&BACKCHANNEL_LOGOUT_CLIENTS, "chat"),
        ]);
    }
}
