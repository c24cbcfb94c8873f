//! Health of members: probes, what the cores see, and what an operator sees of both.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;

use super::{Fleet, ask, config, eventually_answered_by};
use crate::harness::{Client, DnsServer, Gateway, Origin, Request, SOON, Says, eventually, port_for_later};

/// An origin on 127.0.0.2 and so on whose health is what a test says.
pub(super) struct Patient {
    origin: Origin,
    status: Arc<AtomicU16>,
}

impl Patient {
    fn new(last: u8, port: u16) -> Patient {
        let status = Arc::new(AtomicU16::new(200));
        let said = status.clone();
        let origin = Origin::at(([127, 0, 0, last], port).into(), move |exchange| {
            while let Some(request) = exchange.read_request() {
                let status = if request.target() == "/health" { said.load(Ordering::SeqCst) } else { 200 };
                exchange.write(format!("HTTP/1.1 {status} X\r\nContent-Length: 1\r\n\r\n{last}"));
            }
        });
        Patient { origin, status }
    }

    pub(super) fn says(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub(super) fn url(&self) -> String {
        format!("'http://{}'", self.origin.address)
    }
}

pub(super) fn pair() -> (Patient, Patient) {
    let port = port_for_later();
    (Patient::new(2, port), Patient::new(3, port))
}

pub(super) const HEALTH: &str =
    "health = { path = '/health', interval = '1s', timeout = '900ms', rise = 2, fall = 2 }";

/// The members of the only upstream as the page of the admin listener has them.
fn members(gateway: &Gateway) -> Vec<Value> {
    let page: Value = serde_json::from_str(&gateway.admin("/upstreams?format=json").text()).expect("JSON");
    page["upstreams"][0]["members"].as_array().expect("members").clone()
}

fn states(gateway: &Gateway) -> Vec<String> {
    members(gateway).iter().map(|member| member["state"].as_str().expect("a state").to_owned()).collect()
}

#[test]
fn a_member_whose_health_check_fails_is_out_and_back_when_it_succeeds() {
    let (one, two) = pair();
    let upstream = format!("urls = [{}, {}]\n{HEALTH}", one.url(), two.url());
    let gateway = Gateway::builder().config(&config(&upstream)).start();
    eventually_answered_by(&gateway, "23");
    assert_eq!(states(&gateway), ["usable", "usable"]);
    one.says(503);
    let line = gateway.wait_log("a member is out, requests go to others");
    assert!(
        line.contains("WARN") && line.contains("status 503") && line.contains("upstream=\"chat\""),
        "{line}"
    );
    assert!(line.contains(&one.origin.address.to_string()), "{line}");
    let out = &members(&gateway)[0];
    assert_eq!(out["state"], "out");
    assert_eq!(out["reason"], "health check: status 503");
    assert_eq!(gateway.metric("upstream_members{upstream=\"chat\",state=\"out\"}"), 1);
    let text = gateway.admin("/upstreams").text();
    assert!(text.starts_with("chat: 1 of 2 usable, from urls"), "{text}");
    one.says(200);
    let line = gateway.wait_log("a member is back");
    assert!(line.contains("INFO"), "{line}");
    let changes = gateway.log().iter().filter(|line| line.contains("a member is")).count();
    assert_eq!(changes, 2, "one line for each change: {:#?}", gateway.log());
    assert_eq!(members(&gateway)[0]["last_error"], "health check: status 503");
    assert_eq!(one.origin.last().field("host"), Some(one.origin.address.to_string().as_str()));
}

#[test]
fn a_member_that_is_ill_is_out_before_the_start_is_over() {
    let (one, two) = pair();
    one.says(500);
    let upstream = format!("urls = [{}, {}]\n{HEALTH}", one.url(), two.url());
    let gateway = Gateway::builder().config(&config(&upstream)).start();
    let (out, open) = ("a member is out", "gateway is listening");
    let said: Vec<bool> = gateway
        .log()
        .iter()
        .filter(|line| line.contains(out) || line.contains(open))
        .map(|line| line.contains(out))
        .collect();
    assert_eq!(said, [true, false]);
    assert_eq!(states(&gateway), ["out", "usable"]);
}

#[test]
fn a_start_waits_for_no_probe_that_is_not_answered() {
    // It accepts and says nothing.
    let silent = Origin::new(|exchange| exchange.wait_closed());
    let begun = std::time::Instant::now();
    let upstream = format!(
        "url = 'http://{}'\nhealth = {{ path = '/h', interval = '1h', timeout = '30m' }}",
        silent.address
    );
    let gateway = Gateway::builder().config(&config(&upstream)).start();
    assert!(begun.elapsed() < SOON);
    assert_eq!(states(&gateway), ["usable"], "nothing is known of it");
}

#[test]
fn a_reload_without_health_forgets_what_probes_have_said() {
    let (one, two) = pair();
    one.says(503);
    let upstream = format!("urls = [{}, {}]\n", one.url(), two.url());
    let gateway = Gateway::builder().config(&config(&format!("{upstream}{HEALTH}"))).start();
    eventually("it is out", || states(&gateway) == ["out", "usable"]);
    gateway.rewrite_config(&config(&upstream));
    gateway.reload();
    assert_eq!(states(&gateway), ["usable", "usable"]);
    eventually_answered_by(&gateway, "23");
}

#[test]
fn a_member_that_stands_still_is_out_until_it_goes_on() {
    let (first, second) = (Gateway::builder().start(), Gateway::builder().start());
    let upstream = format!(
        "urls = ['http://{}', 'http://{}']\n{}",
        first.public,
        second.public,
        HEALTH.replace("/health", "/healthz")
    );
    let gateway = Gateway::builder().config(&config(&upstream)).start();
    let state = |of: &Gateway| {
        let members = members(&gateway);
        let member = members.iter().find(|one| one["address"] == of.public.to_string()).expect("a member");
        member["state"].as_str().expect("a state").to_owned()
    };
    first.pause();
    eventually("it is out", || state(&first) == "out");
    assert_eq!(state(&second), "usable");
    first.resume();
    eventually("it is back", || state(&first) == "usable");
}

#[test]
fn readiness_depends_on_upstreams_only_if_it_is_said() {
    let one = Patient::new(2, 0);
    one.says(503);
    let upstream = format!("url = {}\n{HEALTH}", one.url());
    let ready = |gateway: &Gateway| {
        let page = gateway.admin("/readyz");
        (page.status, page.text().lines().next().unwrap_or_default().to_owned())
    };
    let relaxed = Gateway::builder().config(&config(&upstream)).start();
    eventually("the only member is out", || states(&relaxed) == ["out"]);
    assert_eq!(ready(&relaxed), (200, "ready".to_owned()));
    assert_eq!(ask(&relaxed).0, 200, "it is used for want of a better one");
    for required in ["upstreams", "chat"] {
        let gateway = Gateway::builder().config(&config(&upstream)).env("READY_REQUIRES", required).start();
        eventually("it is not ready", || ready(&gateway) == (503, "upstream_down".to_owned()));
        assert_eq!(gateway.ask(Request::new("GET", "/readyz")).status, 503, "on the public port as well");
        one.says(200);
        eventually("it is ready", || ready(&gateway) == (200, "ready".to_owned()));
        one.says(503);
    }
    let (code, _, told) =
        Gateway::builder().config(&config(&upstream)).env("READY_REQUIRES", "chat,nobody").run(&["run"]);
    assert_eq!((code, told.as_str()), (Some(2), "READY_REQUIRES: \"nobody\" is no upstream"));
}

#[test]
fn a_member_that_refuses_connections_is_ejected_for_all_cores_but_never_the_last_one() {
    let fleet = Fleet::new(1);
    // Nobody listens there.
    let upstream = format!("urls = ['http://127.0.0.2:{0}', 'http://127.0.0.9:{0}']", fleet.port);
    let gateway = Gateway::builder().cores("2").config(&config(&upstream)).start();
    eventually("it is ejected", || {
        assert_eq!(ask(&gateway), (200, "2".to_owned()), "nothing is lost");
        states(&gateway) == ["usable", "out"]
    });
    let out = &members(&gateway)[1];
    assert!(out["reason"].as_str().expect("a reason").ends_with("failures in a row"), "{out}");
    let line = gateway.wait_log("a member is out, requests go to others");
    assert!(line.contains(&format!("127.0.0.9:{}", fleet.port)), "{line}");
    assert_eq!(gateway.metric("upstream_ejections_total{upstream=\"chat\"}"), 1);
    assert!(gateway.metric("upstream_member_connect_failures_total{upstream=\"chat\"}") >= 3);
    let alone = Gateway::builder().config(&config("url = 'http://127.0.0.9:1'")).start();
    for _ in 0..20 {
        assert_eq!(ask(&alone).0, 502);
    }
    let line = alone.wait_log("a member fails");
    assert!(line.contains("WARN") && line.contains("127.0.0.9:1"), "{line}");
    assert_eq!(states(&alone), ["usable"]);
}

#[test]
fn a_container_that_was_replaced_is_found_at_once_whatever_the_answer_held() {
    let (fleet, dns) = (Fleet::new(1), DnsServer::start());
    // The address of before, at which nobody listens any more, for half an hour.
    dns.set("chat.test", Says::Addresses(vec![[127, 0, 0, 9].into()], 1_800));
    let gateway = fleet.gateway(&dns, &format!("url = 'http://chat.test:{}'", fleet.port)).start();
    dns.lead("chat.test", &[2]);
    let begun = std::time::Instant::now();
    eventually("requests are answered again", || ask(&gateway) == (200, "2".to_owned()));
    assert!(begun.elapsed() < SOON, "{:?}, and not when the answer has expired", begun.elapsed());
    assert!(dns.asked("chat.test") >= 2);
}

#[test]
fn failures_ask_a_name_again_once_a_second_and_not_with_each_of_them() {
    let (fleet, dns) = (Fleet::new(1), DnsServer::start());
    dns.set("chat.test", Says::Addresses(vec![[127, 0, 0, 9].into()], 1_800));
    let gateway = fleet.gateway(&dns, &format!("url = 'http://chat.test:{}'", fleet.port)).start();
    let (begun, before) = (std::time::Instant::now(), dns.asked("chat.test"));
    let mut failed = 0;
    eventually("it was asked again three times", || {
        failed += usize::from(ask(&gateway).0 == 502);
        dns.asked("chat.test") >= before + 3
    });
    assert!(failed > 20, "{failed} failures");
    let bound = begun.elapsed().as_secs() as usize + 2;
    assert!(dns.asked("chat.test") - before <= bound, "{} in {:?}", dns.asked("chat.test"), begun.elapsed());
}

#[test]
fn the_page_of_upstreams_follows_the_rules_of_the_admin_listener() {
    let one = Patient::new(2, 0);
    let gateway = Gateway::builder().config(&config(&format!("url = {}", one.url()))).start();
    assert_eq!(ask(&gateway), (200, "2".to_owned()));
    let ask = |request: Request| Client::connect(gateway.admin).send(request.bytes()).read_response();
    let text = ask(Request::new("GET", "/upstreams"));
    assert_eq!(text.field("content-type"), Some("text/plain; charset=utf-8"));
    assert!(text.text().starts_with("chat: 1 of 1 usable, from url, "), "{}", text.text());
    let json = ask(Request::new("GET", "/upstreams").field("Accept", "application/json"));
    assert_eq!(json.field("content-type"), Some("application/json"));
    let seen: Value = serde_json::from_str(&json.text()).expect("JSON");
    assert_eq!(seen["upstreams"][0]["name"], "chat");
    assert_eq!(seen["upstreams"][0]["members"][0]["cores"].as_array().map(Vec::len), Some(1));
    assert_eq!(ask(Request::new("POST", "/upstreams")).status, 405);
    let misled = Client::connect(gateway.admin)
        .send("GET /upstreams HTTP/1.1\r\nHost: evil.test\r\n\r\n")
        .read_response();
    assert_eq!(misled.status, 421);
    assert_eq!(gateway.ask(Request::new("GET", "/upstreams")).text(), "2", "the public port forwards it");
}

#[test]
fn a_health_check_goes_through_a_unix_socket_too() {
    let path = std::env::temp_dir().join(format!("realchat-health-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let url = path.to_str().expect("a path in UTF-8").replace('/', "%2F");
    let gateway = Gateway::builder().config(&config(&format!("url = 'http+unix://{url}'\n{HEALTH}"))).start();
    eventually("it is out", || states(&gateway) == ["out"]);
    assert_eq!(members(&gateway)[0]["reason"], "health check: status 503");
    std::fs::remove_file(&path).expect("our own socket");
}
