//! The runbook, tried: for each of its sections an incident is provoked, and the figure that the section names moves.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::signer::{ISS, Signer, key_set};
use crate::harness::*;

const ME: &str = "/api/v1/users/me";

/// The sum of the samples with this beginning, in a scrape.
fn figure(gateway: &Gateway, sample: &str) -> f64 {
    let text = gateway.admin("/metrics").text();
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix("realchat_gateway_")?.strip_prefix(sample)?.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
}

#[test]
fn every_figure_of_the_runbook_exists() {
    let told = include_str!("../docs/runbook.md");
    let known = include_str!("../docs/metrics.md");
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let names: BTreeSet<&str> = told
        .split("realchat_gateway_")
        .skip(1)
        .map(|rest| &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())])
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let plain = name.trim_end_matches("_total").trim_end_matches("_bucket").trim_end_matches("_count");
        assert!(
            known.contains(&format!("`{plain}`")),
            "docs/runbook.md names {name}, docs/metrics.md does not"
        );
    }
}

#[test]
fn an_upstream_is_slow_or_failing() {
    let quick = Origin::echo();
    let slow = Origin::each(|_| {
        std::thread::sleep(Duration::from_millis(300));
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let toml = format!(
        "[upstreams.quick]\nurl = 'http://{}'\n[upstreams.slow]\nurl = 'http://{}'\n\
         [upstreams.dead]\nurl = 'http://127.0.0.1:{}'\n\
         [[route]]\nname = 'q'\npaths = ['/q']\nupstream = 'quick'\naccess = 'public'\n\
         [[route]]\nname = 's'\npaths = ['/s']\nupstream = 'slow'\naccess = 'public'\n\
         [[route]]\nname = 'd'\npaths = ['/d']\nupstream = 'dead'\naccess = 'public'\n",
        quick.address,
        slow.address,
        port_for_later()
    );
    let gateway = Gateway::builder().config(&toml).start();
    for (path, status) in [("/q", 200), ("/s", 200), ("/d", 502)] {
        for _ in 0..3 {
            assert_eq!(gateway.ask(Request::new("GET", path)).status, status, "{path}");
        }
    }
    // The slow one is slow by its own time, and the other is not.
    assert_eq!(figure(&gateway, "upstream_response_seconds_bucket{upstream=\"slow\",le=\"0.25\"}"), 0.0);
    assert_eq!(figure(&gateway, "upstream_response_seconds_count{upstream=\"slow\"}"), 3.0);
    assert_eq!(figure(&gateway, "upstream_response_seconds_count{upstream=\"quick\"}"), 3.0);
    // The dead one is not there, by its reason, and the fault is the gateway's to tell.
    assert_eq!(
        figure(&gateway, "upstream_connect_failures_total{upstream=\"dead\",reason=\"ECONNREFUSED\"}"),
        3.0
    );
    assert_eq!(figure(&gateway, "errors_total{code=\"upstream_unreachable\"}"), 3.0);
    let members = gateway.admin("/upstreams").text();
    assert!(members.contains("failures 3, failed connections 3"), "{members}");
}

#[test]
fn redis_is_down() {
    let (origin, redis) = (Origin::echo(), Redis::start());
    let builder = Gateway::builder().everywhere(&origin).env("RATE_LIMIT_STORE", "redis");
    // Patient: how soon Redis gets to run is this machine's matter.
    let builder = builder.env("REDIS_ADDR", &redis.addr()).env("REDIS_TIMEOUT", "10s");
    let gateway = builder.cores("2").start();
    assert_eq!(gateway.get(ME, "ann").status, 200);
    eventually("every core has Redis", || gateway.metric("redis_breaker_open") == 0);
    redis.kill();
    eventually("every core knows", || gateway.metric("redis_breaker_open") == 2);
    let readyz = || gateway.ask(Request::new("GET", "/readyz")).text();
    eventually("the gateway says that it is degraded", || readyz().starts_with("degraded"));
    gateway.wait_log("Redis is out of reach");
    let unlimited = gateway.metric("limit_unlimited_breaker_total");
    for _ in 0..5 {
        assert_eq!(gateway.get(ME, "ann").status, 200);
    }
    assert_eq!(gateway.metric("limit_unlimited_breaker_total"), unlimited + 5);
    assert!(gateway.metric("limit_decisions_total{limit=\"global\",outcome=\"undecided\"}") >= 5);
    redis.start_again(&[]);
    eventually("the cores notice by themselves", || gateway.metric("redis_breaker_open") == 0);
}

#[test]
fn a_reconnect_storm() {
    let origin = echoing();
    let gateway = Gateway::builder().cores("2").everywhere(&origin).start();
    let open = || -> Vec<Socket> { (0..250).map(|nth| Socket::open(&gateway, &format!("u{nth}"))).collect() };
    let sockets = open();
    eventually("all are open", || gateway.metric("tunnels_open") == 250);
    drop(sockets);
    eventually("all have gone", || gateway.metric("tunnels_open") == 0);
    // What ended them, and that they come back.
    assert_eq!(gateway.metric("tunnels_closed_total"), 250);
    let by_reason = gateway.admin("/metrics").text();
    let ended = by_reason
        .lines()
        .find(|line| line.starts_with("realchat_gateway_tunnels_closed_total{") && !line.ends_with(" 0"));
    assert!(ended.is_some_and(|line| line.contains("client") && line.ends_with(" 250")), "{ended:?}");
    let sockets = open();
    eventually("all are back", || gateway.metric("tunnels_opened_total") == 500);
    assert_eq!(gateway.metric("handshake_seconds_count"), 500);
    assert_eq!(gateway.metric("tunnel_age_seconds_count"), 250);
    assert_eq!(gateway.metric("handshakes_pending"), 0, "the delivery service keeps up");
    drop(sockets);
}

#[test]
fn a_core_is_hot() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().cores("2").everywhere(&origin).start();
    let text = gateway.admin("/metrics").text();
    let cores: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("realchat_gateway_ticks_total{core=\"")?.split('"').next())
        .collect();
    let busy = |core: &str| figure(&gateway, &format!("core_busy_seconds_total{{core=\"{core}\"}}"));
    let open = |core: &str| figure(&gateway, &format!("connections_open{{core=\"{core}\"}}"));
    let mut client = gateway.client();
    client.expect_open();
    let hot = *cores.iter().find(|core| open(core) == 1.0).expect("a core has the connection");
    let cold = *cores.iter().find(|core| **core != hot).expect("another one");
    let (hot_before, cold_before) = (busy(hot), busy(cold));
    let request = Request::new("GET", ME).token("ann").bytes();
    eventually("one connection fills one core", || {
        for _ in 0..200 {
            assert_eq!(client.send(&request).read_response().status, 200);
        }
        busy(hot) - hot_before > 0.1 && busy(hot) - hot_before > 3.0 * (busy(cold) - cold_before)
    });
    assert_eq!((open(hot), open(cold)), (1.0, 0.0));
}

#[test]
fn there_are_401s() {
    let (origin, old, new) = (Origin::echo(), Signer::new("old"), Signer::new("new"));
    let set = TempFile::set("runbook", &[old.jwk(), new.jwk()]);
    let config = format!(
        "[[issuer]]\nname = 'corp'\nissuer = '{ISS}'\naudiences = ['chat']\njwks_file = '{}'\n",
        set.path()
    );
    let gateway = Gateway::builder().config(&config).everywhere(&origin).start();
    let ask = |signer: &Signer| gateway.ask(Request::new("GET", ME).bearer(&signer.good())).status;
    assert_eq!((ask(&old), ask(&new)), (200, 200));
    let before = figure(&gateway, "unauthorized_total");
    // Somebody takes the old key out before its tokens have expired.
    std::fs::write(set.path(), key_set(&[&new])).expect("a file");
    gateway.reload();
    eventually("it is not in force any more", || ask(&old) == 401);
    assert_eq!(ask(&new), 200);
    assert!(figure(&gateway, "unauthorized_total") > before);
    let text = gateway.admin("/metrics").text();
    let reason = text
        .lines()
        .find(|line| line.starts_with("realchat_gateway_unauthorized_total{") && !line.ends_with(" 0"));
    assert!(reason.is_some_and(|line| line.contains("key")), "{reason:?}");
    assert!(!text.contains("tokens_verified_total{issuer=\"corp\",key=\"old\"}"), "it is not in force");
    assert!(figure(&gateway, "tokens_verified_total{issuer=\"corp\",key=\"new\"}") >= 1.0);
    let issuers = gateway.admin("/issuers").text();
    assert!(issuers.contains("keys: \"new\"\n"), "{issuers}");
}

#[test]
fn somebody_takes_too_much() {
    let origin = Origin::echo();
    let builder = Gateway::builder().everywhere(&origin).env("RATE_LIMIT_STORE", "memory");
    let gateway = builder
        .env("RATE_LIMIT_RPS", "0.01")
        .env("RATE_LIMIT_BURST", "5")
        .env("ACCESS_LOG", "stdout")
        .start();
    let mut flood = gateway.client();
    let request = Request::new("GET", ME).token("mallory").bytes();
    let statuses: Vec<u16> = (0..300).map(|_| flood.send(&request).read_response().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5);
    assert_eq!(gateway.get(ME, "ann").status, 200, "the others are not affected");
    assert_eq!(gateway.metric("requests_limited_total"), 295);
    assert_eq!(gateway.metric("limit_decisions_total{limit=\"global\",outcome=\"limited\"}"), 295);
    let status = gateway.admin("/status.json").json();
    assert_eq!(status["limited"][0]["name"], "mallory", "{}", status["limited"]);
    assert_eq!(status["talkers"][0]["name"], "127.0.0.1", "{}", status["talkers"]);
    let line = gateway.wait_stdout("\"limit\":\"global\"");
    assert!(line.contains("\"user\":\"mallory\""), "{line}");
}

#[test]
fn memory_or_descriptors_grow() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let files = || {
        let text = gateway.admin("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix("process_open_fds "));
        line.expect("a figure").parse::<u64>().expect("a number")
    };
    let before = files();
    let mut clients: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(gateway.public).expect("a connection")).collect();
    for client in &mut clients {
        std::io::Write::write_all(client, b"GET / HTTP/1.1\r\nHost: a\r\nX: y").expect("a connection");
    }
    eventually("they hold descriptors", || {
        gateway.metric("connections_open") == 50 && files() >= before + 50
    });
    eventually("and bytes", || gateway.metric("buffer_bytes_held") > 0);
    drop(clients);
    eventually("both go back", || gateway.metric("connections_open") == 0 && files() < before + 10);
    eventually("nothing is held", || gateway.metric("buffer_bytes_held") == 0);
}

#[test]
fn a_certificate_expires() {
    let gateway = Gateway::builder().over_tls().start();
    let left = figure(&gateway, "certificate_expiry_timestamp_seconds") - now() as f64;
    assert!(left > 0.0, "{left}");
}

#[test]
fn what_a_drain_waits_for() {
    let (origin, release) = Origin::held();
    let gateway = Gateway::builder().everywhere(&origin).env("SHUTDOWN_TIMEOUT", "300s").start();
    let mut stuck = gateway.client();
    stuck.send(Request::new("GET", ME).token("ann").bytes());
    eventually("it is in flight", || origin.heads() == 1);
    gateway.signal(Signal::TERM);
    eventually("the process drains", || gateway.metric("state{state=\"draining\"}") == 1);
    assert_eq!(gateway.metric("requests_in_flight"), 1);
    let line = gateway.wait_log("draining: still open");
    assert!(line.contains("requests=1") && line.contains("request "), "{line}");
    drop(release);
    assert_eq!(stuck.read_response().status, 200);
}

#[test]
fn a_reload_or_an_upgrade() {
    let (origin, release) = Origin::held();
    let builder = Gateway::builder().everywhere(&origin).config("body_timeout = '30s'\n");
    let gateway = builder.env("SHUTDOWN_TIMEOUT", "300s").upgradable().start();
    let begun = || {
        let text = gateway.admin("/metrics").text();
        text.lines()
            .find_map(|line| line.strip_prefix("process_start_time_seconds "))
            .expect("a figure")
            .to_owned()
    };
    let mut stuck = gateway.client();
    stuck.send(Request::new("GET", ME).token("ann").bytes());
    eventually("it is in flight", || origin.heads() == 1);
    gateway.rewrite_config("body_timeout = 'soon'\n");
    gateway.reload();
    assert_eq!(gateway.metric("config_last_reload_successful"), 0);
    assert_eq!(gateway.metric("config_version"), gateway.metric("config_version_wanted"));
    gateway.rewrite_config("body_timeout = '20s'\n");
    gateway.reload();
    assert_eq!(gateway.metric("config_last_reload_successful"), 1);
    let before = begun();
    gateway.upgrade().expect("an upgrade");
    assert_ne!(begun(), before, "the figures are those of the new process");
    eventually("the old one tells what it waits for", || {
        gateway.metric("predecessor_requests_in_flight") == 1
    });
    drop(release);
    assert_eq!(stuck.read_response().status, 200);
    eventually("it is gone", || gateway.metric("predecessor_draining") == 0);
}
