//! The end of a connection in order.

use rustix::process::Signal;

use super::*;
use crate::harness::h2::{self, frame, head};

#[test]
fn a_drain_says_so_twice_and_finishes_what_has_begun() {
    let (origin, release) = Origin::held();
    let mut gateway = before(&origin);
    let mut client = connect(&gateway);
    client.get(1, ME, &token("ann"));
    eventually("the request is upstream", || origin.requests().len() == 1);
    gateway.signal(Signal::TERM);
    let first = client.wait(h2::GOAWAY);
    assert_eq!((first.code(), &first.payload[..4]), (h2::NO_ERROR, &[0x7f, 0xff, 0xff, 0xff][..]));
    // One that was on its way is served.
    client.get(3, ME, &token("ann"));
    let last = client.wait(h2::GOAWAY);
    let id = u32::from_be_bytes(last.payload[..4].try_into().expect("four bytes"));
    assert!(last.code() == h2::NO_ERROR && [1, 3].contains(&id), "{last:?}");
    client.get(5, ME, &token("ann"));
    assert_eq!(client.answer(5).reset, Some(h2::REFUSED_STREAM));
    drop(release);
    for stream in (1..=id).step_by(2) {
        assert_eq!(client.answer(stream).status(), 200);
    }
    client.expect_closed();
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn idle_connections_end_with_a_drain() {
    let origin = Origin::echo();
    let mut gateway = before(&origin);
    let mut client = connect(&gateway);
    assert_eq!(client.begin(1, &head("GET", "/healthz", &[]), true).answer(1).status(), 200);
    let mut fresh = connect(&gateway);
    gateway.signal(Signal::TERM);
    client.expect_goaway(h2::NO_ERROR);
    fresh.expect_goaway(h2::NO_ERROR);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn an_idle_connection_ends_in_time_and_one_with_a_request_does_not() {
    let (origin, release) = Origin::held();
    let gateway = builder(&origin).env("KEEP_ALIVE_TIMEOUT", "1s").env("REQUEST_HEAD_TIMEOUT", "1s").start();
    let mut busy = connect(&gateway);
    busy.get(1, ME, &token("ann"));
    connect(&gateway).expect_goaway(h2::NO_ERROR);
    let mut used = connect(&gateway);
    assert_eq!(used.begin(1, &head("GET", "/healthz", &[]), true).answer(1).status(), 200);
    used.expect_goaway(h2::NO_ERROR);
    busy.expect_alive();
    drop(release);
    assert_eq!(busy.answer(1).status(), 200);
}

#[test]
fn a_reload_holds_for_the_next_stream() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    client.send(frame(h2::PING, 0, 0, [1; 8]));
    assert_eq!(client.wait(h2::PING).payload, [1; 8]);
    gateway.reload();
    assert_eq!(client.begin(1, &head("GET", "/healthz", &[]), true).answer(1).status(), 200);
}

#[test]
fn a_reload_says_what_connections_may_speak_from_then_on() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).config("h2c = 'off'\n").start();
    let served = |client: &mut h2::H2Client, stream| {
        client.begin(stream, &head("GET", "/healthz", &[]), true).answer(stream).status()
    };
    let asked = |client: &mut Client| {
        client.send(Request::new("GET", "/healthz").bytes());
        client.read_response().status
    };
    let answer_to_preface = || {
        let mut client = Client::connect(gateway.public);
        client.send(h2::PREFACE);
        client.read_response().status
    };
    assert_eq!(answer_to_preface(), 505);
    let mut plain = Client::connect(gateway.public);
    assert_eq!(asked(&mut plain), 200);
    gateway.rewrite_config("h2c = 'on'\n");
    gateway.reload();
    let mut client = connect(&gateway);
    assert_eq!((served(&mut client, 1), asked(&mut plain)), (200, 200));
    gateway.rewrite_config("h2c = 'off'\n");
    gateway.reload();
    assert_eq!(answer_to_preface(), 505);
    // What a connection has begun with, it goes on with.
    assert_eq!((served(&mut client, 3), asked(&mut plain)), (200, 200));
}
