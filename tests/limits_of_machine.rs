//! At the limits of the machine: too many connections, too few file descriptors.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;

const ME: &str = "/api/v1/users/me";

#[test]
fn a_connection_over_the_cap_is_told_so_and_closed() {
    let gateway = Gateway::builder().env("MAX_CONNECTIONS", "3").start();
    let mut clients: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(Client::expect_open);
    for _ in 0..5 {
        let mut over = gateway.client();
        // The answer does not wait for a request.
        let response = over.read_response();
        assert_eq!((response.status, response.code().as_str()), (503, "overloaded"));
        assert_eq!(response.field("retry-after"), Some("1"), "{response:?}");
        assert!(response.head.lists("connection", "close"), "{response:?}");
        over.expect_closed();
    }
    clients.iter_mut().for_each(Client::expect_open);
    drop(clients.pop());
    eventually("a place is free again", || {
        gateway.client().send(Request::new("GET", "/healthz").bytes()).read_response().status == 200
    });
}

#[test]
fn many_connections_over_the_cap_hold_nothing() {
    let gateway = Gateway::builder().env("MAX_CONNECTIONS", "1").start();
    let mut first = gateway.client();
    first.expect_open();
    let fds = gateway.fd_count();
    let over: Vec<Client> = (0..300).map(|_| gateway.client()).collect();
    // Those that are told keep their places only for a moment, the others not at all.
    eventually("the others are closed", || gateway.fd_count() <= fds);
    first.expect_open();
    drop(over);
}

#[test]
fn a_gateway_out_of_file_descriptors_says_so_and_goes_on() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway =
        Gateway::builder().everywhere(&origin).open_files(40).env("MAX_CONNECTIONS", "1000").start();
    let mut first = gateway.client();
    let ask = |client: &mut Client| client.send(Request::new("GET", ME).token("ann").bytes()).read_response();
    assert_eq!(ask(&mut first).status, 200);

    let crowd: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(gateway.public).expect("a queue")).collect();
    let is_said = |line: &String| line.contains("cannot accept connections");
    eventually("it says so", || gateway.log().iter().any(is_said));

    let (cpu, begun) = (gateway.cpu_time(), Instant::now());
    while begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(ask(&mut first).status, 200, "a connection that is there is served");
        thread::sleep(Duration::from_millis(50));
    }
    let cpu = gateway.cpu_time() - cpu;
    assert!(cpu < Duration::from_millis(300), "{cpu:?} of processor time in a second of waiting");
    assert_eq!(gateway.log().iter().filter(|line| is_said(line)).count(), 1, "said once");

    drop(crowd);
    eventually("it recovers", || gateway.fd_count() < 35);
    assert_eq!(gateway.get(ME, "ann").status, 200);
}

#[test]
fn a_small_limit_of_files_leaves_room_for_upstreams() {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    // No cap is set: it follows from the limit.
    let gateway = Gateway::builder().everywhere(&origin).open_files(256).start();
    let mut clients: Vec<Client> = (0..400).map(|_| gateway.client()).collect();
    let request = Request::new("GET", ME).token("ann").field("Connection", "close").bytes();
    let mut served = 0;
    for client in &mut clients {
        let answer = client.send(&request).read_until_gone();
        let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 503 ");
        assert!(refused || answer.starts_with(b"HTTP/1.1 200 "), "{}", show(&answer));
        served += usize::from(!refused);
    }
    assert!(served > 0, "nobody was served");
    assert!(!gateway.log().iter().any(|line| line.contains("cannot accept")), "{:?}", gateway.log());
}
