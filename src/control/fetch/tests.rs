//! Fetches from servers of every kind, on both drivers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::*;
use crate::clock;
use crate::net::Endpoint;
use crate::net::runtime::{Preference, ThreadRuntime};

/// A server that has one connection: reads the request's head, then does `answer`. It returns the head.
fn serve(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> (Endpoint, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = Endpoint::tcp(listener.local_addr().expect("an address"));
    let thread = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a request");
            head.push(byte[0]);
        }
        answer(&mut socket);
        String::from_utf8(head).expect("text")
    });
    (endpoint, thread)
}

fn says(answer: &'static [u8]) -> (Endpoint, JoinHandle<String>) {
    serve(move |socket| drop(socket.write_all(answer)))
}

/// What comes of a fetch within so many milliseconds, of a body of up to 1,000 bytes.
fn fetched_within(
    timeout_ms: u64,
    endpoints: &[Endpoint],
    preference: Preference,
) -> Result<Fetched, FetchError> {
    let (mut runtime, _) = ThreadRuntime::build(preference).expect("a runtime");
    runtime.block_on(async {
        let io = Rc::<Io>::default();
        let timers = io.timers.clone();
        monoio::spawn(async move {
            loop {
                monoio::time::sleep(Duration::from_millis(1)).await;
                timers.tick(clock::now_ms());
            }
        });
        let request = Get {
            endpoints,
            tls: None,
            authority: "keys.example:8080",
            target: "/keys?tenant=a",
            accept: "application/json",
            deadline_ms: clock::now_ms() + timeout_ms,
            body_bytes_max: 1_000,
        };
        get(&io, &request).await
    })
}

fn fetched(endpoint: &Endpoint) -> Result<Fetched, FetchError> {
    fetched_within(60_000, std::slice::from_ref(endpoint), Preference::Ring)
}

/// The cause of its failure.
fn failure(answer: &'static [u8]) -> &'static str {
    fetched(&says(answer).0).expect_err("no response").cause()
}

#[test]
fn a_request_says_what_it_wants_and_the_response_comes_back() {
    for preference in [Preference::Ring, Preference::Epoll] {
        let (endpoint, thread) =
            says(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=90\r\nContent-Length: 2\r\n\r\nok");
        let fetched = fetched_within(60_000, &[endpoint], preference).expect("a response");
        assert_eq!((fetched.status, fetched.max_age_s, &*fetched.body), (200, Some(90), &b"ok"[..]));
        let head = thread.join().expect("no panic").to_ascii_lowercase();
        assert!(head.starts_with("get /keys?tenant=a http/1.1\r\n"), "{head}");
        for field in ["host: keys.example:8080", "accept: application/json", "connection: close"] {
            assert_eq!(head.matches(&format!("\r\n{field}\r\n")).count(), 1, "{field}: {head}");
        }
    }
}

#[test]
fn a_server_that_keeps_the_connection_open_holds_nobody_up() {
    let (endpoint, thread) = serve(|socket| {
        let _ =
            socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        // Until the other end closes.
        assert_eq!(socket.read(&mut [0]).expect("the end"), 0);
    });
    assert_eq!(&*fetched(&endpoint).expect("a response").body, b"ok");
    thread.join().expect("the connection was closed");
}

#[test]
fn any_status_is_a_response_and_a_redirect_is_not_followed() {
    let (endpoint, _thread) = says(b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(fetched(&endpoint).expect("a response").status, 503);
    let (endpoint, _thread) =
        says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(fetched(&endpoint).expect("a response").status, 302);
    let (endpoint, _thread) = says(b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(fetched(&endpoint).expect("a response").status, 204);
}

#[test]
fn a_length_in_doubt_is_no_response() {
    assert_eq!(failure(b"HTTP/1.1 200 OK\r\n\r\n{\"keys\":[]}"), "garbled");
    assert_eq!(failure(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"), "garbled");
    let both =
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    assert_eq!(failure(both), "garbled");
}

#[test]
fn what_is_no_response_fails() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200",
        b"<html>no HTTP</html>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    ] {
        assert_eq!(failure(answer), "closed", "{}", String::from_utf8_lossy(answer));
    }
}

#[test]
fn a_body_over_the_bound_ends_the_fetch_however_it_is_framed() {
    let pour = |head: &'static [u8], piece: &'static [u8]| {
        let (endpoint, thread) = serve(move |socket| {
            let _ = socket.write_all(head);
            // Until the other end has had enough.
            while socket.write_all(piece).is_ok() {}
        });
        assert_eq!(fetched(&endpoint).expect_err("no response").cause(), "too_long");
        thread.join().expect("the connection was closed");
    };
    pour(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nfour\r\n");
    pour(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", &[b' '; 512]);
    pour(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n");
    let (endpoint, _thread) = serve(|socket| {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n");
        let _ = socket.write_all(&[b' '; 1001]);
    });
    assert_eq!(fetched(&endpoint).expect_err("no response").cause(), "too_long");
}

#[test]
fn a_server_that_stalls_ends_with_the_deadline() {
    for said in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"] {
        let (endpoint, thread) = serve(move |socket| {
            let _ = socket.write_all(said);
            assert_eq!(socket.read(&mut [0]).expect("the end"), 0);
        });
        let ended = fetched_within(200, &[endpoint], Preference::Ring);
        assert_eq!(ended.expect_err("no response").cause(), "timeout");
        thread.join().expect("the connection was closed");
    }
}

#[test]
fn the_first_address_that_accepts_is_asked() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let closed = Endpoint::tcp(closed);
    assert_eq!(fetched(&closed).expect_err("refused").cause(), "ECONNREFUSED");
    let (endpoint, _thread) = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let fetched = fetched_within(60_000, &[closed, endpoint], Preference::Ring);
    assert_eq!(fetched.expect("a response").status, 200);
}
