//! What the backends make of HTTP, good and bad.

use std::io::{Read, Write};
use std::time::Duration;

use super::super::bounds::BODY_BYTES_MAX;
use super::{ALICE, BACKENDS, answer, connect, exchange, get, read_head, request, status};

#[test]
fn reads_chunked_bodies_cut_anywhere() {
    let head = "POST /api/v1/users/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let raw = format!("{head}5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n");
    for cut in 1..raw.len() {
        let mut stream = connect(BACKENDS.profile);
        stream.set_nodelay(true).unwrap();
        stream.write_all(&raw.as_bytes()[..cut]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        stream.write_all(&raw.as_bytes()[cut..]).unwrap();
        assert_eq!(answer(&mut stream).1["body_bytes"], 15, "cut at {cut}");
    }
}

#[test]
fn keeps_the_connection_and_answers_pipelined_requests_in_order() {
    let mut stream = connect(BACKENDS.profile);
    let pair =
        [request("POST", "/api/v1/users/1/echo", "", "ab"), request("GET", "/api/v1/users/2/echo", "", "")];
    for _ in 0..3 {
        stream.write_all(&pair.concat()).unwrap();
        assert_eq!(answer(&mut stream).1["path"], "/api/v1/users/1/echo");
        assert_eq!(answer(&mut stream).1["path"], "/api/v1/users/2/echo");
    }
    stream.write_all(&request("GET", "/api/v1/users/3/echo", "Connection: x, Close\r\n", "")).unwrap();
    let (head, _) = answer(&mut stream);
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn head_has_the_length_and_no_body() {
    let mut stream = connect(BACKENDS.profile);
    stream.write_all(&request("HEAD", "/api/v1/users/me", ALICE, "")).unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("content-length: 0\r\n"), "{head}");
    stream.write_all(&request("GET", "/api/v1/users/me", ALICE, "")).unwrap();
    assert_eq!(answer(&mut stream).0, head);
}

#[test]
fn sends_100_before_the_body_it_asks_for() {
    let mut stream = connect(BACKENDS.profile);
    let head =
        "POST /api/v1/users/echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ok").unwrap();
    assert_eq!(answer(&mut stream).1["body_bytes"], 2);
}

#[test]
fn bodies_are_bounded_however_they_are_framed() {
    let path = "POST /api/v1/users/echo HTTP/1.1\r\nHost: h\r\n";
    let body = "x".repeat(BODY_BYTES_MAX);
    let fits = format!("{path}Content-Length: {BODY_BYTES_MAX}\r\n\r\n{body}");
    assert_eq!(exchange(BACKENDS.profile, fits.as_bytes()).1["body_bytes"], BODY_BYTES_MAX);
    let fits = format!("{path}Transfer-Encoding: chunked\r\n\r\n{BODY_BYTES_MAX:x}\r\n{body}\r\n0\r\n\r\n");
    assert_eq!(exchange(BACKENDS.profile, fits.as_bytes()).1["body_bytes"], BODY_BYTES_MAX);
    let announced = format!("{path}Content-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
    let one_chunk = format!("{path}Transfer-Encoding: chunked\r\n\r\nfffffff\r\n{body}xxx");
    let small_chunks =
        format!("{path}Transfer-Encoding: chunked\r\n\r\n{}", "8\r\n12345678\r\n".repeat(140_000));
    for raw in [announced, one_chunk, small_chunks] {
        assert_eq!(status(&exchange(BACKENDS.profile, raw.as_bytes()).0), 413);
    }
}

#[test]
fn heads_are_bounded() {
    let long_name = format!("GET / HTTP/1.1\r\n{}: x\r\n\r\n", "n".repeat(70_000));
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "v".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(97));
    for raw in [long_name, endless, many] {
        assert_eq!(status(&exchange(BACKENDS.profile, raw.as_bytes()).0), 431);
    }
}

#[test]
fn garbage_ends_its_connection_and_nothing_else() {
    let garbage: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\n\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET http:// HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    for raw in garbage {
        let (head, _) = exchange(BACKENDS.profile, raw);
        assert_eq!(status(&head), 400, "{}", raw.escape_ascii());
    }
    for cut_short in ["GET / HT", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", ""] {
        connect(BACKENDS.profile).write_all(cut_short.as_bytes()).unwrap();
    }
    assert_eq!(get(BACKENDS.profile, "/api/v1/users/me", ALICE).0, 200);
}

#[test]
fn http_1_0_gets_an_answer_and_a_close() {
    let mut stream = connect(BACKENDS.profile);
    stream.write_all(b"GET /api/v1/users/echo HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(status(&answer(&mut stream).0), 200);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}
