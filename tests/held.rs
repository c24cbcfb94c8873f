//! What slow and silent clients make the gateway hold: bounded, and given back.

use std::net::TcpStream;

use socket2::{Domain, SockRef, Socket, Type};

use crate::harness::*;

const ME: &str = "/api/v1/users/me";

/// A client whose kernel receives little that is not read.
fn narrow(gateway: &Gateway) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4 * 1024).expect("a small buffer");
    socket.connect(&gateway.public.into()).expect("the gateway listens");
    socket.set_nonblocking(true).expect("no waiting");
    socket.into()
}

/// Sends as much as the gateway takes at once.
fn push(mut client: &TcpStream, bytes: &[u8]) -> usize {
    std::io::Write::write(&mut client, bytes).unwrap_or(0)
}

#[test]
fn parts_of_heads_have_a_bound_and_the_oldest_go_first() {
    let gateway = Gateway::builder().env("MEMORY_BUDGET", "16MiB").start();
    let part =
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}", format!("X-Long: {}\r\n", "y".repeat(1_000)).repeat(28));
    let clients: Vec<TcpStream> = (0..200).map(|_| narrow(&gateway)).collect();
    for client in &clients {
        push(client, part.as_bytes());
    }
    eventually("some of them are closed", || gateway.metric("connections_gave_way_total") > 0);
    // An eighth of the budget; a block of each connection whose turn it is comes on top for a moment.
    eventually("the rest is within the bound", || gateway.metric("buffer_bytes_held") <= 2 << 20);
    let mut late = gateway.client();
    late.send("GET /healthz HTTP/1.1\r\n");
    assert_eq!(late.send("Host: a\r\n\r\n").read_response().status, 200, "a head in two parts");
    drop((clients, late));
    eventually("nothing is held", || gateway.metric("buffer_bytes_held") == 0);
    eventually("nobody is there", || gateway.metric("connections_open") == 0);
}

#[test]
fn clients_that_pipeline_and_read_nothing_hold_what_they_have_sent() {
    let origin =
        Origin::fixed(format!("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n{}", "d".repeat(2_000)));
    let gateway = Gateway::before(&origin);
    for (what, request) in [
        ("401", Request::new("GET", ME).field("X-Long", &"y".repeat(500))),
        ("200", Request::new("GET", ME).token("ann")),
    ] {
        let many = request.bytes().repeat(400);
        let clients: Vec<TcpStream> = (0..30).map(|_| narrow(&gateway)).collect();
        let mut sent = vec![0; clients.len()];
        let mut push_all = || {
            for (client, sent) in clients.iter().zip(&mut sent) {
                *sent += push(client, &many[*sent..]);
            }
            gateway.metric("requests_total")
        };
        let mut before = push_all();
        eventually("everybody is stuck", || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            before == std::mem::replace(&mut before, push_all())
        });
        let held = gateway.metric("buffer_bytes_held") / clients.len() as u64;
        // What was read of its requests, a block at most. The answer adds no second one.
        assert!(held <= 68 * 1024, "{what}: {held} bytes for each");
        drop(clients);
        eventually("nothing is held", || gateway.metric("buffer_bytes_held") == 0);
    }
}

#[test]
fn a_reader_that_stalls_leaves_little_in_the_kernel() {
    const BULK: usize = 64 << 20;
    let (told, taken) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::new(move |exchange| {
        exchange.read_request();
        let stream = exchange.stream().try_clone().expect("a second handle");
        SockRef::from(&stream).set_send_buffer_size(64 * 1024).expect("a small buffer");
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {BULK}\r\n\r\n"));
        stream.set_write_timeout(Some(std::time::Duration::from_secs(2))).expect("a timeout");
        let (piece, mut written) = ([b'd'; 16 * 1024], 0);
        while written < BULK {
            match std::io::Write::write(&mut &stream, &piece) {
                Ok(n) => written += n,
                // Nothing was taken for two seconds.
                Err(_) => break,
            }
        }
        told.lock().expect("no panic while locked").send(written).expect("the test waits");
        exchange.wait_closed();
    });
    let gateway = Gateway::before(&origin);
    let client = narrow(&gateway);
    push(&client, &Request::new("GET", ME).token("ann").bytes());
    let written = taken.recv_timeout(PATIENCE).expect("it stalls");
    // Two receive buffers, what is not sent yet, and one block: with the kernel's own bounds it is 10 MiB and more.
    assert!(written < 2 << 20, "{written} bytes");
}

#[test]
fn a_client_that_says_one_more_byte_and_goes_is_noticed() {
    let (origin, _release) = Origin::held();
    let gateway = Gateway::builder().everywhere(&origin).env("CLIENT_HALF_CLOSE", "abort").start();
    let mut client = gateway.client();
    client.send(Request::new("GET", ME).token("ann").bytes());
    eventually("the request is in flight", || origin.heads() == 1);
    client.send("G");
    drop(client);
    eventually("its place is free", || gateway.metric("requests_in_flight") == 0);
}

#[test]
fn a_client_that_half_closes_behind_a_long_body_gets_its_answer() {
    let origin = Origin::new(|exchange| {
        let head = exchange.read_head().expect("a head");
        // The body is still with the gateway and the client's kernel for longer than the gateway looks away.
        exchange.sleep_ms(2_500);
        exchange.read_body(&head).expect("the whole body");
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    let body = vec![b'b'; 4 << 20];
    client.send(Request::new("POST", ME).token("ann").body(&body).bytes());
    client.half_close();
    assert_eq!(client.read_response().text(), "done");
}

/// A client that pipelines what is free, reads nothing, and is stuck.
fn stuck(gateway: &Gateway) -> TcpStream {
    let client = narrow(gateway);
    let many = Request::new("GET", "/healthz").bytes().repeat(2_000);
    let (mut sent, mut before) = (0, None);
    eventually("it is stuck", || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        sent += push(&client, &many[sent..]);
        let now = (sent, gateway.metric("requests_total"));
        before.replace(now) == Some(now)
    });
    client
}

#[test]
fn clients_that_read_no_answer_kept_their_places_and_made_a_drain_last() {
    let gateway = Gateway::builder()
        .env("MAX_CONNECTIONS", "1")
        .env("SHUTDOWN_TIMEOUT", "60s")
        .env("BODY_TIMEOUT", "30s")
        .start();
    let first = stuck(&gateway);
    assert_eq!(gateway.ask(Request::new("GET", "/nothing")).status, 401, "a new connection gets its place");
    drop(first);
    let _second = stuck(&gateway);
    let begun = std::time::Instant::now();
    assert!(gateway.stop().success());
    assert!(begun.elapsed() < std::time::Duration::from_secs(45), "{:?}", begun.elapsed());
}
