//! What may take long: streams that are silent, long polls, and clients that have nothing more to say.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use crate::harness::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A public route to the upstream `a` with these keys, its path named like it.
fn route(name: &str, keys: &str) -> String {
    format!("[[route]]\nname = '{name}'\npaths = ['/{name}']\nupstream = 'a'\naccess = 'public'\n{keys}\n")
}

fn file(origin: &Origin, routes: &[String]) -> String {
    format!("[upstreams.a]\nurl = 'http://{}'\n{}", origin.address, routes.concat())
}

fn get(path: &str) -> Vec<u8> {
    Request::new("GET", path).bytes()
}

/// Streams of events: one at once, and after each word of the test another one. A stream ends with the connection.
fn streams() -> (Origin, Sender<()>) {
    let (go_on, told) = channel();
    let told = Mutex::new(told);
    let origin = Origin::new(move |exchange| {
        let Some(request) = exchange.read_request() else { return };
        exchange.write(HEAD);
        exchange.write("data: 1\n\n");
        if request.target() == "/plain" {
            return exchange.wait_closed();
        }
        let _ = told.lock().expect("no panic while locked").recv();
        exchange.write("data: 2\n\n");
    });
    (origin, go_on)
}

/// A client that has the first event.
fn listening(gateway: &Gateway, path: &str) -> Client {
    let mut client = gateway.client();
    let request = Request::new("GET", path).field("Connection", "close");
    assert_eq!(client.send(request.bytes()).read_head().word(1), "200");
    let mut seen = Vec::new();
    while !seen.ends_with(b"data: 1\n\n\r\n") {
        let some = client.read_some();
        assert!(!some.is_empty(), "it has ended: {}", show(&seen));
        seen.extend(some);
    }
    client
}

#[test]
fn a_stream_may_be_silent_for_as_long_as_its_route_says() {
    let (origin, go_on) = streams();
    let routes = [route("live", "idle_timeout = 0"), route("plain", "")];
    let gateway =
        Gateway::builder().config(&file(&origin, &routes)).env("UPSTREAM_IDLE_TIMEOUT", "300ms").start();
    let mut live = listening(&gateway, "/live");
    let cut = listening(&gateway, "/plain").read_until_gone();
    assert!(cut.is_empty(), "it has no end: {}", show(&cut));
    // The other one has been silent for longer.
    go_on.send(()).expect("the stream waits");
    let rest = live.read_to_close();
    assert!(rest.ends_with(b"data: 2\n\n\r\n0\r\n\r\n"), "{}", show(&rest));
}

#[test]
fn a_long_poll_may_take_as_long_as_its_route_says() {
    let (origin, release) = Origin::held();
    let routes =
        [route("poll", "head_timeout = 0"), route("plain", ""), route("short", "head_timeout = '100ms'")];
    let gateway =
        Gateway::builder().config(&file(&origin, &routes)).env("UPSTREAM_HEAD_TIMEOUT", "300ms").start();
    let mut poll = gateway.client();
    poll.send(get("/poll"));
    eventually("the poll is with its service", || origin.heads() == 1);
    for path in ["/plain", "/short"] {
        assert_eq!(gateway.ask(Request::new("GET", path)).code(), "upstream_timeout", "{path}");
    }
    drop(release);
    assert_eq!(poll.read_response().text(), "done");
}

#[test]
fn a_route_may_give_its_clients_more_time_for_a_body() {
    let origin = Origin::fixed(OK);
    let routes = [route("patient", "body_timeout = '0s'"), route("plain", "")];
    let gateway = Gateway::builder().config(&file(&origin, &routes)).env("BODY_TIMEOUT", "300ms").start();
    let begin = |path: &str| {
        let mut client = gateway.client();
        client.send(Request::new("POST", path).field("Content-Length", "4").raw_body("ab").bytes());
        client
    };
    let mut patient = begin("/patient");
    eventually("the patient one has begun", || origin.heads() == 1);
    assert_eq!(begin("/plain").read_response().code(), "request_body_timeout");
    assert_eq!(patient.send("cd").read_response().text(), "ok");
    assert_eq!(origin.last().body, b"abcd");
}

#[test]
fn a_client_that_leaves_a_stream_without_a_timeout_takes_it_along() {
    let (origin, go_on) = streams();
    let routes = [route("live", "idle_timeout = 0\nhead_timeout = 0\nbody_timeout = 0")];
    let gateway = Gateway::builder().config(&file(&origin, &routes)).start();
    listening(&gateway, "/live").reset();
    eventually("the exchange is over", || gateway.metric("requests_in_flight") == 0);
    eventually("its connection is closed", || gateway.metric("upstream_idle") == 0);
    drop(go_on);
}

#[test]
fn a_reload_changes_how_long_a_route_waits() {
    let (origin, release) = Origin::held();
    let with = |keys: &str| file(&origin, &[route("poll", keys)]);
    let gateway = Gateway::builder().config(&with("head_timeout = '100ms'")).start();
    assert_eq!(gateway.ask(Request::new("GET", "/poll")).code(), "upstream_timeout");
    gateway.rewrite_config(&with("head_timeout = '0'"));
    let log = gateway.reload();
    let told = |line: &String| line.contains("route poll: from ") && line.contains("head_timeout none");
    assert!(log.iter().any(told), "{log:#?}");
    let mut poll = gateway.client();
    poll.send(get("/poll"));
    eventually("both are with their service", || origin.heads() == 2);
    gateway.rewrite_config(&with("head_timeout = '1ms'"));
    let log = gateway.reload();
    assert!(log.iter().any(|line| line.contains("head_timeout \"1ms\"")), "{log:#?}");
    drop(release);
    assert_eq!(poll.read_response().text(), "done", "a reload with a mistake changes nothing");
}
