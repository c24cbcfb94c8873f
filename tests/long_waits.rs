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

// --- Clients that half-close

/// Longer than the gateway looks away from a client that waits for its response.
const A_WHILE_MS: u64 = 3_000;

#[test]
fn a_client_that_half_closes_gets_its_whole_response_however_long_it_takes() {
    let origin = Origin::new(|exchange| {
        while let Some(request) = exchange.read_request() {
            exchange.sleep_ms(A_WHILE_MS);
            if request.target() == "/stream" {
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo");
                exchange.sleep_ms(A_WHILE_MS);
                exchange.write("ne");
            } else {
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
            }
        }
    });
    let gateway =
        Gateway::builder().config(&file(&origin, &[route("slow", ""), route("stream", "")])).start();
    let asked = |bytes: Vec<u8>| {
        let mut client = gateway.client();
        client.send(bytes).half_close();
        client
    };
    let post = Request::new("POST", "/slow").body("a body").bytes();
    let mut clients = [get("/slow"), get("/stream"), post].map(asked);
    for client in &mut clients {
        assert_eq!(client.read_response().text(), "done");
        client.expect_closed();
    }
    // Two requests, and then nothing more: each of them is served.
    let mut pipelined = asked([get("/slow"), get("/slow")].concat());
    assert_eq!([pipelined.read_response().text(), pipelined.read_response().text()], ["done", "done"]);
    pipelined.expect_closed();
}

#[test]
fn a_client_that_half_closes_has_left_if_the_operator_says_so() {
    let (origin, _release) = Origin::held();
    let routes = [route("slow", "head_timeout = 0")];
    let gateway =
        Gateway::builder().config(&file(&origin, &routes)).env("CLIENT_HALF_CLOSE", "abort").start();
    let mut client = gateway.client();
    client.send(get("/slow"));
    eventually("the request is with its service", || origin.heads() == 1);
    client.half_close();
    eventually("the exchange is over", || gateway.metric("requests_in_flight") == 0);
    client.expect_gone();
    assert_eq!(gateway.metric("exchanges_aborted_total"), 1);
}

#[test]
fn a_reset_ends_a_request_also_after_a_half_close() {
    let (origin, _release) = Origin::held();
    let gateway = Gateway::builder().config(&file(&origin, &[route("slow", "head_timeout = 0")])).start();
    for requests in 1..=2 {
        let mut client = gateway.client();
        // Of two, the second one waits to be read when the reset comes.
        client.send(get("/slow").repeat(requests));
        eventually("the request is with its service", || origin.heads() == requests);
        client.half_close();
        client.reset();
        eventually("the exchange is over", || gateway.metric("requests_in_flight") == 0);
    }
}

#[test]
fn half_a_body_is_no_request() {
    let origin = Origin::fixed(OK);
    let gateway =
        Gateway::builder().config(&file(&origin, &[route("slow", "")])).env("ACCESS_LOG", "stdout").start();
    let mut client = gateway.client();
    client.send(Request::new("POST", "/slow").field("Content-Length", "10").raw_body("half").bytes());
    eventually("the request is with its service", || origin.heads() == 1);
    client.half_close();
    client.expect_gone();
    let line = gateway.wait_stdout("client_gone");
    assert!(line.contains("body_incomplete"), "{line}");
    assert!(origin.requests().is_empty());
}

#[test]
fn requests_of_clients_that_half_close_count_as_those_of_their_address() {
    let (origin, release) = Origin::held();
    let gateway = Gateway::builder()
        .config(&file(&origin, &[route("slow", "head_timeout = 0")]))
        .env("MAX_REQUESTS_PER_ADDRESS", "2")
        .start();
    let held: Vec<Client> = std::iter::repeat_with(|| gateway.client()).take(2).collect();
    for mut client in held {
        // Closed when it is dropped, which looks the same: nothing of it is left but its request.
        client.send(get("/slow"));
    }
    eventually("both are with their service", || origin.heads() == 2);
    assert_eq!(gateway.ask(Request::new("GET", "/slow")).code(), "too_many_requests_in_flight");
    drop(release);
    eventually("their places are free", || gateway.metric("requests_in_flight") == 0);
}

#[test]
fn a_client_may_half_close_behind_its_handshake() {
    let origin = Origin::new(|exchange| {
        if exchange.read_head().is_none() {
            return;
        }
        exchange.sleep_ms(A_WHILE_MS);
        exchange.write(switching(""));
        exchange.write(Frame::text("late").plain());
        exchange.wait_closed();
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    client.send(handshake().token("ann").bytes()).half_close();
    assert_eq!(client.read_head().word(1), "101");
    assert_eq!(client.read_some(), Frame::text("late").plain());
}
