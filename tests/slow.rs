//! Clients that take their time: those that stand still are let go, those that only crawl are not, and
//! neither costs much.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;

const ME: &str = "/api/v1/users/me";
const LOGIN: &str = "/api/v1/auth/login";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Not sooner than the 300 ms that a test sets, but for the resolution of 50 ms; and sooner than the default of 10 s.
const DEFAULT_NOT_MET: std::ops::Range<Duration> = Duration::from_millis(250)..Duration::from_millis(9_900);

#[test]
fn a_connection_that_never_speaks_is_closed_without_a_word() {
    let gateway = Gateway::builder().env("REQUEST_HEAD_TIMEOUT", "300ms").start();
    let begun = Instant::now();
    gateway.client().expect_closed();
    let took = begun.elapsed();
    assert!(DEFAULT_NOT_MET.contains(&took), "{took:?}");
}

#[test]
fn a_head_that_stops_is_a_408() {
    let gateway = Gateway::builder().env("REQUEST_HEAD_TIMEOUT", "300ms").start();
    let begun = Instant::now();
    let mut client = gateway.client();
    let response = client.send("GET / HTTP/1.1\r\nHost: chat.te").read_response();
    assert_eq!((response.status, response.code().as_str()), (408, "request_head_timeout"));
    let took = begun.elapsed();
    assert!(DEFAULT_NOT_MET.contains(&took), "{took:?}");
    client.expect_closed();
}

#[test]
fn a_second_head_has_its_own_time_and_idleness_another() {
    let gateway = Gateway::builder().env("REQUEST_HEAD_TIMEOUT", "1s").start();
    let mut client = gateway.client();
    client.expect_open();
    thread::sleep(Duration::from_millis(1_500));
    client.expect_open();
    let response = client.send("GET / HT").read_response();
    assert_eq!(response.status, 408);

    let gateway = Gateway::builder().env("KEEP_ALIVE_TIMEOUT", "900ms").start();
    let mut client = gateway.client();
    let begun = Instant::now();
    client.expect_open();
    client.expect_closed();
    let took = begun.elapsed();
    assert!((Duration::from_millis(800)..SOON).contains(&took), "{took:?}");
}

/// A POST whose body of 100,000 bytes comes in pieces of this size, this long apart.
fn upload(gateway: &Gateway, piece: usize, apart_ms: u64) -> (Client, Duration) {
    let mut client = gateway.client();
    let begun = Instant::now();
    client.send(Request::new("POST", LOGIN).field("Content-Length", "100000").bytes());
    let mut left = 100_000;
    client.stream().set_nonblocking(true).expect("a look without waiting");
    while left > 0 {
        // An answer, or the end, before the body's end.
        if client.stream().peek(&mut [0]).is_ok() {
            break;
        }
        let count = piece.min(left);
        client.send(vec![b'a'; count]);
        left -= count;
        thread::sleep(Duration::from_millis(apart_ms));
    }
    client.stream().set_nonblocking(false).expect("waiting again");
    (client, begun.elapsed())
}

fn floor(origin: &Origin, timeout: &str, rate: &str) -> Gateway {
    Gateway::builder().everywhere(origin).env("BODY_TIMEOUT", timeout).env("BODY_MIN_RATE", rate).start()
}

#[test]
fn a_body_below_the_floor_is_a_408_though_it_keeps_moving() {
    let origin = Origin::fixed(OK);
    let gateway = floor(&origin, "500ms", "20KiB");
    // 2 KiB/s, hardly ever still for longer than 50 ms.
    let (mut client, took) = upload(&gateway, 100, 50);
    let response = client.read_response();
    assert_eq!((response.status, response.code().as_str()), (408, "request_body_timeout"));
    assert!((Duration::from_millis(450)..SOON).contains(&took), "{took:?}");
    eventually("the upstream connection is given up", || origin.open() == 0);
}

#[test]
fn a_body_above_the_floor_may_take_longer_than_the_timeout() {
    let origin = Origin::fixed(OK);
    // Both far from what the upload does, so that it may be slower than it should and stand still for a while.
    let gateway = floor(&origin, "2s", "3KiB");
    // 25 KiB/s: four seconds, twice the timeout.
    let (mut client, took) = upload(&gateway, 2_500, 100);
    assert_eq!(client.read_response().status, 200);
    assert!(took > Duration::from_millis(3_900), "{took:?}");
    assert_eq!(origin.last().body.len(), 100_000);
}

/// An origin whose answer has so many bytes.
fn bulk(length: usize) -> Origin {
    Origin::new(move |exchange| {
        while exchange.read_request().is_some() {
            exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            exchange.write(vec![b'd'; length]);
        }
    })
}

#[test]
fn a_client_that_stops_reading_is_cut_off() {
    let origin = bulk(64 << 20);
    let gateway = Gateway::builder().everywhere(&origin).env("BODY_TIMEOUT", "500ms").start();
    let fds = gateway.fd_count();
    let mut client = gateway.client();
    client.send(Request::new("GET", ME).token("ann").bytes());
    let begun = Instant::now();
    eventually("it is accepted", || gateway.metric("connections_accepted_total") == 1);
    eventually("it is cut off", || gateway.fd_count() <= fds);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    eventually("the upstream connection is given up", || origin.open() == 0);
    let head = client.read_head();
    assert_eq!(head.field("content-length"), Some((64 << 20).to_string().as_str()));
    let rest = client.read_until_gone();
    assert!(rest.len() < 64 << 20, "it cannot be complete");
}

#[test]
fn a_client_that_reads_slowly_and_steadily_gets_everything() {
    // More than the kernel's buffers hold, read at a pace well over the floor: the kernel calls the socket writable
    // only when a third of its buffer is free, which takes longer here than the timeout.
    // What stands between client and gateway in the tests over TLS has buffers and windows of its own; there
    // `tls::sessions` has such a client.
    if scheme() == "https" {
        return;
    }
    const LENGTH: u64 = 9 << 20;
    let origin = bulk(LENGTH as usize);
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("BODY_TIMEOUT", "500ms")
        .env("BODY_MIN_RATE", "20KiB")
        .start();
    let mut client = gateway.client();
    client.send(Request::new("GET", ME).token("ann").bytes());
    assert_eq!(client.read_head().word(1), "200");
    let (mut came, begun) = (0, Instant::now());
    while came < LENGTH {
        let slow = came < LENGTH / 4;
        let count = client.skip(if slow { 50_000 } else { 500_000 }.min(LENGTH - came));
        assert!(count > 0, "cut off after {came} bytes and {:?}", begun.elapsed());
        came += count;
        thread::sleep(Duration::from_millis(if slow { 50 } else { 0 }));
    }
    println!("{LENGTH} bytes in {:?}", begun.elapsed());
    client.expect_open();
}

#[test]
fn five_thousand_idle_connections_own_little_memory() {
    const COUNT: u64 = 5_000;
    open_many_files();
    let origin = Origin::fixed(OK);
    let gateway = Gateway::before(&origin);
    // What the first connections of all cost is not their own.
    let warm: Vec<Client> = (0..100).map(|_| gateway.client()).collect();
    let threads = gateway.threads();
    let before = gateway.rss_kib();
    let request = Request::new("GET", ME).token("ann").bytes();
    let mut idle = Vec::new();
    for _ in 0..COUNT {
        let mut client = gateway.client();
        // Each has been served, and so has had a buffer and heads once.
        client.stream().write_all(&request).expect("a request");
        assert_eq!(client.read_response().status, 200);
        idle.push(client);
    }
    let each = (gateway.rss_kib() - before) * 1024 / COUNT;
    println!("{each} bytes for each of {COUNT} idle connections");
    assert!(each < IDLE_BYTES_MAX, "{each} bytes for each idle connection");
    assert_eq!(gateway.threads(), threads, "no thread per connection");
    idle.iter_mut().step_by(500).for_each(Client::expect_open);
    drop((idle, warm));
    eventually("all are gone", || gateway.fd_count() < 100);
}

/// Resident memory of one idle connection in the gateway, in bytes: its task and its places in tables.
const IDLE_BYTES_MAX: u64 = 16 * 1024;
