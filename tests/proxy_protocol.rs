//! The PROXY protocol: whom a load balancer names in front of the first byte is the client.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const ECHO_ROUTE: &str = "
[upstreams.auth]
url = 'http://nobody'
[[route]]
name = 'open'
paths = ['/open']
upstream = 'auth'
access = 'public'
";

/// Trusts the peers of this host but one, 127.0.0.9, and wants headers as `mode` says.
fn behind_a_balancer(origin: &Origin, mode: &str) -> Builder {
    Gateway::builder()
        .everywhere(origin)
        .env("PROXY_PROTOCOL", mode)
        .env("TRUSTED_PROXIES", "127.0.0.0/29")
        .config(ECHO_ROUTE)
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [SIGNATURE, &[0x20 | command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
}

fn headers() -> Vec<(Vec<u8>, &'static str)> {
    let mut over_ipv6 = [0; 36];
    over_ipv6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    over_ipv6[15] = 7;
    // A value behind the addresses: the host name that the balancer saw.
    let with_value = [&over_ipv6[..], b"\x02\0\x0cchat.example"].concat();
    vec![
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 40000 80\r\n".to_vec(), "2001:db8::7"),
        (version_2(1, 0x11, &[192, 0, 2, 8, 10, 0, 0, 1, 1, 2, 0, 80]), "192.0.2.8"),
        (version_2(1, 0x21, &with_value), "2001:db8::7"),
        // The balancer asks on its own account.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(0, 0, b""), "127.0.0.1"),
    ]
}

fn open() -> Vec<u8> {
    Request::new("GET", "/open").bytes()
}

/// Whom the service takes for the client of the request that it has received last.
fn told(origin: &Origin) -> Option<String> {
    origin.last().field("x-forwarded-for").map(str::to_owned)
}

#[test]
fn the_client_is_whom_the_header_names() {
    let origin = Origin::echo();
    let gateway = behind_a_balancer(&origin, "on").start();
    for (header, client) in headers() {
        // In one segment with the first request; then another request on the same connection.
        let mut connection = gateway.client();
        connection.send([&header[..], &open()].concat());
        assert_eq!(connection.read_response().status, 200);
        assert_eq!(told(&origin).as_deref(), Some(client), "{header:?}");
        assert_eq!(connection.send(open()).read_response().status, 200);
        assert_eq!(told(&origin).as_deref(), Some(client), "{header:?}");
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let origin = Origin::echo();
    let gateway = behind_a_balancer(&origin, "on").start();
    for (header, client) in headers() {
        let mut connection = gateway.client();
        connection.stream().set_nodelay(true).expect("an option");
        for byte in &header {
            connection.send([*byte]);
        }
        assert_eq!(connection.send(open()).read_response().status, 200);
        assert_eq!(told(&origin).as_deref(), Some(client));
    }
}

#[test]
fn what_the_named_client_says_of_others_is_not_believed() {
    let origin = Origin::echo();
    let gateway = behind_a_balancer(&origin, "on").start();
    let request = Request::new("GET", "/open").field("X-Forwarded-For", "203.0.113.1").bytes();
    let mut connection = gateway.client();
    connection.send([b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\n", &request[..]].concat());
    assert_eq!(connection.read_response().status, 200);
    assert_eq!(told(&origin).as_deref(), Some("192.0.2.7"));
    // A proxy of ours behind the balancer is believed.
    let mut connection = gateway.client();
    connection.send([b"PROXY TCP4 127.0.0.2 10.0.0.1 40000 80\r\n", &request[..]].concat());
    assert_eq!(connection.read_response().status, 200);
    assert_eq!(told(&origin).as_deref(), Some("203.0.113.1, 127.0.0.2"));
}

#[test]
fn a_connection_that_does_not_begin_with_a_header_is_closed() {
    let origin = Origin::echo();
    let gateway = behind_a_balancer(&origin, "on").env("REQUEST_HEAD_TIMEOUT", "1s").start();
    let all = [
        &open()[..],
        b"PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80 \r\nGET /open HTTP/1.1\r\nHost: chat.test\r\n\r\n",
        &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
        &version_2(1, 0x11, &[0; 11]),
        &version_2(1, 0x11, &[0; 60_000]),
        // Not in time.
        b"",
        b"PROXY TCP4 192.",
        &SIGNATURE[..5],
    ];
    for (failures, bytes) in (1..).zip(all) {
        let mut connection = gateway.client();
        connection.send(bytes);
        assert!(connection.read_until_gone().is_empty(), "{:?}", String::from_utf8_lossy(bytes));
        eventually("it is counted", || gateway.metric("proxy_header_failures_total") == failures);
    }
    assert_eq!(gateway.metric("connections_open"), 0);
    // A peer that is not a trusted proxy names nobody.
    let mut stranger = Client::connect_from([127, 0, 0, 9], gateway.public);
    stranger.send([b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\n", &open()[..]].concat());
    assert!(stranger.read_until_gone().is_empty());
    assert_eq!(origin.heads(), 0);
}

#[test]
fn others_are_served_directly_beside_trusted_proxies() {
    let origin = Origin::echo();
    let gateway = behind_a_balancer(&origin, "trusted").start();
    let mut direct = Client::connect_from([127, 0, 0, 9], gateway.public);
    assert_eq!(direct.send(open()).read_response().status, 200);
    assert_eq!(told(&origin).as_deref(), Some("127.0.0.9"));
    let named = [b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\n", &open()[..]].concat();
    let mut forger = Client::connect_from([127, 0, 0, 9], gateway.public);
    assert_eq!(forger.send(&named).read_response().status, 400);
    assert_eq!(gateway.client().send(&named).read_response().status, 200);
    assert_eq!(told(&origin).as_deref(), Some("192.0.2.7"));
}

#[test]
fn connections_are_counted_for_the_client_and_not_for_the_balancer() {
    let origin = Origin::echo();
    let gateway = behind_a_balancer(&origin, "on").cores("1").env("MAX_CONNECTIONS_PER_ADDRESS", "2").start();
    let from = |last: u8| {
        let mut connection = gateway.client();
        let header = format!("PROXY TCP4 192.0.2.{last} 10.0.0.1 40000 80\r\n");
        connection.send([header.as_bytes(), &open()].concat());
        let response = connection.read_response();
        (response.status, connection)
    };
    let held: Vec<(u16, Client)> = [1, 1, 2, 2].map(from).into();
    assert!(held.iter().all(|(status, _)| *status == 200));
    let (status, mut refused) = from(1);
    assert_eq!(status, 429);
    refused.expect_closed();
    assert_eq!(from(3).0, 200);
}

#[test]
fn a_reload_changes_what_the_next_connection_begins_with() {
    let origin = Origin::echo();
    let gateway = behind_a_balancer(&origin, "off").without("PROXY_PROTOCOL").start();
    let mut before = gateway.client();
    assert_eq!(before.send(open()).read_response().status, 200);
    gateway.rewrite_config(&format!("proxy_protocol = 'on'\n{ECHO_ROUTE}"));
    gateway.reload();
    assert_eq!(before.send(open()).read_response().status, 200);
    let named = [b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 80\r\n", &open()[..]].concat();
    assert_eq!(gateway.client().send(&named).read_response().status, 200);
    gateway.client().send(open()).expect_gone();
}

#[test]
fn the_header_stands_in_front_of_tls() {
    let origin = Origin::echo();
    let gateway = behind_a_balancer(&origin, "off").env("TLS_PROXY_PROTOCOL", "on").over_tls().start();
    for (header, client) in headers() {
        let mut socket = TcpStream::connect(gateway.tls()).expect("a listener");
        socket.set_read_timeout(Some(PATIENCE)).expect("an option");
        // The first flight of TLS follows in the same segment.
        let (mut session, mut first) = (tls::session(), header.clone());
        session.write_tls(&mut first).expect("a hello");
        socket.write_all(&first).expect("room");
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        stream.write_all(&open()).expect("a request");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
        assert_eq!(told(&origin).as_deref(), Some(client));
    }
    let mut without = TcpStream::connect(gateway.tls()).expect("a listener");
    let mut session = tls::session();
    let refused = rustls::Stream::new(&mut session, &mut without).write_all(&open());
    assert!(refused.is_err(), "a handshake without a header");
}
