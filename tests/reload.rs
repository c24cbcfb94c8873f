//! SIGHUP: a new configuration takes over between two requests, or nothing changes at all.

use std::fs;

use rustix::process::Signal;

use crate::harness::*;

/// One upstream and one route at this path, below any settings.
fn file(settings: &str, origin: &Origin, path: &str) -> String {
    format!(
        "{settings}\n[upstreams.a]\nurl = 'http://{}'\n\
         [[route]]\nname = 'r'\npaths = ['{path}']\nupstream = 'a'\n",
        origin.address
    )
}

fn to(path: &str) -> Vec<u8> {
    Request::new("GET", path).token("ann").bytes()
}

#[test]
fn routes_and_upstreams_change_for_the_next_request_of_an_open_connection() {
    let (one, two) = (Origin::echo(), Origin::echo());
    let gateway = Gateway::builder().cores("2").config(&file("", &one, "/one")).start();
    let mut clients: Vec<Client> = (0..6).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.send(to("/one")).read_response().status, 200);
    }
    gateway.rewrite_config(&file("body_max_bytes = 4", &two, "/two"));
    let log = gateway.reload();
    for part in ["route r: from ", "upstream a: from ", "BODY_MAX_BYTES: from \"10MiB\" to \"4 bytes\""] {
        assert!(log.iter().any(|line| line.contains(part)), "{part}: {log:#?}");
    }
    for client in &mut clients {
        assert_eq!(client.send(to("/one")).read_response().code(), "no_route");
        assert_eq!(client.send(to("/two")).read_response().status, 200);
    }
    let large = Request::new("POST", "/two").token("ann").body("12345");
    assert_eq!(gateway.ask(large).code(), "body_too_large");
    assert_eq!((two.requests().len(), one.requests().len()), (6, 6));
    eventually("no connection is kept to an upstream that is gone", || one.open() == 0);
}

#[test]
fn what_is_in_flight_ends_as_it_began_and_the_connections_of_the_same_upstream_stay() {
    let (same, slow) = (
        Origin::echo(),
        Origin::new(|exchange| {
            while exchange.read_request().is_some() {
                exchange.sleep_ms(600);
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
            }
        }),
    );
    let both = |burst: &str, path: &str| {
        format!(
            "{}[upstreams.b]\nurl = 'http://{}'\n[[route]]\nname = 's'\npaths = ['{path}']\nupstream = 'b'\n",
            file(burst, &same, "/same"),
            slow.address
        )
    };
    let gateway = Gateway::builder().config(&both("", "/slow")).start();
    let mut kept = gateway.client();
    assert_eq!(kept.send(to("/same")).read_response().status, 200);
    let mut busy = gateway.client();
    busy.send(to("/slow"));
    eventually("the request is in flight", || slow.requests().len() == 1);
    gateway.rewrite_config(&file("keep_alive_timeout = '20s'", &same, "/same"));
    gateway.reload();
    assert_eq!(busy.read_response().text(), "done");
    assert_eq!(busy.send(to("/slow")).read_response().code(), "no_route");
    assert_eq!(kept.send(to("/same")).read_response().status, 200);
    assert_eq!(same.connections(), 1, "the pooled connection was thrown away");
    eventually("nothing is left of the upstream that is gone", || slow.open() == 0);
    eventually("the pool is counted right", || gateway.metric("upstream_idle") == 1);
}

#[test]
fn a_tunnel_goes_on_to_the_upstream_that_it_has() {
    let (one, two) = (echoing(), Origin::echo());
    let sockets = |origin: &Origin| {
        format!(
            "max_connections = 1\n[upstreams.a]\nurl = 'http://{}'\n\
             [[route]]\nname = 'ws'\nkind = 'websocket'\npaths = ['/ws']\nupstream = 'a'\n",
            origin.address
        )
    };
    let gateway = Gateway::builder().cores("2").config(&sockets(&one)).start();
    let mut socket = Socket::open(&gateway, "ann");
    socket.expect_echo("before");
    // Its route and its upstream are gone, and there is room for others.
    gateway.rewrite_config(&file("max_connections = 9", &two, "/x"));
    gateway.reload();
    socket.expect_echo("after");
    assert_eq!(gateway.get("/x", "ann").status, 200);
    assert_eq!(gateway.get("/ws", "ann").code(), "no_route");
    socket.expect_echo("and on");
}

#[test]
fn a_secret_that_is_taken_away_verifies_no_token_any_more() {
    let origin = Origin::echo();
    let secret = std::env::temp_dir().join(format!("realchat-it-{}-reload-secret", std::process::id()));
    fs::write(&secret, SECRET).expect("a temporary file");
    let builder = Gateway::builder().without("JWT_SECRET").everywhere(&origin);
    let gateway = builder.env("JWT_SECRET_FILE", secret.to_str().expect("UTF-8")).start();
    let mut client = gateway.client();
    let request = to("/api/v1/users/me");
    for _ in 0..2 {
        assert_eq!(client.send(&request).read_response().status, 200);
    }
    fs::write(&secret, "another secret, which is long enough as well").expect("a temporary file");
    let log = gateway.reload();
    assert!(log.iter().any(|line| line.contains("JWT_SECRET: another secret")), "{log:#?}");
    assert_eq!(client.send(&request).read_response().code(), "token_invalid");
    fs::write(&secret, SECRET).expect("a temporary file");
    gateway.reload();
    assert_eq!(client.send(&request).read_response().status, 200);
    assert!(!gateway.log().concat().contains(SECRET));
    fs::remove_file(&secret).expect("it was there");
}

#[test]
fn one_mistake_and_everything_stays_and_every_mistake_is_told() {
    let (origin, other) = (Origin::echo(), Origin::echo());
    let gateway = Gateway::builder().config(&file("", &origin, "/one")).start();
    gateway.rewrite_config(&file(
        "body_timeout = 5\nnonsense = 1\ntrusted_proxies = '10.0.0.0/33'",
        &other,
        "/two",
    ));
    let log = gateway.reload();
    for part in ["BODY_TIMEOUT (", "nonsense", "TRUSTED_PROXIES (", "the running configuration stays"] {
        let line = log.iter().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {log:#?}"));
        assert!(line.contains("ERROR"), "{line}");
    }
    assert_eq!(gateway.get("/one", "ann").status, 200);
    assert_eq!(gateway.get("/two", "ann").code(), "no_route");
    // Routes that contradict each other are found too, and a file that is gone.
    let twice = "[[route]]\nname = 's'\npaths = ['/one']\nupstream = 'a'\n";
    gateway.rewrite_config(&(file("", &origin, "/one") + twice));
    assert!(gateway.reload().iter().any(|line| line.contains("the running configuration stays")));
    gateway.rewrite_config(&file("", &other, "/two"));
    gateway.reload();
    assert_eq!(gateway.get("/two", "ann").status, 200);
}

#[test]
fn what_takes_a_new_process_is_said_and_the_rest_is_taken_over() {
    let origin = Origin::echo();
    let builder = Gateway::builder().without("ACCESS_LOG").without("PORT");
    let before = file("port = 0\naccess_log = 'off'", &origin, "/one");
    let gateway = builder.config(&before).start();
    gateway.rewrite_config(&file("port = 4711\naccess_log = 'stdout'", &origin, "/two"));
    let log = gateway.reload();
    for key in ["PORT: from \"0\" to \"4711\"", "ACCESS_LOG: from \"off\" to \"stdout\""] {
        let line = log.iter().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{key}: {log:#?}"));
        assert!(line.contains("WARN") && line.contains("takes a restart or an upgrade"), "{line}");
    }
    assert_eq!(gateway.get("/two", "ann").status, 200);
    // The next reload compares with what runs, not with what was asked for.
    gateway.rewrite_config(&file("port = 0\naccess_log = 'off'", &origin, "/two"));
    assert!(gateway.reload().iter().any(|line| line.contains("nothing to take over")));
}

#[test]
fn the_new_upstreams_name_is_resolved_before_its_first_request() {
    let (one, two) = (Origin::echo(), Origin::echo());
    let gateway = Gateway::builder().config(&file("", &one, "/one")).start();
    let named = file("", &two, "/two").replace("127.0.0.1", "localhost");
    gateway.rewrite_config(&named);
    gateway.reload();
    assert_eq!(gateway.get("/two", "ann").status, 200);
    gateway.rewrite_config(&file("", &one, "/one"));
    gateway.reload();
    assert_eq!(gateway.get("/one", "ann").status, 200);
}

#[test]
fn another_redis_takes_over_and_no_request_waits_for_it() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    let (one, two) = (Redis::start(), Redis::start_with(&["--requirepass", "hunter2"]));
    let builder = Gateway::builder().cores("2").everywhere(&origin).env("RATE_LIMIT_STORE", "redis");
    let builder = builder.env("RATE_LIMIT_RPS", "1000000").env("RATE_LIMIT_BURST", "1000000");
    let closed = "rate_limit_on_redis_failure = 'closed'\nredis_timeout = '2s'\n";
    let at = |redis: &Redis, more: &str| format!("{closed}redis_addr = '{}'\n{more}", redis.addr());
    let gateway = builder.config(&at(&one, "")).start();
    // Without Redis each of these would be refused.
    let load = Load::start(gateway.public, &Request::new("GET", "/api/v1/users/me").token("ann"), 2);
    for (redis, more, other) in [(&two, "redis_password = 'hunter2'\n", &one), (&one, "", &two)] {
        gateway.rewrite_config(&at(redis, more));
        let log = gateway.reload();
        assert!(log.iter().any(|line| line.contains("REDIS_PASSWORD: another secret")), "{log:#?}");
        let asked = |redis: &Redis| match redis.addr() == two.addr() {
            true => two.client().ask_after("hunter2", &["INFO", "commandstats"]),
            false => redis.cli(&["INFO", "commandstats"]),
        };
        let calls = |redis: &Redis| evaluations(&asked(redis));
        let before = calls(redis);
        load.goes_on();
        assert!(calls(redis) > before, "the new Redis is not asked");
        eventually("the old Redis is let go", || {
            let before = calls(other);
            load.goes_on();
            calls(other) == before
        });
    }
    let threads = gateway.threads();
    let (answers, failures) = load.stop();
    assert!(failures.is_empty(), "{answers} answers, {failures:#?}");
    assert_eq!(gateway.metric("redis_breaker_open"), 0);
    assert_eq!(gateway.admin("/readyz").text().lines().next(), Some("ready"));
    assert_eq!(gateway.threads(), threads);
    assert!(!gateway.log().concat().contains("hunter2"));
}

/// How often the script was called, by what Redis says of its commands.
fn evaluations(stats: &str) -> u64 {
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().expect("a number"))
}

#[test]
fn metrics_tell_which_configuration_every_core_applies() {
    let gateway = Gateway::builder().cores("2").config("body_timeout = '5s'\n").start();
    let versions = || (gateway.metric("config_version"), gateway.metric("config_version_wanted"));
    assert_eq!(versions(), (2, 1), "1 on each of two cores");
    for version in 2..5 {
        gateway.rewrite_config(&format!("body_timeout = '{version}s'\n"));
        gateway.reload();
        assert_eq!(versions(), (2 * version, version));
    }
    gateway.reload();
    assert_eq!(versions(), (8, 4), "nothing was new");
    assert!(!gateway.admin("/readyz").text().contains("configuration"));
}

#[test]
fn the_number_of_connections_follows() {
    let origin = echoing();
    let gateway = Gateway::builder().everywhere(&origin).config("max_connections = 1\n").start();
    let mut first = Socket::open(&gateway, "ann");
    assert_eq!(gateway.get("/nothing", "ann").code(), "overloaded");
    gateway.rewrite_config("max_connections = 2\n");
    gateway.reload();
    assert_eq!(gateway.get("/nothing", "ann").code(), "no_route");
    first.expect_echo("still here");
}

#[test]
fn a_reload_and_usr1_open_the_access_log_anew() {
    let origin = Origin::echo();
    let scratch = std::env::temp_dir().join(format!("realchat-it-{}-reopen.log", std::process::id()));
    let moved = scratch.with_extension("1");
    let _ = fs::remove_file(&scratch);
    let path = scratch.to_str().expect("UTF-8");
    let gateway = Gateway::builder().everywhere(&origin).env("ACCESS_LOG", path).start();
    for signal in [Signal::HUP, Signal::USR1] {
        fs::rename(&scratch, &moved).expect("the log is there");
        gateway.signal(signal);
        eventually("the file is there again", || scratch.exists());
        gateway.get("/api/v1/users/me", "ann");
        eventually("its line is in the new file", || {
            fs::read_to_string(&scratch).is_ok_and(|text| text.contains("/api/v1/users/me"))
        });
    }
    drop(gateway);
    let _ = (fs::remove_file(&scratch), fs::remove_file(&moved));
}

#[test]
fn the_demo_says_that_it_reads_nothing_again() {
    let gateway = Gateway::builder().start_with(&["demo"]);
    assert!(gateway.reload().iter().any(|line| line.contains("cannot reload the configuration")));
}

#[test]
fn a_hundred_reloads_leave_nothing_behind() {
    let (one, two) = (Origin::echo(), Origin::echo());
    let files = [file("body_timeout = '10s'", &one, "/x"), file("body_timeout = '20s'", &two, "/x")];
    let gateway = Gateway::builder().cores("2").config(&files[0]).start();
    let mut client = gateway.client();
    let mut round = |nth: usize| {
        gateway.rewrite_config(&files[nth % 2]);
        let log = gateway.reload();
        assert!(log.iter().any(|line| line.contains("in force on every core")), "{log:#?}");
        assert_eq!(client.send(to("/x")).read_response().status, 200);
    };
    // The allocator and the pools find their size first.
    (1..11).for_each(&mut round);
    let settled = || (gateway.fd_count(), gateway.threads());
    let (before, rss) = (settled(), gateway.rss_kib());
    (11..111).for_each(&mut round);
    eventually("descriptors and threads are as before", || settled() == before);
    let grown = gateway.rss_kib().saturating_sub(rss);
    assert!(grown < 2_048, "{grown} KiB more after 100 reloads");
}
