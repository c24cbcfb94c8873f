//! The configuration as a whole: defaults, layers, and the mistakes of several settings.

use std::time::Duration;

use super::keys::limits::RATE_LIMIT_STORE;
use super::keys::listen::PORT;
use super::keys::process::{ACCESS_LOG, CONFIG_FILE, CORES};
use super::keys::sections;
use super::keys::tokens::{JWT_LEEWAY, JWT_SECRET};
use super::keys::upstreams::UPSTREAM_AUTH_URL;
use super::testing::{GOOD_SECRET, TempFile, lowered, lowered_toml, settings};
use super::*;
use crate::limits;

#[test]
fn has_the_defaults_of_the_documentation() {
    let config = testing::config("");
    let secs = Duration::from_secs;
    assert_eq!(config.listen, Listen { port: 8080, bind: None });
    assert_eq!(config.admin_addr, "127.0.0.1:9901".parse().ok());
    assert_eq!((config.cores, config.connections_max), (CoreChoice::All, None));
    assert_eq!((config.io_driver, config.access_log), (IoDriver::Auto, AccessLog::Stdout));
    let [issuer] = &config.jwt.issuers[..] else { panic!("one issuer") };
    assert_eq!(issuer.secrets, [Secret(GOOD_SECRET.into())]);
    assert_eq!((issuer.name.as_str(), &issuer.issuer, issuer.audiences.len()), ("default", &None, 0));
    assert_eq!((issuer.leeway, issuer.user_claim.text.as_str()), (Duration::ZERO, "sub"));
    assert_eq!((&issuer.algorithms, &issuer.key_set, issuer.lifetime_max), (&None, &None, None));
    let rate_limit = RateLimit {
        store: LimitStore::Redis,
        rate: Rate::from_milli(10_000),
        burst: 20,
        prefix: "rl".to_owned(),
        on_failure: OnRedisFailure::Open,
        headers: LimitHeaders::Refused,
    };
    assert_eq!(config.rate_limit, rate_limit);
    let redis = Redis {
        address: RedisAddress::Tcp { host: "localhost".to_owned(), port: 6379 },
        username: None,
        password: None,
        database: 0,
        tls: None,
        sentinel_username: None,
        sentinel_password: None,
        timeout: Duration::from_millis(25),
    };
    assert_eq!(config.redis, redis);
    assert_eq!((config.trusted_proxies.len(), config.cors), (0, Cors::Off));
    let timeouts = Timeouts {
        request_head: secs(10),
        keep_alive: secs(75),
        body: secs(30),
        upstream_connect: secs(2),
        upstream_head: secs(60),
        upstream_idle: secs(60),
        upstream_connection_age: Duration::from_secs(3_600),
        upstream_keep_alive: secs(60),
        dns_refresh: secs(30),
        shutdown_delay: secs(0),
        shutdown: secs(15),
        upgrade: secs(30),
        upgrade_tunnels: secs(5),
    };
    assert_eq!(config.timeouts, timeouts);
    let sizes = Sizes {
        head_bytes: limits::HEAD_BYTES_DEFAULT,
        request_line_bytes: limits::REQUEST_LINE_BYTES_DEFAULT,
        fields: limits::FIELDS_DEFAULT,
        upstream_fields: None,
        body_bytes: limits::BODY_BYTES_DEFAULT,
        body_rate_min: 1024,
        requests_per_address: None,
        upstream_idle: limits::UPSTREAM_IDLE_DEFAULT,
        upstream_connection_requests: 0,
        upstream_in_flight: limits::UPSTREAM_IN_FLIGHT_DEFAULT,
    };
    assert_eq!(config.sizes, sizes);
    let upstreams: Vec<_> = config.upstreams.iter().map(|upstream| upstream.authority.as_str()).collect();
    assert_eq!(
        upstreams,
        ["auth:5001", "message:5002", "delivery:5003", "profile:5004", "conversation:5005"]
    );
    assert_eq!(config.routes, routes::realchat_routes(&rate_limit));
}

#[test]
fn refuses_every_setting_that_is_empty() {
    for key in sections::all().filter(|key| key.about().env != CONFIG_FILE.env) {
        let told = lowered(&[(key, "")]).unwrap_err().to_string();
        assert!(told.starts_with(&format!("{}: is empty", key.about().env)), "{told}");
    }
    let told = load(settings(&[(&CONFIG_FILE, "")]), |_| Vec::new()).unwrap_err().to_string();
    assert!(told.starts_with("CONFIG_FILE: is empty"), "{told}");
}

#[test]
fn tells_all_mistakes_at_once() {
    let mut none = Mistakes::default();
    let file = Written::from_toml("port = 70000\nredis_addr = 'nowhere'\n", "gateway.toml", &mut none);
    let args = settings(&[(&JWT_LEEWAY, "5x"), (&UPSTREAM_AUTH_URL, "https+unix://auth"), (&CORES, "")]);
    let told = lower(args, file).unwrap_err().to_string();
    let mut lines: Vec<_> = told.lines().collect();
    lines.sort_unstable();
    let expected = [
        "CORES: is empty (leave it out for the default, all)",
        "JWT_LEEWAY: \"5x\" is not a duration (use 500ms, 10s, 5m, 1h)",
        "JWT_SECRET: is missing (set it, JWT_SECRET_FILE, JWKS_URL or JWKS_FILE)",
        "PORT (gateway.toml:1): \"70000\" is not a whole number from 0 to 65535",
        "REDIS_ADDR (gateway.toml:2): \"nowhere\" is not an address of Redis (use localhost:6379, [::1]:6379, \
         redis://host:6379/0, redis-cluster://host:7000,host:7001, redis-sentinel://host,host/master, \
         the same with rediss, unix:/run/redis.sock)",
        "UPSTREAM_AUTH_URL: \"https+unix://auth\": there is no TLS over a Unix socket (use http+unix://)",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_default() {
    let mut none = Mistakes::default();
    let file = Written::from_toml("port = 2\nrate_limit_burst = 3\n", "gateway.toml", &mut none);
    let config = lower(settings(&[(&PORT, "1"), (&JWT_SECRET, GOOD_SECRET)]), file).unwrap().config;
    assert_eq!((config.listen.port, config.rate_limit.burst, config.rate_limit.rate.milli()), (1, 3, 10_000));
}

#[test]
fn defaults_of_a_subcommand_give_way_to_what_is_written() {
    let file = TempFile::new("defaults.toml", b"rate_limit_store = 'off'\n");
    let args = settings(&[(&PORT, "1"), (&CONFIG_FILE, file.path())]);
    let lowered = load_over(
        args,
        |written| {
            assert_eq!((written.get(&PORT), written.get(&RATE_LIMIT_STORE)), (Some("1"), Some("off")));
            settings(&[
                (&PORT, "3"),
                (&RATE_LIMIT_STORE, "memory"),
                (&ACCESS_LOG, "off"),
                (&JWT_SECRET, GOOD_SECRET),
            ])
        },
        |_| Vec::new(),
    );
    let config = lowered.unwrap().config;
    assert_eq!((config.listen.port, config.rate_limit.store), (1, LimitStore::Off));
    assert_eq!(config.access_log, AccessLog::Off);
}

#[test]
fn a_file_that_cannot_be_read_is_one_mistake() {
    let args = settings(&[(&CONFIG_FILE, "/does/not/exist")]);
    let told = load(args, |_| Vec::new()).unwrap_err().to_string();
    assert!(
        told.starts_with("CONFIG_FILE: /does/not/exist cannot be read") && !told.contains("is missing"),
        "{told}"
    );
}

#[test]
fn the_example_file_is_valid() {
    let Lowered { config, warnings } = lowered_toml(EXAMPLE).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(warnings, [""; 0]);
    assert_eq!((config.upstreams.len(), config.routes.len()), (3, 4));
}

#[test]
fn the_example_file_shows_every_setting_with_its_default() {
    for about in sections::all().map(|key| key.about()).filter(|about| about.env != CONFIG_FILE.env) {
        let start = format!("# {} = ", about.env.to_lowercase());
        let line = EXAMPLE.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}"));
        let mut mistakes = Mistakes::default();
        let written = Written::from_toml(&line[2..], "", &mut mistakes);
        assert_eq!(mistakes.to_string(), "", "{line}");
        let Some(default) = about.default else { continue };
        let mut expected = Written::default();
        expected.write(about.env, default.to_owned(), Some(":1".to_owned()));
        assert_eq!(written, expected, "{line}");
    }
}

const EXAMPLE: &str = include_str!("../../deploy/gateway.toml");

#[test]
fn a_mistake_about_a_setting_of_the_file_has_its_line() {
    for (toml, expected) in [
        ("\nready_requires = 'nobody'\n", "READY_REQUIRES (gateway.toml:2): \"nobody\" is no upstream"),
        (
            "trace_sample = 1\n",
            "TRACE_SAMPLE (gateway.toml:1): is over 0, but OTEL_EXPORTER_OTLP_ENDPOINT is missing",
        ),
        (
            "\n\nadmin_token = 'a'\nadmin_token_file = '/b'\n",
            "ADMIN_TOKEN (gateway.toml:3): is written beside ADMIN_TOKEN_FILE: keep one of them",
        ),
    ] {
        let told = lowered_toml(toml).expect_err(toml).to_string();
        assert!(told.starts_with(expected) && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn a_redirect_that_cannot_be_read_is_one_mistake() {
    for (key, value) in [("redirect", "'x'"), ("respond", "5")] {
        let toml = format!("[[route]]\nname = 'x'\npaths = ['/x']\n{key} = {value}\n");
        let told = lowered_toml(&toml).expect_err(&toml).to_string();
        assert!(told.starts_with("route \"x\" (gateway.toml:4): ") && told.lines().count() == 1, "{told}");
    }
}
