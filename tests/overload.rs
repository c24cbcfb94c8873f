//! More than there is room for: a clear no at once, never a queue without end.

use crate::harness::*;

fn a_request() -> Request {
    Request::new("GET", "/api/v1/users/me").token("ann")
}

#[test]
fn over_the_bound_of_an_upstream_a_request_is_refused_at_once_and_told_when_to_come_back() {
    let ((origin, release), other) = (Origin::held(), Origin::echo());
    let builder = Gateway::builder().everywhere(&origin).upstream("message", &other);
    let gateway = builder.env("UPSTREAM_MAX_IN_FLIGHT", "2").start();
    let mut busy: Vec<Client> = (0..2).map(|_| gateway.client()).collect();
    for (nth, client) in busy.iter_mut().enumerate() {
        client.send(a_request().bytes());
        eventually("the request is in flight", || origin.heads() == nth + 1);
    }
    let mut third = gateway.client();
    let refused = third.send(a_request().bytes()).read_response();
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));
    assert_eq!(refused.field("retry-after"), Some("1"));
    third.expect_open();
    assert_eq!(gateway.metric("upstream_overloads_total"), 1);
    // Another upstream has places of its own.
    assert_eq!(gateway.get("/api/v1/messages", "ann").status, 200);

    drop(release);
    for client in &mut busy {
        assert_eq!(client.read_response().text(), "done");
    }
    // Every place is free again, those of requests that failed included.
    for _ in 0..8 {
        assert_eq!(third.send(a_request().bytes()).read_response().status, 200);
    }
}

#[test]
fn one_address_took_all_places_of_an_upstream() {
    let (origin, release) = Origin::held();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("UPSTREAM_MAX_IN_FLIGHT", "8")
        .without("MAX_REQUESTS_PER_ADDRESS")
        .env("TRUSTED_PROXIES", "127.0.0.4")
        .start();
    let from = |last: u8| Client::connect_from([127, 0, 0, last], gateway.public);
    let mut busy = Vec::new();
    // Slow bodies count as well as slow answers.
    let slow_body =
        Request::new("POST", "/api/v1/messages").token("ann").field("Content-Length", "9").bytes();
    for (nth, request) in [a_request().bytes(), slow_body].iter().enumerate() {
        let mut client = from(2);
        client.send(request);
        eventually("the request is in flight", || origin.heads() == nth + 1);
        busy.push(client);
    }
    let mut third = from(2);
    let refused = third.send(a_request().bytes()).read_response();
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_requests_in_flight"));
    assert_eq!(refused.field("retry-after"), Some("1"));
    third.expect_open();
    // Behind a proxy the client is the one that it names; the proxy's own requests have no bound.
    let named = |client: &str| a_request().field("X-Forwarded-For", client).bytes();
    assert_eq!(from(4).send(named("127.0.0.2")).read_response().code(), "too_many_requests_in_flight");
    for (nth, request) in [named("2001:db8::1"), a_request().bytes()].iter().enumerate() {
        let mut client = from(4);
        client.send(request);
        eventually("another client has places of its own", || origin.heads() == nth + 3);
        busy.push(client);
    }
    drop(release);
    assert_eq!(busy.remove(0).read_response().text(), "done");
    assert_eq!(third.send(a_request().bytes()).read_response().status, 200, "its place is free again");
}

#[test]
fn a_client_that_goes_away_gives_its_place_back() {
    let (origin, _release) = Origin::held();
    let gateway = Gateway::builder().everywhere(&origin).env("UPSTREAM_MAX_IN_FLIGHT", "1").start();
    for nth in 0..3 {
        let mut client = gateway.client();
        client.send(a_request().bytes());
        eventually("the request is in flight", || origin.heads() == nth + 1);
        assert_eq!(gateway.get("/api/v1/users/me", "ben").status, 503);
        client.reset();
        eventually("its end is seen", || gateway.metric("requests_in_flight") == 0);
    }
}

#[test]
fn a_dead_upstream_takes_no_places() {
    let gateway = Gateway::builder().env("UPSTREAM_MAX_IN_FLIGHT", "1").start();
    for _ in 0..5 {
        assert_eq!(gateway.get("/api/v1/users/me", "ann").code(), "upstream_unreachable");
    }
}

#[test]
fn a_tunnel_holds_a_place_for_its_handshake_and_no_longer() {
    let origin = echoing();
    let gateway = Gateway::builder().everywhere(&origin).env("UPSTREAM_MAX_IN_FLIGHT", "1").start();
    let mut sockets: Vec<Socket> = (0..3).map(|_| Socket::open(&gateway, "ann")).collect();
    sockets.iter_mut().for_each(|socket| socket.expect_echo("hello"));
}
