//! Sessions: handshakes that are slow, many or wrong, ends that are said and those that are not.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind};

use super::peer::Peer;
use crate::harness::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const ME: &str = "/api/v1/users/me";

fn me() -> Request {
    Request::new("GET", ME).token("ann")
}

fn failures(gateway: &Gateway, reason: &str) -> u64 {
    gateway.metric(&format!("tls_handshake_failures_total{{reason=\"{reason}\"}}"))
}

#[test]
fn a_session_is_counted_and_stands_in_the_access_log() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().everywhere(&origin).env("ACCESS_LOG", "stdout").over_tls().start();
    let mut first = Peer::connect(gateway.tls());
    assert_ne!(first.kind(), Some(HandshakeKind::Resumed));
    assert_eq!(first.ask(&me(), b"ok"), 200);
    let line = gateway.wait_stdout("tls_version");
    let record: serde_json::Value = serde_json::from_str(&line).expect("a line");
    assert_eq!((&record["tls_version"], &record["sni"]), (&"TLSv1.3".into(), &"chat.test".into()));
    assert!(record["tls_cipher"].as_str().is_some_and(|cipher| cipher.starts_with("TLS_AES_")), "{line}");
    assert_eq!(gateway.get(ME, "bob").status, 200);
    let plain = gateway.wait_stdout("\"user\":\"bob\"");
    assert!(!plain.contains("tls_") && !plain.contains("sni"), "{plain}");
    assert_eq!(gateway.metric("tls_handshakes_total{kind=\"full\"}"), 1);
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
    let mut kinds = Vec::new();
    // A memory of its own: other tests have tickets of other gateways with the same name.
    let mut config = (*tls::certificate().client).clone();
    config.resumption = Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    for _ in 0..2 {
        let mut peer = Peer::begin(gateway.tls());
        let name = ServerName::try_from("chat.test").expect("a name");
        peer.tls = ClientConnection::new(config.clone(), name).expect("a session");
        peer.finish_handshake();
        assert_eq!(peer.ask(&me(), b"ok"), 200);
        kinds.push(peer.kind());
    }
    assert_eq!(kinds[1], Some(HandshakeKind::Resumed));
    assert_eq!(gateway.metric("tls_handshakes_total{kind=\"resumed\"}"), 1);
}

#[test]
fn plain_http_on_the_port_for_tls_is_answered_in_plain_http() {
    let gateway = Gateway::builder().over_tls().start();
    let mut client = Client::connect(gateway.tls());
    let response = client.send(Request::new("GET", "/").bytes()).read_response();
    assert_eq!((response.status, response.code().as_str()), (400, "plain_http"));
    client.expect_closed();
    assert_eq!(failures(&gateway, "plain_http"), 1);
}

#[test]
fn what_is_no_handshake_ends_it_and_the_reason_is_counted() {
    let gateway = Gateway::builder().over_tls().start();
    for garbage in [&b"SSH-2.0-x\r\n"[..], &[22, 3, 1, 0, 4, 9, 9, 9, 9], &[0x80, 0x2e, 1, 0, 2]] {
        let mut client = Client::connect(gateway.tls());
        client.send(garbage).read_until_gone();
    }
    assert_eq!(failures(&gateway, "protocol"), 3);
    drop(TcpStream::connect(gateway.tls()).expect("the gateway listens"));
    eventually("it is seen to be gone", || failures(&gateway, "closed") == 1);
    eventually("nothing is left", || gateway.metric("connections_open") == 0);
    assert_eq!(gateway.metric("tls_handshakes_pending"), 0);
}

#[test]
fn an_answer_that_is_whole_ends_with_close_notify_and_one_that_is_cut_does_not() {
    for (answer, is_whole) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nokok", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nokok", false),
        ("HTTP/1.1 200 OK\r\n\r\nokok", true),
    ] {
        let origin = Origin::new(move |exchange| {
            if exchange.read_request().is_some() {
                exchange.write(answer);
            }
        });
        let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
        let mut peer = Peer::connect(gateway.tls());
        peer.send(me().field("Connection", "close").bytes());
        let (got, end) = peer.read_to_end();
        assert!(got.windows(4).any(|window| window == b"okok"), "{}", show(&got));
        match end {
            Ok(()) => assert!(is_whole, "{answer:?}"),
            Err(error) => {
                assert!(!is_whole && error.kind() == ErrorKind::UnexpectedEof, "{error} {answer:?}")
            }
        }
    }
}

#[test]
fn a_body_that_ends_without_close_notify_was_cut() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().everywhere(&origin).env("ACCESS_LOG", "stdout").over_tls().start();
    let mut peer = Peer::connect(gateway.tls());
    let request = Request::new("POST", "/api/v1/messages/1").token("ann");
    peer.send(request.raw("Transfer-Encoding: chunked\r\n").raw_body("5\r\nhello\r\n").bytes());
    peer.stream.shutdown(Shutdown::Write).expect("a half-close");
    let (got, end) = peer.read_to_end();
    assert!(got.is_empty() || end.is_err() || !got.starts_with(b"HTTP/1.1 200"), "{}", show(&got));
    let line = gateway.wait_stdout("\"user\":\"ann\"");
    assert!(line.contains("\"status\":499") || line.contains("\"status\":400"), "{line}");
}

#[test]
fn a_thousand_handshakes_that_are_held_hold_nobody_up() {
    open_many_files();
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
    let mut established = Peer::connect(gateway.tls());
    assert_eq!(established.ask(&me(), b"ok"), 200);
    let mut held = Vec::new();
    for nth in 0..1_100 {
        let mut peer = Peer::begin(gateway.tls());
        let hello = peer.records();
        peer.stream.write_all(&hello[..hello.len() * (nth % 3) / 3]).expect("room");
        held.push(peer);
    }
    eventually("all of them are pending", || gateway.metric("tls_handshakes_pending") == 1_100);
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(established.ask(&me(), b"ok"), 200);
    }
    assert_eq!(Peer::connect(gateway.tls()).ask(&me(), b"ok"), 200);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    drop(held);
    eventually("none is pending", || gateway.metric("tls_handshakes_pending") == 0);
    assert_eq!(failures(&gateway, "closed"), 1_100);
}

#[test]
fn a_handshake_that_stands_still_ends_in_time_and_there_is_a_bound_of_them() {
    open_many_files();
    let gateway = Gateway::builder().over_tls().start();
    let begun = Instant::now();
    let held: Vec<Peer> = (0..2_100).map(|_| Peer::begin(gateway.tls())).collect();
    eventually("those over the bound are closed", || failures(&gateway, "overloaded") >= 2_100 - 2_048);
    let over = failures(&gateway, "overloaded");
    assert!(over < 200, "{over}");
    eventually("the others too, after a while", || failures(&gateway, "timeout") == 2_100 - over);
    assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
    drop(held);
    assert_eq!(gateway.metric("connections_open"), 0);
}

#[test]
fn a_storm_of_handshakes_is_served_in_line_beside_an_established_connection() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
    let mut established = Peer::connect(gateway.tls());
    let mut peers: Vec<Peer> = (0..200).map(|_| Peer::begin(gateway.tls())).collect();
    for peer in &mut peers {
        let hello = peer.records();
        peer.stream.write_all(&hello).expect("room");
    }
    assert_eq!(established.ask(&me(), b"ok"), 200);
    for mut peer in peers {
        peer.finish_handshake();
        assert_eq!(peer.ask(&me(), b"ok"), 200);
    }
}

#[test]
fn a_client_that_reads_slowly_and_steadily_gets_everything() {
    // As in `slow`: the kernel calls the socket writable later than the timeout.
    const LENGTH: usize = 9 << 20;
    let origin = Origin::new(|exchange| {
        while exchange.read_request().is_some() {
            exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
            exchange.write(vec![b'd'; LENGTH]);
        }
    });
    let builder = Gateway::builder().everywhere(&origin).over_tls();
    let gateway = builder.env("BODY_TIMEOUT", "500ms").env("BODY_MIN_RATE", "20KiB").start();
    let mut peer = Peer::connect(gateway.tls());
    peer.send(me().bytes()).read_until(b"\r\n\r\n");
    let (mut came, begun) = (0, Instant::now());
    let mut due = 50_000;
    while came < LENGTH {
        let some = peer.read().expect("more").len();
        assert!(some > 0, "the end after {came} bytes and {:?}", begun.elapsed());
        came += some;
        if came > due && came < LENGTH / 4 {
            due += 50_000;
            thread::sleep(Duration::from_millis(50));
        }
    }
    assert_eq!(peer.ask(&Request::new("GET", "/healthz"), b"\r\n\r\n"), 200);
}

#[test]
fn new_keys_in_the_middle_of_a_body_change_nothing() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
    let mut peer = Peer::connect(gateway.tls());
    let body = vec![b'b'; 300_000];
    let request = Request::new("POST", "/api/v1/messages/1").token("ann").body(&body).bytes();
    for piece in request.chunks(70_000) {
        peer.send(piece);
        peer.tls.refresh_traffic_keys().expect("new keys");
    }
    let head = String::from_utf8(peer.read_until(b"\r\n\r\n")).expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn a_drain_says_goodbye_to_websockets_in_both_protocols() {
    let origin = echoing();
    let gateway = Gateway::builder().everywhere(&origin).over_tls().start();
    let mut peer = Peer::connect(gateway.tls());
    peer.send(handshake().token("ann").bytes()).read_until(b"\r\n\r\n");
    peer.send(Frame::text("hi").masked()).read_until(&Frame::text("hi").plain());
    gateway.signal(Signal::TERM);
    let mut arrived = Vec::new();
    let code = loop {
        match Frame::take(&mut arrived) {
            Some(frame) => break frame.code(),
            None => arrived.extend(peer.read().expect("a Close frame")),
        }
    };
    assert!(matches!(code, Some(1001 | 1012)), "{code:?}");
    peer.send(Frame::close(code.unwrap_or_default(), "").masked());
    peer.close();
    let (rest, end) = peer.read_to_end();
    assert!(rest.is_empty() && end.is_ok(), "{} {end:?}", show(&rest));
}

#[test]
fn a_full_core_tells_its_health_over_tls_and_refuses_others() {
    let origin = Origin::fixed(OK);
    let builder = Gateway::builder().everywhere(&origin).over_tls().env("MAX_CONNECTIONS", "1");
    let gateway = builder.env("BODY_TIMEOUT", "60s").start();
    // A request that is served gives way to nobody.
    let mut busy = Peer::connect(gateway.tls());
    busy.send(Request::new("POST", "/api/v1/messages/1").token("ann").field("Content-Length", "9").bytes());
    eventually("it is served", || gateway.metric("requests_in_flight") == 1);
    let mut probe = Peer::connect(gateway.tls());
    assert_eq!(probe.ask(&Request::new("GET", "/healthz"), b"\r\n\r\n"), 200);
    let mut other = Peer::connect(gateway.tls());
    assert_eq!(other.ask(&me(), b"\r\n\r\n"), 503);
}
