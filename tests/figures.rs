//! The figures behind an incident: which key verified, which limit refused, how long tunnels live, and what a
//! process that was succeeded still has open.

use std::time::Duration;

use crate::harness::signer::{Signer, key_set};
use crate::harness::*;

#[test]
fn each_key_counts_the_signatures_that_it_verified_and_the_cache_counts_none() {
    let origin = Origin::echo();
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let set = key_set(&[&old, &new]);
    let keys = Origin::each(move |_| {
        let length = set.len();
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{set}")
            .into()
    });
    let toml = format!(
        "[[issuer]]\nname = 'id'\nissuer = 'https://id.example'\njwks_url = 'http://{}/'\n\
         [upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'all'\npaths = ['/*']\nupstream = 'a'\n",
        keys.address, origin.address
    );
    let gateway = Gateway::builder().config(&toml).start();
    let ask = |token: &str| gateway.ask(Request::new("GET", "/").bearer(token)).status;
    let expired = old.token("https://id.example", "ann");
    for _ in 0..3 {
        assert_eq!(ask(&expired), 200);
    }
    assert_eq!(ask(&new.token("https://id.example", "bob")), 200);
    assert_eq!(ask(&new.token("https://id.example", "cid")), 200);
    assert_eq!(ask(&token("dan")), 200);
    assert_eq!(
        ask(&Signer::new("new").token("https://id.example", "eve")),
        401,
        "a stranger's key of that name"
    );
    for (key, expected) in [
        ("issuer=\"id\",key=\"old\"", 1),
        ("issuer=\"id\",key=\"new\"", 2),
        ("issuer=\"default\",key=\"secret\"", 1),
    ] {
        assert_eq!(gateway.metric(&format!("tokens_verified_total{{{key}}}")), expected, "{key}");
    }
    assert_eq!(gateway.metric("tokens_verified_total"), 4);
}

#[test]
fn each_limit_counts_what_it_decided_and_the_access_log_names_the_one_that_refused() {
    let origin = Origin::echo();
    let toml = format!(
        "[upstreams.a]\nurl = 'http://{}'\n\
         [[route]]\nname = 'shop'\npaths = ['/shop']\nupstream = 'a'\n\
         limit = [{{ rate = 100, burst = 50 }}, {{ rate = 0.01, burst = 2, per = 'ip' }}]\n\
         [[route]]\nname = 'rest'\npaths = ['/*']\nupstream = 'a'\n",
        origin.address
    );
    let builder = Gateway::builder().config(&toml).env("RATE_LIMIT_STORE", "memory");
    let builder = builder.env("RATE_LIMIT_RPS", "0.01").env("RATE_LIMIT_BURST", "3");
    let gateway = builder.env("ACCESS_LOG", "stdout").start();
    for (user, expected) in [("ann", 200), ("bob", 200), ("cid", 429)] {
        assert_eq!(gateway.get("/shop", user).status, expected, "{user}");
    }
    for expected in [200, 200, 429] {
        assert_eq!(gateway.get("/else", "ann").status, expected);
    }
    for _ in 0..3 {
        assert_eq!(gateway.ask(Request::new("GET", "/else")).status, 401);
    }
    assert_eq!(gateway.ask(Request::new("GET", "/else")).status, 429);
    let decided = |limit: &str, outcome: &str| {
        gateway.metric(&format!("limit_decisions_total{{limit=\"{limit}\",outcome=\"{outcome}\"}}"))
    };
    let of =
        |limit: &str| [decided(limit, "admitted"), decided(limit, "limited"), decided(limit, "undecided")];
    assert_eq!(of("global"), [4, 1, 0]);
    assert_eq!(of("bad_credentials"), [3, 1, 0]);
    assert_eq!(of("shop:1"), [2, 0, 0]);
    assert_eq!(of("shop:2"), [2, 1, 0]);
    for limit in ["global", "bad_credentials", "shop:2"] {
        let line = gateway.wait_stdout(&format!("\"limit\":\"{limit}\""));
        assert!(line.contains("\"status\":429"), "{line}");
    }
    assert_eq!(gateway.stdout().iter().filter(|line| line.contains("\"limit\"")).count(), 3);
    // A limit that a reload removes is forgotten.
    gateway.rewrite_config(&toml.replace(", { rate = 0.01, burst = 2, per = 'ip' }", ""));
    gateway.reload();
    let text = gateway.admin("/metrics").text();
    assert!(text.contains("limit=\"shop:1\"") && !text.contains("limit=\"shop:2\""), "{text}");
}

#[test]
fn what_no_store_could_decide_is_counted_as_that() {
    let origin = Origin::echo();
    let nobody = port_for_later();
    for (on_failure, status) in [("open", 200), ("closed", 503)] {
        let builder = Gateway::builder().everywhere(&origin).env("RATE_LIMIT_STORE", "redis");
        let builder = builder.env("REDIS_ADDR", &format!("127.0.0.1:{nobody}"));
        let gateway = builder.env("RATE_LIMIT_ON_REDIS_FAILURE", on_failure).start();
        assert_eq!(gateway.get("/api/v1/users/me", "ann").status, status, "{on_failure}");
        let decided = "limit_decisions_total{limit=\"global\",outcome=\"undecided\"}";
        assert_eq!(gateway.metric(decided), 1, "{on_failure}");
        assert_eq!(gateway.metric("limit_decisions_total"), 1, "{on_failure}");
    }
}

#[test]
fn handshakes_have_their_time_and_tunnels_their_age() {
    let origin = echoing();
    let gateway = Gateway::before(&origin);
    let mut socket = Socket::open(&gateway, "ann");
    socket.expect_echo("hello");
    assert_eq!(gateway.metric("handshake_seconds_count"), 1);
    assert_eq!(gateway.metric("tunnel_age_seconds_count"), 0, "it is open");
    drop(socket);
    eventually("the tunnel is over", || gateway.metric("tunnel_age_seconds_count") == 1);
    assert_eq!(gateway.metric("tunnel_age_seconds_bucket{le=\"60\"}"), 1);
}

#[test]
fn the_new_process_shows_what_the_old_one_has_open_until_it_is_gone() {
    let (origin, release) = Origin::held();
    let builder = Gateway::builder().cores("2").everywhere(&origin).env("SHUTDOWN_TIMEOUT", "60s");
    let mut gateway = builder.upgradable().start();
    assert_eq!(gateway.metric("predecessor_draining"), 0);
    let mut busy = gateway.client();
    busy.send(Request::new("GET", "/api/v1/users/me").token("ann").bytes());
    eventually("the request is in flight", || origin.heads() == 1);
    gateway.upgrade().expect("an upgrade");
    eventually("the old process tells", || gateway.metric("predecessor_draining") == 1);
    assert_eq!(gateway.metric("predecessor_requests_in_flight"), 1);
    assert_eq!((gateway.metric("predecessor_tunnels_open"), gateway.metric("requests_in_flight")), (0, 0));
    assert!((30..=60).contains(&gateway.metric("predecessor_seconds_left")));
    eventually("it tells how old the oldest is", || gateway.metric("predecessor_oldest_seconds") >= 1);
    drop(release);
    assert_eq!(busy.read_response().text(), "done");
    assert_eq!(gateway.wait().code(), Some(0));
    for figure in ["draining", "requests_in_flight", "tunnels_open", "seconds_left", "oldest_seconds"] {
        assert_eq!(gateway.metric(&format!("predecessor_{figure}")), 0, "{figure}");
    }
}

#[test]
fn a_predecessor_that_is_killed_is_no_longer_shown() {
    let (origin, _release) = Origin::held();
    let builder = Gateway::builder().everywhere(&origin).env("SHUTDOWN_TIMEOUT", "60s");
    let gateway = builder.upgradable().start();
    let old = gateway.in_charge();
    let mut busy = gateway.client();
    busy.send(Request::new("GET", "/api/v1/users/me").token("ann").bytes());
    eventually("the request is in flight", || origin.heads() == 1);
    gateway.upgrade().expect("an upgrade");
    eventually("the old process tells", || gateway.metric("predecessor_requests_in_flight") == 1);
    rustix::process::kill_process(old, rustix::process::Signal::KILL).expect("it runs");
    let since = std::time::Instant::now();
    while gateway.metric("predecessor_draining") == 1 {
        assert!(since.elapsed() < Duration::from_secs(20), "it is gone");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(gateway.metric("predecessor_requests_in_flight"), 0);
}
