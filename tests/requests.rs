//! What the gateway makes of requests, HTTP/1.1 and 1.0: one meaning, or a refusal.

use std::io::ErrorKind;

use crate::harness::*;

/// A public route, so that what is refused here is refused for its form.
const LOGIN: &str = "/api/v1/auth/login";

/// A public POST with these field lines (CRLF included) and these bytes after the head.
fn login(fields: &str, body: &str) -> Vec<u8> {
    Request::new("POST", LOGIN).raw(fields).raw_body(body).bytes()
}

/// Each of these bodies or heads gets the status and the end of the connection; no request reaches the origin.
#[track_caller]
fn none_passes(requests: impl IntoIterator<Item = Vec<u8>>, statuses: impl Statuses + Copy) {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for raw in requests {
        gateway.refuses(&raw, statuses, None, Then::Closes);
        assert_eq!(origin.requests().len(), 0, "passed: {}", show(&raw));
    }
}

/// Each of these passes with the same body.
#[track_caller]
fn each_passes(requests: impl IntoIterator<Item = Vec<u8>>, body: &str) {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for raw in requests {
        let mut client = gateway.client();
        let response = client.send(&raw).read_response();
        assert_eq!(response.status, 200, "{} got {response:?}", show(&raw));
        assert_eq!(origin.last().body, body.as_bytes(), "{}", show(&raw));
        client.expect_open();
    }
}

// --- Content-Length

#[test]
fn refuses_content_length_with_transfer_encoding() {
    let cl_te = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let te_cl = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
    none_passes(
        [cl_te, te_cl].map(|fields| login(fields, "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")),
        400,
    );
}

#[test]
fn refuses_two_content_lengths() {
    let fields = ["Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\ncontent-length: 6\r\n"];
    none_passes(fields.map(|fields| login(fields, "hello!")), 400);
}

#[test]
fn refuses_a_content_length_that_is_not_one_plain_number() {
    let values = [
        "5, 5",
        "5,5",
        "5, 6",
        "5,",
        ",5",
        "+5",
        "-5",
        "-0",
        "5 5",
        "0x5",
        "5a",
        "a",
        "5.0",
        "5e0",
        "",
        "5;",
        "\"5\"",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551619",
        "99999999999999999999999",
    ];
    none_passes(values.map(|value| login(&format!("Content-Length: {value}\r\n"), "hello")), 400);
}

#[test]
fn sends_the_parsed_content_length_upstream() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let response = gateway.client().send(login("Content-Length: \t5 \t\r\n", "hello")).read_response();
    assert_eq!((response.status, origin.last().field("content-length")), (200, Some("5")));
}

#[test]
fn refuses_a_body_over_its_bound() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).env("BODY_MAX_BYTES", "10").start();
    gateway.refuses(login("Content-Length: 11\r\n", ""), 413, None, Then::Either);
    gateway.refuses(
        login("Transfer-Encoding: chunked\r\n", "b\r\nhello world\r\n0\r\n\r\n"),
        413,
        None,
        Then::Either,
    );
    assert_eq!(origin.requests().len(), 0);
}

// --- Transfer-Encoding

#[test]
fn refuses_any_coding_but_one_chunked() {
    let values = [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "xchunked",
        "chunkedx",
        "x-chunked",
        "identity",
        "identity, chunked",
        "chunked, identity",
        "\"chunked\"",
        "chunked;q=1",
        "chunked,",
        ",chunked",
        "",
        "chunke",
        "chunked chunked",
        "deflate",
        "compress",
    ];
    let requests = values.map(|value| login(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n"));
    none_passes(requests, [400, 501]);
}

#[test]
fn refuses_two_transfer_encodings() {
    let fields = [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    ];
    none_passes(fields.map(|fields| login(fields, "0\r\n\r\n")), [400, 501]);
}

#[test]
fn refuses_white_space_that_is_not_optional_white_space_around_a_coding() {
    none_passes(
        ["\x0b", "\x0c", "\x00"].map(|c| login(&format!("Transfer-Encoding: {c}chunked\r\n"), "0\r\n\r\n")),
        400,
    );
}

#[test]
fn refuses_transfer_encoding_in_http_1_0() {
    let raw = format!("POST {LOGIN} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    none_passes([raw.into_bytes()], 400);
}

#[test]
fn keeps_chunked_in_any_case_and_with_white_space_around_it() {
    let values = ["chunked", "Chunked", "cHUNKED", " chunked", "\tchunked", "chunked \t "];
    let body = "5\r\nhello\r\n0\r\n\r\n";
    each_passes(values.map(|value| login(&format!("Transfer-Encoding:{value}\r\n"), body)), "hello");
}

// --- Chunks

fn chunked(body: &str) -> Vec<u8> {
    login("Transfer-Encoding: chunked\r\n", body)
}

#[test]
fn refuses_a_chunk_size_that_is_not_plain_hexadecimal() {
    let sizes =
        ["", "+5", "-5", "0x5", "5 ", " 5", "5\t", "g", "5g", "5,", "00000000000000005", "10000000000000005"];
    none_passes(sizes.map(|size| chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n"))), 400);
}

#[test]
fn refuses_a_chunk_size_out_of_range() {
    none_passes(
        ["FFFFFFFFFFFFFFFF", "8000000000000000"].map(|size| chunked(&format!("{size}\r\nhello"))),
        [400, 413],
    );
}

#[test]
fn refuses_a_broken_last_chunk() {
    let ends = ["\r\n\r\n", "-0\r\n\r\n", "0 \r\n\r\n", "0\n\r\n", "0x0\r\n\r\n", "0\r\n\n", "0\r\r\n\r\n"];
    none_passes(ends.map(|end| chunked(&format!("5\r\nhello\r\n{end}"))), 400);
}

#[test]
fn refuses_a_bare_line_feed_in_a_size_line() {
    let bodies = [
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
    ];
    none_passes(bodies.map(chunked), 400);
}

#[test]
fn refuses_chunk_data_without_its_crlf() {
    let bodies = [
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\rX0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
    ];
    none_passes(bodies.map(chunked), 400);
}

#[test]
fn refuses_an_extension_over_its_bound() {
    none_passes([chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(1000)))], 400);
}

#[test]
fn drops_chunk_extensions() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let response = gateway.client().send(chunked("5;name=value\r\nhello\r\n0;last\r\n\r\n")).read_response();
    let received = origin.last();
    assert_eq!((response.status, received.body.as_slice()), (200, b"hello".as_slice()));
    assert!(!show(&received.raw).contains("name=value") && !show(&received.raw).contains(";last"));
}

#[test]
fn keeps_chunk_sizes_of_sixteen_digits_and_any_case() {
    let bodies = [
        "0000000000000005\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n",
        "A\r\nhelloworld\r\n0\r\n\r\n",
        "a\r\nhelloworld\r\n000\r\n\r\n",
    ];
    each_passes(bodies.map(chunked), "helloworld");
}

// --- Trailers

#[test]
fn drops_trailers() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let trailers = "X-Sum: 1\r\nX-Internal-User-Id: root\r\nContent-Length: 9\r\nAuthorization: Bearer x\r\n";
    let mut client = gateway.client();
    let response = client.send(chunked(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n"))).read_response();
    assert_eq!(response.status, 200);
    let received = origin.last();
    assert_eq!(received.trailers, []);
    assert!(received.all("x-internal-user-id").is_empty() && received.all("x-sum").is_empty());
    client.expect_open();
}

#[test]
fn refuses_trailers_over_their_bound() {
    none_passes([chunked(&format!("0\r\nX-Long: {}\r\n\r\n", "a".repeat(20_000)))], [400, 431]);
}

#[test]
fn refuses_a_trailer_that_is_no_field() {
    none_passes(
        ["no colon", " folded: 1", "a b: 1", ": 1", "a : 1"]
            .map(|line| chunked(&format!("0\r\n{line}\r\n\r\n"))),
        400,
    );
}

// --- The form of a head

#[test]
fn refuses_field_lines_that_two_parsers_could_read_differently() {
    let lines = [
        "X-A: a\rb\r\n",
        "X-A: a\r\r\n",
        "X-A: a\n",
        "X-A: a\nX-B: b\r\n",
        "X-A: a\0b\r\n",
        "X-A: \x01\r\n",
        "X-A: \x0b\r\n",
        "X-A: \x1f\r\n",
        "X-A: \x7f\r\n",
        "X-A: a\r\n b\r\n",
        "X-A: a\r\n\tb\r\n",
        "X-A : a\r\n",
        "X-A\t: a\r\n",
        ": a\r\n",
        " : a\r\n",
        "X-A\r\n",
        "X A: a\r\n",
        "X(A): a\r\n",
        "X@A: a\r\n",
        "\"X\": a\r\n",
        "X/A: a\r\n",
        "X\0A: a\r\n",
        "X\x7fA: a\r\n",
        "Xé: a\r\n",
        "[X]: a\r\n",
        "{X}: a\r\n",
        "X=A: a\r\n",
    ];
    none_passes(lines.map(|line| login(line, "")), 400);
}

#[test]
fn refuses_a_folded_first_field() {
    let heads = [" Host: a\r\n", "\tHost: a\r\n", " \r\nHost: a\r\n"];
    none_passes(heads.map(|lines| format!("POST {LOGIN} HTTP/1.1\r\n{lines}\r\n").into_bytes()), 400);
}

#[test]
fn refuses_control_bytes_in_the_request_line() {
    let lines = [
        "POST /a\rb HTTP/1.1\r\n",
        "POST /a\0 HTTP/1.1\r\n",
        "POST /a\x01 HTTP/1.1\r\n",
        "POST /a\x7f HTTP/1.1\r\n",
        "POST\t/a HTTP/1.1\r\n",
        "POST /a HTTP/1.1\n",
        "POST  /a HTTP/1.1\r\n",
        "POST /a  HTTP/1.1\r\n",
        " POST /a HTTP/1.1\r\n",
    ];
    none_passes(lines.map(|line| format!("{line}Host: a\r\n\r\n").into_bytes()), [400, 505]);
}

// --- Bounds of a head

#[test]
fn refuses_a_head_over_its_bounds() {
    let gateway = Gateway::builder().start();
    let wide = format!("X-Long: {}\r\n", "a".repeat(33 * 1024));
    gateway.refuses(login(&wide, ""), 431, None, Then::Either);
    gateway.refuses(login(&"X-A: a\r\n".repeat(100), ""), 431, None, Then::Either);
    let long = format!("/api/v1/{}", "a".repeat(9 * 1024));
    gateway.refuses(Request::new("GET", &long).bytes(), 414, None, Then::Either);
}

#[test]
fn refuses_a_head_that_never_ends() {
    let gateway = Gateway::builder().start();
    gateway.refuses(format!("GET / HTTP/1.1\r\nX-Long: {}", "a".repeat(40 * 1024)), 431, None, Then::Closes);
    gateway.refuses(format!("GET /{}", "a".repeat(40 * 1024)), 414, None, Then::Closes);
}

#[test]
fn keeps_a_head_just_within_its_bounds() {
    // 98 fields, Host and Content-Length.
    let many = login(&("X-A: a\r\n".repeat(98) + "Content-Length: 5\r\n"), "hello");
    let wide = login(&format!("X-A: {}\r\nContent-Length: 5\r\n", "a".repeat(30 * 1024)), "hello");
    each_passes([many, wide], "hello");
}

// --- Host

#[test]
fn refuses_a_missing_or_doubled_host() {
    let fields = ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n"];
    let gateway = Gateway::builder().start();
    for fields in fields {
        gateway.refuses(format!("POST {LOGIN} HTTP/1.1\r\n{fields}\r\n"), 400, None, Then::Either);
    }
}

#[test]
fn refuses_an_invalid_host() {
    let gateway = Gateway::builder().start();
    let hosts = [
        "a b", "a/b", "u@a", "a:port", "[::1", "a,b", "a:99999", "a?b", "a#b", "a\\b", "http://a", "a:-1",
        "[1.2]", "a\"", "<a>", "é",
    ];
    for host in hosts {
        gateway.refuses(format!("POST {LOGIN} HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400, None, Then::Either);
    }
}

#[test]
fn refuses_a_host_that_differs_from_an_absolute_target() {
    let gateway = Gateway::builder().start();
    for host in ["b", "a:81", "a.b"] {
        gateway.refuses(
            format!("POST http://a{LOGIN} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            400,
            None,
            Then::Either,
        );
    }
}

#[test]
fn keeps_an_absolute_target_with_its_host() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for (target, host) in
        [("http://a", "a"), ("http://a:8080", "a:8080"), ("https://a", "a"), ("http://[::1]:1", "[::1]:1")]
    {
        let raw = format!("POST {target}{LOGIN}?x=1 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(gateway.client().send(&raw).read_response().status, 200, "{raw}");
        assert_eq!(origin.last().target(), format!("{LOGIN}?x=1"));
    }
}

#[test]
fn keeps_http_1_0_without_a_host_and_closes_after_it() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    let response =
        client.send(format!("POST {LOGIN} HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")).read_response();
    assert_eq!((response.status, origin.last().body.as_slice()), (200, b"hi".as_slice()));
    client.expect_closed();
}

// --- Targets and versions

#[test]
fn trace_is_refused_on_every_path_with_a_token_and_without() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for method in ["TRACE", "trace", "Trace", "TRACK"] {
        for target in [LOGIN, "/api/v1/users/me", "/nowhere", "/healthz", "/ws"] {
            for request in [Request::new(method, target), Request::new(method, target).token("ann")] {
                let mut client = gateway.client();
                let response = client.send(request.bytes()).read_response();
                assert_eq!(
                    (response.status, response.code().as_str()),
                    (405, "trace_refused"),
                    "{method} {target}"
                );
                let allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
                assert_eq!(response.field("allow"), Some(allow));
                client.expect_closed();
            }
        }
    }
    assert_eq!(origin.heads(), 0);
}

#[test]
fn refuses_targets_that_are_not_paths() {
    let gateway = Gateway::builder().start();
    for line in [
        "CONNECT a:80",
        "CONNECT /api",
        "GET a:80",
        "GET a",
        "GET *",
        "POST *",
        "GET ftp://a/",
        "GET ws://a/ws",
        "GET file:///etc",
        "GET //a/b",
        "GET http:/a",
        "GET http://",
        "GET http://u@a/",
        "GET ?a",
    ] {
        let raw = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        gateway.refuses(raw, [400, 405], None, Then::Either);
    }
}

#[test]
fn answers_the_asterisk_form_of_options_itself() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let response = gateway.ask(Request::new("OPTIONS", "*"));
    assert!(response.status < 500, "{response:?}");
    assert_eq!(origin.heads(), 0);
}

#[test]
fn refuses_other_versions() {
    let versions = [
        "HTTP/1.2",
        "HTTP/2.0",
        "HTTP/2",
        "HTTP/3",
        "HTTP/0.9",
        "http/1.1",
        "HTTP/1.1 ",
        "HTTP/01.1",
        "HTTP/1.10",
        "HTTP/1",
        "HTTP/11",
        "HTTPS/1.1",
        "X",
    ];
    none_passes(
        versions.map(|version| format!("GET / {version}\r\nHost: a\r\n\r\n").into_bytes()),
        [400, 505],
    );
}

#[test]
fn refuses_http_0_9_and_the_http_2_preface() {
    none_passes(
        ["GET /healthz\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"]
            .map(|raw| raw.into()),
        [400, 505],
    );
}

// --- Methods

#[test]
fn refuses_a_method_that_the_route_does_not_take() {
    let gateway = Gateway::builder().start();
    for method in ["POST", "BREW", "get", "DELETE"] {
        let mut client = gateway.client();
        let response = client.send(Request::new(method, "/ws").token("ann").bytes()).read_response();
        assert_eq!((response.status, response.code().as_str()), (405, "method_not_allowed"), "{method}");
        assert!(response.head.lists("allow", "GET"), "{response:?}");
        client.expect_open();
    }
}

#[test]
fn refuses_a_method_that_is_no_token() {
    let methods = ["GE(T", "G\"T", "G/T", "G@T", "", "G\x01T", "GÉT", "{GET}"];
    none_passes(methods.map(|method| Request::new(method, LOGIN).bytes()), 400);
}

// --- Upgrade

#[test]
fn takes_out_an_upgrade_that_is_not_websocket() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for (upgrade, connection) in
        [("h2c", "Upgrade, HTTP2-Settings"), ("TLS/1.0", "upgrade"), ("h2c, foo", "UPGRADE")]
    {
        let request =
            Request::new("GET", "/api/v1/users/me").token("ann").field("HTTP2-Settings", "AAMAAABk");
        let response = gateway.ask(request.field("Upgrade", upgrade).field("Connection", connection));
        assert_eq!(response.status, 200);
        assert!(origin.last().all("upgrade").is_empty(), "{:?}", origin.last());
        assert!(!origin.last().lists("connection", "upgrade"));
        assert!(!connection.contains("HTTP2") || origin.last().all("http2-settings").is_empty());
    }
}

// --- Bodies of refused requests

#[test]
fn never_takes_the_body_of_a_refused_request_for_a_request() {
    let gateway = Gateway::builder().start();
    let inner = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";
    let counted = Request::new("POST", "/api/v1/messages").body(inner);
    let chunks = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
    let chunked =
        Request::new("POST", "/api/v1/messages").field("Transfer-Encoding", "chunked").raw_body(chunks);
    for request in [counted, chunked] {
        gateway.refuses(request.bytes(), 401, Some("token_missing"), Then::StaysOpen);
    }
}

#[test]
fn closes_after_refusing_a_body_that_is_too_long_to_drain_and_the_answer_arrives() {
    let gateway = Gateway::builder().start();
    for _ in 0..10 {
        let request = Request::new("POST", "/api/v1/messages").body("a".repeat(512 * 1024));
        let mut client = gateway.client();
        let response = client.send(request.bytes()).read_response();
        assert_eq!((response.status, response.code().as_str()), (401, "token_missing"));
        assert!(response.head.lists("connection", "close"));
        client.expect_closed();
    }
}

// --- Expect

#[test]
fn answers_expect_100_continue_itself_once_the_request_is_admitted() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for expectation in ["100-continue", "100-Continue"] {
        let mut client = gateway.client();
        client.send(login(&format!("Content-Length: 5\r\nExpect: {expectation}\r\n"), ""));
        let interim = client.read_head();
        assert_eq!((interim.word(1), interim.all("content-length").len()), ("100", 0));
        let response = client.send("hello").read_response();
        assert_eq!((response.status, response.interim.len()), (200, 0));
        assert_eq!(
            (origin.last().body.as_slice(), origin.last().field("expect")),
            (b"hello".as_slice(), None)
        );
    }
}

#[test]
fn refuses_before_the_body_is_sent_when_it_is_expected_to() {
    let gateway = Gateway::builder().start();
    let request =
        Request::new("POST", "/api/v1/messages").field("Expect", "100-continue").field("Content-Length", "5");
    let response = gateway.client().send(request.bytes()).read_response();
    assert_eq!((response.status, response.interim.len()), (401, 0));
}

#[test]
fn refuses_any_other_expectation() {
    let gateway = Gateway::builder().start();
    for expectation in ["200-ok", "100-continue, x", "100"] {
        let raw = login(&format!("Expect: {expectation}\r\nContent-Length: 2\r\n"), "hi");
        gateway.refuses(raw, 417, None, Then::Either);
    }
}

// --- Slow clients

#[test]
fn a_head_takes_only_so_long() {
    let gateway = Gateway::builder().env("REQUEST_HEAD_TIMEOUT", "400ms").start();
    let mut client = gateway.client();
    client.send("GET /");
    client.stream().set_nonblocking(true).expect("a look without waiting");
    let is_over = |client: &Client| {
        let look = client.stream().peek(&mut [0]);
        !matches!(look, Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    // Bytes that keep coming do not buy more time: they come for as long as the gateway takes them.
    eventually("the time is over", || {
        client.send("a");
        std::thread::sleep(std::time::Duration::from_millis(50));
        is_over(&client)
    });
    client.stream().set_nonblocking(false).expect("waiting again");
    let answer = client.read_until_gone();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{}", show(&answer));
}

#[test]
fn a_body_must_keep_moving() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).env("BODY_TIMEOUT", "300ms").start();
    let mut client = gateway.client();
    let answer = client.send(login("Content-Length: 9\r\n", "hell")).read_until_gone();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{}", show(&answer));
    assert_eq!(origin.requests().len(), 0);
    eventually("the upstream connection is given up", || origin.open() == 0);
}

#[test]
fn an_idle_connection_is_kept_only_so_long() {
    let gateway = Gateway::builder().env("KEEP_ALIVE_TIMEOUT", "300ms").start();
    let mut client = gateway.client();
    client.expect_open();
    client.expect_closed();
}

// --- Connections

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let ask = |n: u32| Request::new("POST", &format!("{LOGIN}?n={n}")).body(format!("body {n}")).bytes();
    let mut client = gateway.client();
    client.send((0..5).flat_map(ask).collect::<Vec<u8>>());
    for n in 0..5 {
        assert_eq!(client.read_response().json()["target"], format!("{LOGIN}?n={n}"));
    }
    client.expect_open();
}

#[test]
fn a_head_cut_at_every_byte_reads_the_same() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let raw = login("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n");
    let mut client = gateway.client();
    for cut in 1..raw.len() {
        client.send(&raw[..cut]);
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert_eq!(client.send(&raw[cut..]).read_response().status, 200, "cut at {cut}");
        assert_eq!(origin.last().body, b"hello");
    }
}

#[test]
fn connection_close_is_obeyed() {
    let gateway = Gateway::builder().start();
    for value in ["close", "Close", "keep-alive, close", "x, CLOSE"] {
        let mut client = gateway.client();
        let response =
            client.send(Request::new("GET", "/healthz").field("Connection", value).bytes()).read_response();
        assert_eq!(response.status, 200);
        client.expect_closed();
    }
}
