//! Every key once: what it moves, what it refuses; then files, layers, routes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::limits;

/// As the file that these lines make, over which a good secret is laid.
fn lower_toml(text: &str) -> Result<Lowered, Mistakes> {
    let mut mistakes = Mistakes::default();
    let file = Written::from_toml(text, "gateway.toml", &mut mistakes);
    mistakes.none_or(())?;
    lower(args(&[]), file)
}

/// As flags, with a good secret unless there is one.
fn args(settings: &[(&str, &str)]) -> Written {
    let written = settings_of(settings);
    let has_secret = written.jwt_secret.is_some() || written.jwt_secret_file.is_some();
    let jwt_secret = written.jwt_secret.clone().or((!has_secret).then(|| GOOD_SECRET.to_owned()));
    Written { jwt_secret, ..written }
}

fn settings_of(settings: &[(&str, &str)]) -> Written {
    let lines =
        settings.iter().map(|(key, text)| format!("{} = {}\n", key.to_lowercase(), toml::Value::from(*text)));
    let mut mistakes = Mistakes::default();
    let written = Written::from_toml(&lines.collect::<String>(), "", &mut mistakes);
    assert_eq!(mistakes.to_string(), "");
    Written { places: BTreeMap::new(), ..written }
}

fn config(settings: &[(&str, &str)]) -> Config {
    lower(args(settings), Written::default()).unwrap_or_else(|wrong| panic!("{wrong}")).config
}

fn mistakes(settings: &[(&str, &str)]) -> String {
    lower(args(settings), Written::default()).map(|_| ()).unwrap_err().to_string()
}

fn warnings(settings: &[(&str, &str)]) -> Vec<String> {
    lower(args(settings), Written::default()).unwrap_or_else(|wrong| panic!("{wrong}")).warnings
}

/// A file in the temporary directory, gone when it is dropped.
struct TempFile(std::path::PathBuf);

impl TempFile {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("realchat-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const GOOD_SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn has_the_defaults_of_the_documentation() {
    let config = config(&[]);
    let secs = Duration::from_secs;
    assert_eq!(config.listen, Listen { port: 8080, bind: None });
    assert_eq!(config.admin_addr, "127.0.0.1:9901".parse().ok());
    assert_eq!((config.cores, config.connections_max), (CoreChoice::All, None));
    assert_eq!((config.io_driver, config.access_log), (IoDriver::Auto, AccessLog::Stdout));
    assert_eq!(config.jwt.secrets, [Secret(GOOD_SECRET.into())]);
    assert_eq!((config.jwt.issuer, config.jwt.audience), (None, None));
    assert_eq!((config.jwt.leeway, config.jwt.user_claim.as_str()), (Duration::ZERO, "sub"));
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
        timeout: Duration::from_millis(25),
    };
    assert_eq!(config.redis, redis);
    assert_eq!((config.trusted_proxies.len(), config.cors), (0, Cors::Off));
    let timeouts = Timeouts {
        request_head: secs(10),
        keep_alive: secs(75),
        body: secs(30),
        upstream_connect: secs(2),
        upstream_head: secs(30),
        upstream_idle: secs(30),
        upstream_keep_alive: secs(60),
        dns_refresh: secs(30),
        shutdown_delay: secs(0),
        shutdown: secs(15),
        upgrade: secs(30),
    };
    assert_eq!(config.timeouts, timeouts);
    let sizes = Sizes {
        head_bytes: limits::HEAD_BYTES_DEFAULT,
        request_line_bytes: limits::REQUEST_LINE_BYTES_DEFAULT,
        fields: limits::FIELDS_MAX,
        body_bytes: limits::BODY_BYTES_DEFAULT,
        body_rate_min: 1024,
        upstream_idle: limits::UPSTREAM_IDLE_DEFAULT,
        upstream_in_flight: limits::UPSTREAM_IN_FLIGHT_DEFAULT,
    };
    assert_eq!(config.sizes, sizes);
    let upstreams: Vec<_> = config.upstreams.iter().map(|upstream| upstream.authority.as_str()).collect();
    assert_eq!(
        upstreams,
        ["auth:5001", "message:5002", "delivery:5003", "profile:5004", "conversation:5005"]
    );
    assert_eq!(config.routes, routes::realchat(&rate_limit));
}

#[test]
fn every_key_moves_its_own_setting() {
    // What `check` prints with this key alone, beside what it prints without.
    let default = describe(&config(&[]));
    for (key, text, shown) in [
        ("PORT", "0", "PORT 0"),
        ("BIND", "::1", "BIND ::1"),
        ("ADMIN_ADDR", "off", "ADMIN_ADDR off"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::1", "TRUSTED_PROXIES 10.0.0.0/8, ::1/128"),
        ("CORS_ALLOWED_ORIGINS", "https://A.b", "CORS_ALLOWED_ORIGINS https://a.b"),
        ("CORES", "0-1,8", "CORES CPUs 0, 1, 8"),
        ("MAX_CONNECTIONS", "5", "MAX_CONNECTIONS 5 per core"),
        ("IO_DRIVER", "epoll", "IO_DRIVER epoll"),
        ("REQUIRE_IO_URING", "true", "IO_DRIVER io_uring"),
        ("ACCESS_LOG", "/tmp/a", "ACCESS_LOG /tmp/a"),
        ("SHUTDOWN_DELAY", "5s", "SHUTDOWN_DELAY 5s"),
        ("SHUTDOWN_TIMEOUT", "1m", "SHUTDOWN_TIMEOUT 1m"),
        ("UPGRADE_TIMEOUT", "5s", "UPGRADE_TIMEOUT 5s"),
        ("PID_FILE", "/run/a.pid", "PID_FILE /run/a.pid"),
        ("JWT_SECRET", "short", "JWT_SECRET 1 secret, TOO SHORT"),
        ("JWT_SECRET_PREVIOUS", "short", "JWT_SECRET 2 secrets, 1 of them TOO SHORT"),
        ("JWT_ISSUER", "me", "JWT_ISSUER me"),
        ("JWT_AUDIENCE", "you", "JWT_AUDIENCE you"),
        ("JWT_LEEWAY", "5s", "JWT_LEEWAY 5s"),
        ("JWT_USER_CLAIM", "uid", "JWT_USER_CLAIM uid"),
        ("RATE_LIMIT_RPS", "0.5", "RATE_LIMIT_RPS 0.5 requests/s"),
        ("RATE_LIMIT_BURST", "7", "RATE_LIMIT_BURST 7 requests"),
        ("RATE_LIMIT_STORE", "memory", "RATE_LIMIT_STORE memory"),
        ("RATE_LIMIT_PREFIX", "shop:rl", "RATE_LIMIT_PREFIX shop:rl"),
        ("RATE_LIMIT_ON_REDIS_FAILURE", "closed", "RATE_LIMIT_ON_REDIS_FAILURE closed"),
        ("RATE_LIMIT_HEADERS", "all", "RATE_LIMIT_HEADERS all"),
        ("REDIS_ADDR", "redis://r:1/2", "REDIS_ADDR redis://r:1/2"),
        ("REDIS_PASSWORD", "hunter2", "REDIS_PASSWORD set"),
        ("REDIS_TIMEOUT", "3ms", "REDIS_TIMEOUT 3ms"),
        ("UPSTREAM_AUTH_URL", "http://a", "auth http://a:80"),
        ("UPSTREAM_MESSAGE_URL", "http://a", "message http://a:80"),
        ("UPSTREAM_DELIVERY_URL", "http://a", "delivery http://a:80"),
        ("UPSTREAM_PROFILE_URL", "http://a", "profile http://a:80"),
        ("UPSTREAM_CONVERSATION_URL", "http://a", "conversation http://a:80"),
        ("UPSTREAM_CONNECT_TIMEOUT", "50ms", "UPSTREAM_CONNECT_TIMEOUT 50ms"),
        ("UPSTREAM_HEAD_TIMEOUT", "7s", "UPSTREAM_HEAD_TIMEOUT 7s"),
        ("UPSTREAM_IDLE_TIMEOUT", "7s", "UPSTREAM_IDLE_TIMEOUT 7s"),
        ("UPSTREAM_KEEP_ALIVE", "7s", "UPSTREAM_KEEP_ALIVE 7s"),
        ("UPSTREAM_IDLE_CONNECTIONS", "0", "UPSTREAM_IDLE_CONNECTIONS 0 per"),
        ("UPSTREAM_MAX_IN_FLIGHT", "7", "UPSTREAM_MAX_IN_FLIGHT 7 per"),
        ("DNS_REFRESH", "7s", "DNS_REFRESH 7s"),
        ("REQUEST_HEAD_TIMEOUT", "7s", "REQUEST_HEAD_TIMEOUT 7s"),
        ("KEEP_ALIVE_TIMEOUT", "7s", "KEEP_ALIVE_TIMEOUT 7s"),
        ("BODY_TIMEOUT", "7s", "BODY_TIMEOUT 7s"),
        ("BODY_MIN_RATE", "0", "BODY_MIN_RATE no floor"),
        ("BODY_MAX_BYTES", "0", "BODY_MAX_BYTES no bound"),
        ("HEAD_MAX_BYTES", "16KiB", "HEAD_MAX_BYTES 16KiB"),
        ("HEAD_MAX_FIELDS", "50", "HEAD_MAX_FIELDS 50 fields"),
        ("REQUEST_LINE_MAX_BYTES", "4000", "REQUEST_LINE_MAX_BYTES 4000 bytes"),
    ] {
        let text = describe(&config(&[(key, text)]));
        let moved: Vec<String> =
            text.lines().zip(default.lines()).filter(|(a, b)| a != b).map(words).collect();
        assert!(moved.iter().any(|line| line.starts_with(shown)), "{key}: {text}");
        let besides = match key {
            // Without Redis its address is shown as not used.
            "RATE_LIMIT_STORE" => 1,
            // Registering and logging in have the global rate and burst.
            "RATE_LIMIT_RPS" | "RATE_LIMIT_BURST" => 2,
            // An address with a password is shown as one.
            "REDIS_PASSWORD" => 1,
            _ => 0,
        };
        assert_eq!(moved.len(), 1 + besides, "{key}: {text}");
        assert!(!text.contains("hunter2") && !text.contains(GOOD_SECRET));
    }
}

/// The words of a line of this configuration, whatever the default is.
fn words((line, _default): (&str, &str)) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn refuses_each_wrong_value_with_its_key() {
    for (key, wrong) in [
        ("PORT", "65536"),
        ("BIND", "localhost"),
        ("ADMIN_ADDR", "localhost:1"),
        ("ADMIN_ADDR", "127.0.0.1:8080"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("CORS_ALLOWED_ORIGINS", "https://a/"),
        ("CORES", "0"),
        ("MAX_CONNECTIONS", "0"),
        ("IO_DRIVER", "uring"),
        ("REQUIRE_IO_URING", "yes"),
        ("ACCESS_LOG", "stderr"),
        ("SHUTDOWN_DELAY", "5"),
        ("SHUTDOWN_TIMEOUT", "25h"),
        ("UPGRADE_TIMEOUT", "0s"),
        ("PID_FILE", "gateway.pid"),
        ("JWT_SECRET_FILE", "/does/not/exist"),
        ("JWT_SECRET_PREVIOUS_FILE", "/dev/null"),
        ("JWT_ISSUER", "a\nb"),
        ("JWT_AUDIENCE", "a\0"),
        ("JWT_LEEWAY", "2h"),
        ("JWT_USER_CLAIM", "a\tb"),
        ("RATE_LIMIT_RPS", "-1"),
        ("RATE_LIMIT_BURST", "0"),
        ("RATE_LIMIT_STORE", "none"),
        ("RATE_LIMIT_RPS", "0.0001"),
        ("RATE_LIMIT_PREFIX", "a b"),
        ("RATE_LIMIT_ON_REDIS_FAILURE", "close"),
        ("RATE_LIMIT_HEADERS", "none"),
        ("REDIS_ADDR", "localhost"),
        ("REDIS_USERNAME", "a\nb"),
        ("REDIS_USERNAME", "gateway"),
        ("REDIS_PASSWORD_FILE", "/does/not/exist"),
        ("REDIS_TIMEOUT", "0s"),
        ("REDIS_TIMEOUT", "11s"),
        ("UPSTREAM_AUTH_URL", "auth:5001"),
        ("UPSTREAM_MESSAGE_URL", "http://a/b"),
        ("UPSTREAM_DELIVERY_URL", "https://a"),
        ("UPSTREAM_PROFILE_URL", "http://"),
        ("UPSTREAM_CONVERSATION_URL", "ws://a"),
        ("UPSTREAM_CONNECT_TIMEOUT", "0s"),
        ("UPSTREAM_HEAD_TIMEOUT", "49ms"),
        ("UPSTREAM_IDLE_TIMEOUT", "forever"),
        ("UPSTREAM_KEEP_ALIVE", "-1s"),
        ("UPSTREAM_IDLE_CONNECTIONS", "65537"),
        ("UPSTREAM_MAX_IN_FLIGHT", "0"),
        ("DNS_REFRESH", "500ms"),
        ("REQUEST_HEAD_TIMEOUT", "0s"),
        ("KEEP_ALIVE_TIMEOUT", "75"),
        ("BODY_TIMEOUT", "1d"),
        ("BODY_MIN_RATE", "1KB"),
        ("BODY_MAX_BYTES", "10M"),
        ("HEAD_MAX_BYTES", "33KiB"),
        ("HEAD_MAX_FIELDS", "101"),
        ("REQUEST_LINE_MAX_BYTES", "32KiB"),
    ] {
        let told = mistakes(&[(key, wrong)]);
        assert!(told.starts_with(&format!("{key}: ")) && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn a_required_ring_and_epoll_exclude_each_other() {
    let told = mistakes(&[("IO_DRIVER", "epoll"), ("REQUIRE_IO_URING", "true")]);
    assert!(told.starts_with("IO_DRIVER: ") && told.contains("REQUIRE_IO_URING"), "{told}");
    assert_eq!(told.lines().count(), 1);
    for (driver, required, expected) in [
        ("epoll", "false", IoDriver::Epoll),
        ("auto", "true", IoDriver::IoUring),
        ("io_uring", "false", IoDriver::IoUring),
        ("io_uring", "true", IoDriver::IoUring),
    ] {
        let config = config(&[("IO_DRIVER", driver), ("REQUIRE_IO_URING", required)]);
        assert_eq!(config.io_driver, expected, "{driver} {required}");
    }
}

#[test]
fn refuses_every_key_that_is_empty() {
    for key in Written::KEYS.iter().filter(|key| key.env != "CONFIG_FILE") {
        let told = mistakes(&[(key.env, "")]);
        assert!(told.starts_with(&format!("{}: is empty", key.env)), "{told}");
    }
    let empty = Written { config_file: Some(String::new()), ..args(&[]) };
    assert!(load(empty, |_| Vec::new()).unwrap_err().to_string().starts_with("CONFIG_FILE: is empty"));
}

#[test]
fn tells_all_mistakes_at_once() {
    let file = "port = 70000\nredis_addr = 'nowhere'\n";
    let mut none = Mistakes::default();
    let file = Written::from_toml(file, "gateway.toml", &mut none);
    let args = settings_of(&[("JWT_LEEWAY", "5x"), ("UPSTREAM_AUTH_URL", "https://auth"), ("CORES", "")]);
    let told = lower(args, file).unwrap_err().to_string();
    let mut lines: Vec<_> = told.lines().collect();
    lines.sort_unstable();
    let expected = [
        "CORES: is empty (leave it out for the default, all)",
        "JWT_LEEWAY: \"5x\" is not a duration (use 500ms, 10s, 5m, 1h)",
        "JWT_SECRET: is missing (set it, or JWT_SECRET_FILE)",
        "PORT (gateway.toml:1): \"70000\" is not a whole number from 0 to 65535",
        "REDIS_ADDR (gateway.toml:2): \"nowhere\" is not an address of Redis (use localhost:6379, [::1]:6379, \
         redis://host:6379/0, unix:/run/redis.sock)",
        "UPSTREAM_AUTH_URL: \"https://auth\": https upstreams are not supported yet",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_mistake_brings_no_second_one_about_the_default_in_its_place() {
    assert_eq!(mistakes(&[("HEAD_MAX_BYTES", "x"), ("REQUEST_LINE_MAX_BYTES", "32KiB")]).lines().count(), 1);
    assert_eq!(mistakes(&[("PORT", "x"), ("ADMIN_ADDR", "127.0.0.1:8080")]).lines().count(), 1);
}

#[test]
fn flags_win_over_the_file_and_that_over_the_default() {
    let mut none = Mistakes::default();
    let file = Written::from_toml("port = 2\nrate_limit_burst = 3\n", "gateway.toml", &mut none);
    let config = lower(args(&[("PORT", "1")]), file).unwrap().config;
    assert_eq!((config.listen.port, config.rate_limit.burst, config.rate_limit.rate.milli()), (1, 3, 10_000));
}

#[test]
fn other_defaults_give_way_to_what_is_written() {
    let file = TempFile::new("defaults.toml", b"rate_limit_store = 'off'\n");
    let args = Written { config_file: Some(file.path().to_owned()), ..settings_of(&[("PORT", "1")]) };
    let lowered = load_over(
        args,
        |written| {
            assert_eq!((written.get("PORT"), written.get("RATE_LIMIT_STORE")), (Some("1"), Some("off")));
            args_of_a_demo()
        },
        |_| Vec::new(),
    );
    let config = lowered.unwrap().config;
    assert_eq!((config.listen.port, config.rate_limit.store), (1, LimitStore::Off));
    assert_eq!(config.access_log, AccessLog::Off);
}

fn args_of_a_demo() -> Written {
    args(&[("PORT", "3"), ("RATE_LIMIT_STORE", "memory"), ("ACCESS_LOG", "off")])
}

#[test]
fn a_secret_in_a_file_loses_its_line_break_and_nothing_else() {
    for (bytes, secret) in [(&b"a b \n"[..], &b"a b "[..]), (b"\xff\xfe\r\n", b"\xff\xfe"), (b"x", b"x")] {
        let file = TempFile::new("secret", bytes);
        assert_eq!(config(&[("JWT_SECRET_FILE", file.path())]).jwt.secrets, [Secret(secret.to_vec())]);
    }
    let empty = TempFile::new("empty", b"\n");
    assert_eq!(mistakes(&[("JWT_SECRET_FILE", empty.path())]), "JWT_SECRET_FILE: names an empty file");
}

#[test]
fn a_password_of_redis_stands_in_one_place() {
    let redis = |settings: &[(&str, &str)]| {
        let Redis { username, password, database, .. } = config(settings).redis;
        (username, password.map(|secret| String::from_utf8(secret.0).unwrap()), database)
    };
    let some = |text: &str| Some(text.to_owned());
    let file = TempFile::new("redis", b"of a file\n");
    let own = [("REDIS_USERNAME", "gw"), ("REDIS_PASSWORD_FILE", file.path()), ("REDIS_ADDR", "redis://h/3")];
    assert_eq!(redis(&own), (some("gw"), some("of a file"), 3));
    assert_eq!(redis(&[("REDIS_ADDR", "redis://u:p@h/3")]), (some("u"), some("p"), 3));
    for (key, text) in [("REDIS_PASSWORD", "hunter2"), ("REDIS_USERNAME", "u")] {
        let told = mistakes(&[("REDIS_ADDR", "redis://u:hunter2@h"), (key, text)]);
        assert_eq!(told, format!("{key}: is written beside a password in REDIS_ADDR: keep one of them"));
    }
    let both = mistakes(&[("REDIS_PASSWORD", "hunter2"), ("REDIS_PASSWORD_FILE", file.path())]);
    assert_eq!(both, "REDIS_PASSWORD: is written beside REDIS_PASSWORD_FILE: keep one of them");
    assert_eq!(
        mistakes(&[("REDIS_USERNAME", "u")]),
        "REDIS_USERNAME: is written without REDIS_PASSWORD (or REDIS_PASSWORD_FILE)"
    );
}

#[test]
fn a_secret_and_its_file_stand_in_different_places_or_not_at_all() {
    let both = mistakes(&[("JWT_SECRET", GOOD_SECRET), ("JWT_SECRET_FILE", "/x")]);
    assert_eq!(both, "JWT_SECRET: is written beside JWT_SECRET_FILE: keep one of them");
    let file = settings_of(&[("JWT_SECRET_FILE", "/does/not/exist")]);
    assert!(lower(args(&[("JWT_SECRET", GOOD_SECRET)]), file).is_ok(), "the nearer one wins");
}

#[test]
fn a_secret_is_no_pem_and_short_ones_are_warned_of() {
    let pem = "-----BEGIN PUBLIC KEY-----\nhunter2";
    let told = mistakes(&[("JWT_SECRET", pem), ("JWT_SECRET_PREVIOUS", pem)]);
    assert_eq!(told.lines().count(), 2);
    assert!(told.contains("is a PEM") && !told.contains("hunter2"));
    let told = warnings(&[("JWT_SECRET", "hunter2"), ("JWT_SECRET_PREVIOUS", "hunter2")]);
    assert_eq!(told.len(), 3, "two short ones, which are the same: {told:?}");
    assert!(
        told[0].starts_with("JWT_SECRET: is shorter than 32 bytes") && !told.concat().contains("hunter2")
    );
}

#[test]
fn the_previous_secret_comes_second() {
    let jwt = config(&[("JWT_SECRET_PREVIOUS", "before")]).jwt;
    assert_eq!(jwt.secrets, [Secret(GOOD_SECRET.into()), Secret(b"before".to_vec())]);
}

#[test]
fn networks_with_host_bits_are_cut_and_warned_of() {
    let told = warnings(&[("TRUSTED_PROXIES", "10.1.2.3/8")]);
    assert_eq!(
        told,
        ["TRUSTED_PROXIES: 10.1.2.3/8 has bits set behind its prefix and is taken as 10.0.0.0/8"]
    );
}

#[test]
fn listeners_may_share_a_port_only_on_different_addresses() {
    for (bind, admin, ok) in [
        ("127.0.0.1", "127.0.0.2:8080", true),
        ("127.0.0.1", "127.0.0.1:8080", false),
        ("0.0.0.0", "127.0.0.1:8080", false),
        ("127.0.0.1", "0.0.0.0:8080", false),
        ("127.0.0.1", "127.0.0.1:8081", true),
    ] {
        let lowered = lower(args(&[("BIND", bind), ("ADMIN_ADDR", admin)]), Written::default());
        assert_eq!(lowered.is_ok(), ok, "{bind} {admin}");
    }
    assert!(lower(args(&[("PORT", "0"), ("ADMIN_ADDR", "127.0.0.1:0")]), Written::default()).is_ok());
}

#[test]
fn a_file_with_routes_replaces_those_of_realchat() {
    let lowered = lower_toml(
        "[upstreams.b]\nurl = 'http://b'\n[upstreams.a]\nurl = 'http://a:1'\n[upstreams.idle]\nurl = 'http://c'\n\
         [[route]]\nname = 'x'\npaths = ['/x']\nupstream = 'b'\naccess = 'public'\nmethods = ['GET', 'PUT']\n\
         forward_authorization = false\nforward_trailers = 'true'\nbody_max_bytes = '1KiB'\n\
         [[route]]\nname = 'y'\npaths = ['/y', '/y/*']\nupstream = 'a'\nkind = 'websocket'\n",
    )
    .unwrap();
    let [x, y] = &lowered.config.routes[..] else { panic!("two routes") };
    assert_eq!((x.name.as_str(), x.access, x.kind, x.upstream), ("x", Access::Public, RouteKind::Http, 1));
    assert_eq!(
        (&x.methods[..], &x.paths[..]),
        (&["GET".to_owned(), "PUT".to_owned()][..], &["/x".to_owned()][..])
    );
    assert_eq!(
        (x.authorization_forwarded, x.trailers_forwarded, x.body_bytes_max),
        (false, true, Some(1024))
    );
    assert_eq!((y.access, y.kind, y.upstream), (Access::Protected, RouteKind::WebSocket, 0));
    assert_eq!((&y.methods[..], y.paths.len()), (&["GET".to_owned()][..], 2));
    assert_eq!((y.authorization_forwarded, y.trailers_forwarded, y.body_bytes_max), (true, false, None));
    assert_eq!(lowered.warnings, ["upstreams.idle: no route uses it"]);
}

const SHOP: &str =
    "[upstreams.a]\nurl = 'http://a'\n[[route]]\nname = 'shop'\npaths = ['/shop']\nupstream = 'a'\n";

#[test]
fn a_route_has_limits_of_its_own() {
    let limits = |text: &str| lower_toml(&format!("{SHOP}{text}")).unwrap().config.routes[0].limits.clone();
    let own = |milli, burst, per, cost| RouteLimit { rate: Rate::from_milli(milli), burst, per, cost };
    assert_eq!(limits(""), []);
    assert_eq!(
        limits(
            "limit_global = false\n[[route.limit]]\nrate = 2.5\nburst = 5\n\
             [[route.limit]]\nrate = '0'\nburst = 9\nper = 'none'\ncost = 9\n"
        ),
        [own(2500, 5, Per::User, 1), own(0, 9, Per::None, 9)]
    );
    let public = "access = 'public'\n[[route.limit]]\nrate = 1\nburst = 5\n";
    assert_eq!(limits(public), [own(1000, 5, Per::Ip, 1)]);
    let config = |text: &str| lower_toml(&format!("{SHOP}{text}")).unwrap().config;
    assert!(config("").routes[0].is_limited_globally);
    assert!(!config("limit_global = false\n").routes[0].is_limited_globally);
    let shown = describe(&config("limit_global = false\n[[route.limit]]\nrate = 0.5\nburst = 5\ncost = 2\n"));
    assert!(shown.contains("0.5/s burst 5 per user cost 2, no global limit"), "{shown}");
}

#[test]
fn tells_every_mistake_of_a_routes_limits() {
    let limit = |text: &str| format!("[[route.limit]]\n{text}\n");
    for (text, told) in [
        (limit("burst = 1"), "limit: has no key `rate`"),
        (limit("rate = 1"), "limit: has no key `burst`"),
        (limit("rate = 1\nburst = 0"), "limit: burst \"0\" is not a whole number from 1 to 1000000"),
        (limit("rate = 1\nburst = 3\ncost = 4"), "limit: cost \"4\" is not a whole number from 1 to 3"),
        (limit("rate = 1\nburst = 3\nper = 'all'"), "limit: per \"all\" is none of user, ip, none"),
        ("limit_global = 1\n".to_owned(), "limit_global \"1\" is neither true nor false"),
        (limit("rate = 1\nburst = 1").repeat(5), "limit: there are 5, over 4"),
        (
            format!("access = 'public'\n{}", limit("rate = 1\nburst = 1\nper = 'user'")),
            "limit: per \"user\" needs a verified user, and a public route has none",
        ),
    ] {
        let wrong = lower_toml(&format!("{SHOP}{text}")).unwrap_err().to_string();
        assert_eq!(wrong, format!("route \"shop\" (gateway.toml:3): {told}"));
    }
    let unknown = lower_toml(&format!("{SHOP}{}", limit("rate = 1\nburst = 1\nkey = 'x'"))).unwrap_err();
    assert!(unknown.to_string().contains("`key` is not a key of a configuration file"), "{unknown}");
}

#[test]
fn tells_every_mistake_of_routes_and_upstreams() {
    let told = lower_toml(
        "[upstreams.a]\nurl = 'https://a'\n[upstreams.'b c']\nurl = 'http://b'\n\
         [[route]]\nname = 'x'\npaths = ['x', '/a//b']\nupstream = 'nobody'\naccess = 'open'\nkind = 'tcp'\n\
         methods = ['get', 'G T']\nforward_trailers = 'maybe'\nbody_max_bytes = '1M'\n\
         [[route]]\nname = 'x'\npaths = []\nupstream = 'a'\nmethods = []\n\
         [[route]]\nname = ''\npaths = ['/p', '/p']\nupstream = 'a'\nmethods = ['POST']\nkind = 'websocket'\n",
    )
    .unwrap_err()
    .to_string();
    for line in [
        "upstream \"a\" (gateway.toml:1): url \"https://a\": https upstreams are not supported yet",
        "upstream \"b c\" (gateway.toml:3): its name \"b c\" is not 1 to 64 letters, digits, '-', '_' or '.'",
        "route \"x\" (gateway.toml:5): upstream \"nobody\" is not defined (add [upstreams.NAME])",
        "route \"x\" (gateway.toml:5): access \"open\" is neither public nor protected",
        "route \"x\" (gateway.toml:5): kind \"tcp\" is neither http nor websocket",
        "route \"x\" (gateway.toml:5): method \"get\" is not in upper case, and methods are told apart by case",
        "route \"x\" (gateway.toml:5): method \"G T\" is not a token",
        "route \"x\" (gateway.toml:5): path \"x\" does not start with /",
        "route \"x\" (gateway.toml:5): path \"/a//b\" has an empty segment",
        "route \"x\" (gateway.toml:5): forward_trailers \"maybe\" is neither true nor false",
        "route \"x\" (gateway.toml:5): body_max_bytes \"1M\" is not a size (use 512, 64KiB, 10MiB, 1GiB)",
        "route \"x\" (gateway.toml:14): another route has this name",
        "route \"x\" (gateway.toml:14): methods is empty (leave it out for any method)",
        "route \"x\" (gateway.toml:14): paths is empty",
        "route \"\" (gateway.toml:19): its name \"\" is not 1 to 64 letters, digits, '-', '_' or '.'",
        "route \"\" (gateway.toml:19): a websocket route takes GET and no other method",
        "route \"\" (gateway.toml:19): paths names \"/p\" twice",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}\n\nis not in\n\n{told}");
    }
    assert!(!told.contains("upstream \"a\" is not defined"), "its URL is wrong, which is said elsewhere");
}

#[test]
fn refuses_more_routes_and_upstreams_than_there_may_be() {
    let route = |i| format!("[[route]]\nname = 'r{i}'\npaths = ['/{i}']\nupstream = 'u0'\n");
    let upstream = |i| format!("[upstreams.u{i}]\nurl = 'http://u'\n");
    let text = (0..=limits::UPSTREAMS_MAX).map(upstream).chain((0..=limits::ROUTES_MAX).map(route));
    let told = lower_toml(&text.collect::<String>()).unwrap_err().to_string();
    assert_eq!(told, "upstreams: there are 257, over 256\nroute: there are 1025, over 1024");
}

#[test]
fn upstreams_without_routes_are_a_mistake() {
    let told = lower_toml("[upstreams.a]\nurl = 'http://a'\n").unwrap_err().to_string();
    assert_eq!(told, "upstreams: are given without any [[route]] that uses them");
}

#[test]
fn an_upstream_url_beside_a_file_moves_the_one_of_its_name() {
    let text = "[upstreams.auth]\nurl = 'https://not-looked-at'\n\
                [[route]]\nname = 'a'\npaths = ['/a']\nupstream = 'auth'\n\
                [[route]]\nname = 'b'\npaths = ['/b']\nupstream = 'message'\n";
    let mut none = Mistakes::default();
    let file = Written::from_toml(text, "gateway.toml", &mut none);
    let urls = [
        ("UPSTREAM_AUTH_URL", "http://a:1"),
        ("UPSTREAM_MESSAGE_URL", "http://b:2"),
        ("UPSTREAM_PROFILE_URL", "http://c:3"),
    ];
    let Lowered { config, warnings } = lower(args(&urls), file).unwrap();
    let port = |route: usize| match &config.upstreams[config.routes[route].upstream].address {
        UpstreamAddress::Tcp { port, .. } => *port,
        UpstreamAddress::Unix(_) => 0,
    };
    assert_eq!((port(0), port(1), config.upstreams.len()), (1, 2, 2));
    assert_eq!(
        warnings,
        ["UPSTREAM_PROFILE_URL: has no effect, no route of the file uses an upstream profile"]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_mistake() {
    let args = Written { config_file: Some("/does/not/exist".to_owned()), ..Written::default() };
    let told = load(args, |_| Vec::new()).unwrap_err().to_string();
    assert!(
        told.starts_with("CONFIG_FILE: /does/not/exist cannot be read") && !told.contains("is missing"),
        "{told}"
    );
}

#[test]
fn the_example_file_holds() {
    let Lowered { config, warnings } = lower_toml(EXAMPLE).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(warnings, [""; 0]);
    assert_eq!((config.upstreams.len(), config.routes.len()), (3, 4));
}

#[test]
fn the_example_file_shows_every_key_with_its_default() {
    for key in Written::KEYS.iter().filter(|key| key.env != "CONFIG_FILE") {
        let start = format!("# {} = ", key.field);
        let line = EXAMPLE.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}"));
        let mut mistakes = Mistakes::default();
        let written = Written::from_toml(&line[2..], "", &mut mistakes);
        assert_eq!(mistakes.to_string(), "", "{line}");
        assert!(key.default.is_none() || written.get(key.env) == key.default, "{line}");
    }
}

#[test]
fn the_documentation_has_every_key_with_its_flag_and_default() {
    for key in Written::KEYS {
        let flag = if key.env == "CONFIG_FILE" { "config".to_owned() } else { key.field.replace('_', "-") };
        let default = match (key.default, key.env) {
            (Some(default), _) => format!("`{default}`"),
            (None, "JWT_SECRET") => "required".to_owned(),
            (None, _) => "none".to_owned(),
        };
        let row = format!("| `{}` | `--{flag}` | {default} |", key.env);
        assert!(MANUAL.contains(&row), "{row}");
    }
}

const EXAMPLE: &str = include_str!("../../deploy/gateway.toml");
const MANUAL: &str = include_str!("../../docs/config.md");
