//! The operator's window: health, metrics, and the same strictness as on the public port.

use std::collections::{HashMap, HashSet};

use crate::harness::*;

fn admin_client(gateway: &Gateway) -> Client {
    Client::connect(gateway.admin)
}

fn ask_admin(gateway: &Gateway, request: Request) -> Response {
    admin_client(gateway).send(request.bytes()).read_response()
}

#[test]
fn health_is_on_both_ports_and_metrics_on_one() {
    let gateway = Gateway::builder().cores("2").start();
    assert_eq!(gateway.admin("/healthz").text(), "ok\n");
    let ready = gateway.admin("/readyz");
    assert_eq!((ready.status, ready.text().lines().next()), (200, Some("ready")));
    assert_eq!(ready.text().lines().filter(|line| line.starts_with("core ")).count(), 2);
    assert!(gateway.admin("/metrics").field("content-type").is_some_and(|t| t.contains("version=0.0.4")));

    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.ask(Request::new("GET", path)).status, 200, "{path}");
    }
    let metrics = gateway.ask(Request::new("GET", "/metrics"));
    assert_eq!((metrics.status, metrics.code().as_str()), (401, "token_missing"));
    assert_eq!(gateway.get("/metrics", "ann").status, 404);
    // What is not a health check is an ordinary request.
    assert_eq!(gateway.ask(Request::new("POST", "/healthz")).status, 401);
    assert_eq!(gateway.ask(Request::new("GET", "/healthz/x")).status, 401);
}

#[test]
fn the_window_knows_its_paths_and_reads_only() {
    let gateway = Gateway::builder().start();
    for path in ["/index.html", "/healthz/", "/metrics/x", "/api/v1/users/me"] {
        assert_eq!(gateway.admin(path).status, 404, "{path}");
    }
    for method in ["POST", "DELETE", "OPTIONS"] {
        let response = ask_admin(&gateway, Request::new(method, "/metrics"));
        assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let mut client = admin_client(&gateway);
    let head = client.send(Request::new("HEAD", "/metrics").bytes()).read_bodiless_response();
    assert_eq!(head.status, 200);
    assert!(head.field("content-length").is_some_and(|length| length != "0"));
    // Nothing of a body came: the next answer follows at once.
    client.expect_open();
}

#[test]
fn the_window_is_as_strict_as_the_public_port() {
    let gateway = Gateway::builder().start();
    for (raw, status) in [
        ("GET /healthz HTTP/1.1\nHost: a\n\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        (
            "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
        ("GET /../healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ] {
        let mut client = admin_client(&gateway);
        // Whatever follows is never taken for a request.
        let response = client.send(raw).send(Request::new("GET", "/healthz").bytes()).read_response();
        assert_eq!(response.status, status, "{raw:?}");
        assert!(response.head.lists("connection", "close"), "{raw:?}");
        client.expect_closed();
    }
    let long = format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let mut client = admin_client(&gateway);
    assert_eq!(client.send(long).read_response().status, 431);
}

#[test]
fn a_refusal_reaches_a_client_that_goes_on_sending() {
    let gateway = Gateway::builder().start();
    for _ in 0..5 {
        let mut client = admin_client(&gateway);
        client.send("GET / HTTP/1.1\r\n\r\n");
        for _ in 0..8 {
            client.send("x".repeat(65_536));
        }
        client.half_close();
        assert_eq!(client.read_response().status, 400);
        client.expect_closed();
    }
}

#[test]
fn a_body_ends_the_conversation() {
    let gateway = Gateway::builder().start();
    let mut client = admin_client(&gateway);
    let sneaky = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let response = client.send(Request::new("GET", "/healthz").body(sneaky).bytes()).read_response();
    assert_eq!(response.status, 200);
    client.expect_closed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::builder().start();
    let mut client = admin_client(&gateway);
    let requests =
        ["/healthz", "/readyz", "/nothing", "/healthz"].map(|path| Request::new("GET", path).bytes());
    client.send(requests.concat());
    let answers: Vec<u16> = (0..4).map(|_| client.read_response().status).collect();
    assert_eq!(answers, [200, 200, 404, 200]);
    client.send(Request::new("GET", "/healthz").field("Connection", "close").bytes());
    assert!(client.read_response().head.lists("connection", "close"));
    client.expect_closed();
}

#[test]
fn idle_connections_never_keep_a_probe_out() {
    let gateway = Gateway::builder().start();
    // Twice as many as there are places; nothing is ever sent on them, or half a head.
    let mut held: Vec<Client> = (0..128).map(|_| admin_client(&gateway)).collect();
    held.iter_mut().skip(1).step_by(2).for_each(|client| {
        client.send("GET /healthz HT");
    });
    let health = std::process::Command::new(PROGRAM)
        .args(["health", "--admin-addr", &gateway.admin.to_string()])
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&health.stdout);
    assert!(health.status.success() && said.starts_with("ready\n"), "{health:?}");
    for _ in 0..8 {
        assert_eq!(gateway.admin("/metrics").status, 200);
    }
    // The oldest ones are gone, and without an answer.
    held.iter_mut().take(32).for_each(Client::expect_gone);
    // The public port does not care.
    assert_eq!(gateway.ask(Request::new("GET", "/healthz")).status, 200);
}

#[test]
fn a_connection_that_is_served_stays_when_idle_ones_have_to_go() {
    let gateway = Gateway::builder().start();
    let mut served = admin_client(&gateway);
    let mut held = Vec::new();
    for _ in 0..4 {
        served.expect_open();
        held.extend((0..40).map(|_| admin_client(&gateway)));
        // Everybody so far has been accepted.
        assert_eq!(gateway.admin("/healthz").status, 200);
    }
    served.expect_open();
}

#[test]
fn a_connection_to_the_window_that_says_nothing_is_closed() {
    let gateway = Gateway::builder().start();
    let (mut silent, mut half) = (admin_client(&gateway), admin_client(&gateway));
    half.send("GET /healthz HTTP/1.1\r\n");
    let mut idle = admin_client(&gateway);
    idle.expect_open();
    silent.expect_gone();
    half.expect_gone();
    idle.expect_closed();
}

#[test]
fn the_window_answers_only_to_its_own_names() {
    let gateway = Gateway::builder().env("ADMIN_HOSTS", "gateway,metrics.example").start();
    let ask = |version: &str, fields: &str| {
        let request = format!("GET /metrics HTTP/{version}\r\n{fields}\r\n");
        admin_client(&gateway).send(request).read_response()
    };
    for host in ["127.0.0.1", "127.0.0.1:9901", "[::1]", "localhost:1", "Gateway:9901", "METRICS.example"] {
        assert_eq!(ask("1.1", &format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    assert_eq!(ask("1.0", "").status, 200);
    for host in
        ["evil.example", "evil.example:9901", "gateway.evil.example", "2130706433", "127.0.0.1.evil.example"]
    {
        let response = ask("1.1", &format!("Host: {host}\r\n"));
        assert_eq!(response.status, 421, "{host}");
        assert!(
            response.text().contains("ADMIN_HOSTS") && !response.text().contains("realchat_gateway_"),
            "{host}"
        );
        assert_eq!(ask("1.0", &format!("Host: {host}\r\n")).status, 421, "{host}");
    }
    // The target says more than the field.
    let absolute = "GET http://evil.example/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(admin_client(&gateway).send(absolute).read_response().status, 421);
}

#[test]
fn the_window_refuses_pages_of_another_origin() {
    let gateway = Gateway::builder().start();
    let ask = |origin: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: {origin}\r\n\r\n");
        admin_client(&gateway).send(request).read_response().status
    };
    for origin in ["http://127.0.0.1:9901", "http://localhost:9901", "https://chat.test"] {
        assert_eq!(ask(origin), 200, "{origin}");
    }
    for origin in
        ["http://evil.example", "null", "http://192.0.2.1", "file://", "http://127.0.0.1.evil.example"]
    {
        assert_eq!(ask(origin), 403, "{origin}");
    }
}

#[test]
fn a_reload_changes_the_names_of_the_window() {
    let gateway =
        Gateway::builder().without("ADMIN_HOSTS").config("admin_hosts = ['one', 'chat.test']\n").start();
    let ask = |host: &str| {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        admin_client(&gateway).send(request).read_response().status
    };
    assert_eq!((ask("one"), ask("two")), (200, 421));
    gateway.rewrite_config("admin_hosts = ['two', 'chat.test']\n");
    gateway.reload();
    assert_eq!((ask("one"), ask("two")), (421, 200));
}

#[test]
fn without_a_window_everything_else_works() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).env("ADMIN_ADDR", "off").start();
    assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
    assert_eq!(gateway.ask(Request::new("GET", "/readyz")).status, 200);
    assert_eq!(gateway.stop().code(), Some(0));
}

#[test]
fn metrics_are_prometheus_text() {
    let gateway = Gateway::builder().cores("2").env("ACCESS_LOG", "/dev/null").start();
    let text = gateway.admin("/metrics").text();
    let samples = parse(&text);
    for name in ["build_info", "driver", "requests_total", "connections_open", "listening"] {
        let name = format!("realchat_gateway_{name}");
        assert!(samples.iter().any(|sample| sample.name == name), "{name}");
    }
    assert!(samples.iter().any(|sample| sample.name == "realchat_gateway_access_log_lines_refused_total"));
    assert!(samples.len() > 40, "{text}");
}

#[test]
fn counters_move() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).start();
    let token = token("ann");
    let mut client = gateway.client();
    for _ in 0..3 {
        let request = Request::new("GET", "/api/v1/users/me").bearer(&token);
        assert_eq!(client.send(request.bytes()).read_response().status, 200);
    }
    assert_eq!(client.send(Request::new("GET", "/api/v1/users/me").bytes()).read_response().status, 401);
    assert_eq!(client.send(Request::new("GET", "/x").bearer(&token).bytes()).read_response().status, 404);
    // An exchange is recorded when its last byte is on its way.
    eventually("every request is counted", || gateway.metric("responses_total{class=\"4xx\"}") == 2);
    for (name, expected) in [
        ("requests_total", 5),
        ("requests_in_flight", 0),
        ("requests_admitted_total", 5),
        ("requests_unauthorized_total", 1),
        ("requests_limited_total", 0),
        ("responses_total{class=\"2xx\"}", 3),
        ("responses_total{class=\"5xx\"}", 0),
        ("token_cache_misses_total", 1),
        ("token_cache_hits_total", 3),
        ("connections_accepted_total", 1),
        ("connections_open", 1),
        ("upstream_connects_total", 1),
        ("upstream_reuses_total", 2),
        ("upstream_idle", 1),
        ("upstream_connect_failures_total", 0),
        ("exchanges_aborted_total", 0),
        ("listening", 1),
    ] {
        assert_eq!(gateway.metric(name), expected, "{name}");
    }
    drop(client);
    eventually("the connection is counted out", || gateway.metric("connections_open") == 0);
}

#[test]
fn failures_of_upstreams_are_counted() {
    let origin = Origin::once("garbage\r\n\r\n");
    let gateway = Gateway::builder().upstream("profile", &origin).start();
    assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 502);
    assert_eq!(gateway.get("/api/v1/messages", "ann").status, 502);
    eventually("both are counted", || gateway.metric("responses_total{class=\"5xx\"}") == 2);
    assert_eq!(gateway.metric("upstream_protocol_errors_total"), 1);
    assert!(gateway.metric("upstream_connect_failures_total") >= 1);
    assert_eq!((gateway.metric("upstream_idle"), gateway.metric("requests_in_flight")), (0, 0));
}

#[test]
fn a_scrape_does_not_wait_for_a_slow_client() {
    let gateway = Gateway::builder().start();
    let mut slow = admin_client(&gateway);
    slow.send("GET /metr");
    assert_eq!(gateway.admin("/metrics").status, 200);
    // It was in the middle of its request all the time.
    assert_eq!(slow.send("ics HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response().status, 200);
}

#[test]
fn epoll_serves_everything_and_says_so() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().cores("2").everywhere(&origin).env("IO_DRIVER", "epoll").start();
    let mut client = gateway.client();
    for user in ["ann", "bob"] {
        let request = Request::new("POST", "/api/v1/messages").token(user).body("x".repeat(100_000));
        let response = client.send(request.bytes()).read_response();
        assert_eq!((response.status, &response.json()["body_length"]), (200, &100_000.into()));
    }
    assert_eq!(gateway.ask(Request::new("GET", "/api/v1/users/me")).status, 401);
    assert_eq!(gateway.get("/ws", "ann").status, 426);
    let log = gateway.wait_log("gateway is listening");
    assert_eq!(log.matches(":epoll").count(), 2, "{log}");
    assert!(log.contains("control=epoll") && !log.contains("io_uring"), "{log}");
    assert!(!gateway.log().iter().any(|line| line.contains("io_uring is not available")), "epoll was chosen");
    let ready = gateway.admin("/readyz").text();
    assert_eq!(ready.matches("epoll").count(), 3, "{ready}");
    let metrics = gateway.admin("/metrics").text();
    assert_eq!(metrics.matches("driver=\"epoll\"").count(), 3, "{metrics}");
    assert!(!metrics.contains("io_uring\""));
    drop(client);
    assert_eq!(gateway.stop().code(), Some(0));
}

#[test]
fn without_redis_the_gateway_is_degraded_and_ready() {
    let gateway = Gateway::builder()
        .env("RATE_LIMIT_STORE", "redis")
        .env("REDIS_ADDR", "127.0.0.1:1")
        .cores("2")
        .start();
    eventually("it is degraded", || gateway.ask(Request::new("GET", "/readyz")).text() == "degraded");
    assert_eq!(gateway.ask(Request::new("GET", "/readyz")).status, 200);
    let window = gateway.admin("/readyz");
    assert_eq!((window.status, window.text().matches("redis out of reach").count()), (200, 2));
    let metrics = gateway.admin("/metrics").text();
    assert!(metrics.contains("\nrealchat_gateway_redis_breaker_open 2\n"), "on both cores: {metrics}");
    let line = gateway.wait_log("Redis is out of reach");
    assert!(line.contains("ERROR") && line.contains("core-") && line.contains("refused"), "{line}");
}

/// One line of numbers.
struct Sample {
    name: String,
    #[allow(dead_code)]
    labels: HashMap<String, String>,
}

/// The text exposition format 0.0.4, as far as it is used: any violation is a panic.
fn parse(text: &str) -> Vec<Sample> {
    let (mut helped, mut typed, mut seen, mut samples) =
        (HashSet::new(), HashMap::new(), HashSet::new(), Vec::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "HELP of {name}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(typed.insert(name.to_owned(), kind).is_none(), "TYPE of {name} twice");
        } else {
            let (id, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            assert!(seen.insert(id.to_owned()), "{id} twice");
            let (name, labels) = id.split_once('{').map_or((id, ""), |(name, rest)| {
                (name, rest.strip_suffix('}').expect("an end of the labels"))
            });
            let legal = |name: &str| {
                name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                    && !name.starts_with(|c: char| c.is_ascii_digit())
            };
            assert!(legal(name) && !name.is_empty(), "{line}");
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| name.strip_suffix(part));
            let family = whole.filter(|name| typed.get(*name) == Some(&"histogram")).unwrap_or(name);
            assert!(typed.contains_key(family) && helped.contains(family), "{name} comes before its TYPE");
            let pairs = labels.split(',').filter(|pair| !pair.is_empty());
            let labels: HashMap<_, _> = pairs
                .map(|pair| {
                    let (label, value) = pair.split_once('=').expect("a label's value");
                    assert!(legal(label) && value.starts_with('"') && value.ends_with('"'), "{line}");
                    (label.to_owned(), value.trim_matches('"').to_owned())
                })
                .collect();
            samples.push(Sample { name: name.to_owned(), labels });
        }
    }
    assert_eq!(helped.len(), typed.len());
    samples
}
