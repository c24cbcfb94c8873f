//! What the gateway makes of responses: broken ones never reach a client as whole ones, and never poison a pool.

use std::sync::{Mutex, mpsc};
use std::time::Instant;

use crate::harness::*;

const ME: &str = "/api/v1/users/me";

/// A response to ann's GET from an origin that sends these bytes to every request.
#[track_caller]
fn answer_to(bytes: &str) -> Response {
    let origin = Origin::fixed(bytes);
    Gateway::before(&origin).get(ME, "ann")
}

/// Each of these answers becomes a 502, and its connection is not used again.
#[track_caller]
fn broken<'a>(answers: impl IntoIterator<Item = &'a str>) {
    for bytes in answers {
        let origin = Origin::fixed(bytes);
        let gateway = Gateway::before(&origin);
        let mut client = gateway.client();
        for connections in 1..=2 {
            let response = client.send(Request::new("GET", ME).token("ann").bytes()).read_response();
            assert_eq!(
                (response.status, response.code().as_str()),
                (502, "upstream_protocol_error"),
                "{bytes:?}"
            );
            assert_eq!(origin.connections(), connections, "{bytes:?}");
        }
    }
}

/// An origin that sends this to the first request of a connection and then does what `then` does.
fn first_then(bytes: &'static str, then: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Origin {
    Origin::new(move |exchange| {
        if exchange.read_request().is_some() {
            exchange.write(bytes);
            then(exchange);
        }
    })
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// --- Broken heads

#[test]
fn refuses_a_response_with_two_framings() {
    broken([
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!",
    ]);
}

#[test]
fn refuses_a_response_whose_framing_is_not_understood() {
    broken([
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ]);
}

#[test]
fn refuses_an_invalid_status_line() {
    broken([
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "<html>hello, this is HTTP/0.9</html>\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
    ]);
}

#[test]
fn refuses_a_status_outside_its_range() {
    broken([
        "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/1.1 000 X\r\n\r\n",
        "HTTP/1.1 600 X\r\n\r\n",
        "HTTP/1.1 999 X\r\n\r\n",
    ]);
}

#[test]
fn refuses_an_invalid_response_head() {
    broken([
        "HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: a\0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n",
    ]);
}

#[test]
fn refuses_a_response_head_over_its_bounds() {
    let wide = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(40_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X-A: a\r\n".repeat(101));
    broken([wide.as_str(), many.as_str()]);
}

#[test]
fn a_head_has_as_many_fields_as_the_operator_says() {
    let head = |count: usize| {
        format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X-A:a\r\n".repeat(count - 1))
    };
    let fields = |response: &Response| response.head.fields.iter().filter(|(name, _)| name == "X-A").count();
    let origin = Origin::each(move |request| {
        let count = request.target().rsplit('/').next().and_then(|count| count.parse().ok());
        head(count.expect("a count")).into_bytes()
    });
    let gateway = Gateway::builder().everywhere(&origin).env("ACCESS_LOG", "stdout").start();
    assert_eq!(gateway.get("/api/v1/users/102", "ann").code(), "upstream_protocol_error");
    let line = gateway.wait_stdout("upstream_protocol_error");
    assert!(line.contains("\"cause\":\"too_many_fields\""), "{line}");

    // What bounds requests, what bounds responses, and what becomes of 1,000 fields down and up.
    for (requests, responses, down, up) in
        [("100", Some("1000"), 200, 431), ("1000", None, 200, 200), ("1000", Some("100"), 502, 200)]
    {
        let mut builder = Gateway::builder().everywhere(&origin).env("HEAD_MAX_FIELDS", requests);
        if let Some(responses) = responses {
            builder = builder.env("UPSTREAM_HEAD_MAX_FIELDS", responses);
        }
        let (settings, gateway) = ((requests, responses), builder.start());
        let response = gateway.get("/api/v1/users/1000", "ann");
        assert_eq!(
            (response.status, fields(&response)),
            (down, if down == 200 { 999 } else { 0 }),
            "{settings:?}"
        );
        // Host and token beside them.
        let request = Request::new("GET", "/api/v1/users/9").token("ann").raw(&"X-A:a\r\n".repeat(998));
        assert_eq!(gateway.ask(request).status, up, "{settings:?}");
        if up == 200 {
            assert_eq!(origin.last().fields.iter().filter(|(name, _)| name == "X-A").count(), 998);
        }
        let over = Request::new("GET", "/api/v1/users/9").token("ann").raw(&"X-A:a\r\n".repeat(999));
        gateway.refuses(over.bytes(), 431, Some("too_many_fields"), Then::Closes);
    }
}

#[test]
fn a_head_is_as_long_as_the_operator_says_both_ways_and_after_a_reload() {
    let origin = Origin::new(|exchange| {
        while let Some(request) = exchange.read_request() {
            // As long as the request's own, and a little different.
            let length = request.field("X-Long").map_or(1, str::len);
            let field = "y".repeat(length);
            exchange.write(format!("HTTP/1.1 200 OK\r\nX-Long: {field}\r\nContent-Length: 2\r\n\r\nok"));
        }
    });
    let toml = |setting: &str| {
        format!(
            "{setting}\n[upstreams.a]\nurl = 'http://{}'\n\
             [[route]]\nname = 'a'\npaths = ['/*']\nupstream = 'a'\naccess = 'public'\n",
            origin.address
        )
    };
    let gateway = Gateway::builder().config(&toml("")).start();
    let ask = |length: usize| Request::new("GET", "/a").field("X-Long", &"x".repeat(length)).bytes();
    let passes = |client: &mut Client, length: usize| {
        let response = client.send(ask(length)).read_response();
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{length}");
        assert_eq!(response.field("x-long").map(str::len), Some(length));
        assert_eq!(origin.last().field("X-Long").map(str::len), Some(length));
    };
    let mut waiting = gateway.client();
    passes(&mut waiting, 30_000);
    gateway.refuses(ask(33_000), 431, Some("head_too_large"), Then::Closes);
    gateway.rewrite_config(&toml("head_max_bytes = '256KiB'"));
    gateway.reload();
    for length in [1, 30_000, 70_000, 250_000] {
        passes(&mut waiting, length);
        passes(&mut gateway.client(), length);
    }
    // In pieces it is the same.
    let whole = ask(200_000);
    let mut slow = gateway.client();
    for piece in whole.chunks(50_001) {
        slow.send(piece);
    }
    assert_eq!(slow.read_response().status, 200);
    gateway.refuses(ask(263_000), 431, Some("head_too_large"), Then::Closes);
    // What a smaller bound leaves: the longer head is refused, and nothing else has changed.
    gateway.rewrite_config(&toml("head_max_bytes = '32KiB'"));
    gateway.reload();
    passes(&mut gateway.client(), 30_000);
    gateway.refuses(ask(70_000), 431, Some("head_too_large"), Then::Closes);
}

#[test]
fn a_response_head_over_the_bound_is_a_502_with_its_cause() {
    let origin = Origin::fixed(format!(
        "HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 0\r\n\r\n",
        "y".repeat(120_000)
    ));
    for (bound, status) in [("32KiB", 502), ("64KiB", 502), ("128KiB", 200)] {
        let builder = Gateway::builder().everywhere(&origin).env("ACCESS_LOG", "stdout");
        let gateway = builder.env("HEAD_MAX_BYTES", bound).start();
        assert_eq!(gateway.get(ME, "ann").status, status, "{bound}");
        if status == 502 {
            let line = gateway.wait_stdout("\"status\":502");
            assert!(line.contains("\"cause\":\"head_too_large\""), "{line}");
        }
    }
}

#[test]
fn refuses_a_101_that_nobody_asked_for() {
    broken([
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ]);
}

// --- Upstreams that fail

#[test]
fn an_upstream_that_refuses_is_a_502() {
    let response = Gateway::builder().start().get(ME, "ann");
    assert_eq!((response.status, response.code().as_str()), (502, "upstream_unreachable"));
}

#[test]
fn an_upstream_that_never_answers_is_a_504() {
    let origin = Origin::new(|exchange| exchange.wait_closed());
    let gateway = Gateway::builder().everywhere(&origin).env("UPSTREAM_HEAD_TIMEOUT", "300ms").start();
    let begun = Instant::now();
    let response = gateway.get(ME, "ann");
    assert_eq!((response.status, response.code().as_str()), (504, "upstream_timeout"));
    assert!(begun.elapsed() < SOON);
    eventually("the silent connection is given up", || origin.open() == 0);
}

#[test]
fn an_upstream_that_dies_before_or_in_the_head_is_a_502_at_once_and_once() {
    for bytes in ["", "H", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"] {
        let origin = Origin::once(bytes);
        assert_eq!(Gateway::before(&origin).get(ME, "ann").status, 502, "{bytes:?}");
        assert_eq!(origin.heads(), 1, "a fresh connection is no reason to try again: {bytes:?}");
    }
}

#[test]
fn a_body_that_ends_early_is_never_a_whole_one() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\nzz\r\nno\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhellXX0\r\n\r\n",
    ] {
        let origin = Origin::once(bytes);
        let gateway = Gateway::before(&origin);
        let mut client = gateway.client();
        let response = client.send(Request::new("GET", ME).token("ann").bytes()).read_partial_response();
        // Where the break comes with the head, refusing the whole is as good.
        assert!(response.status == 502 || response.truncated, "{bytes:?}: {response:?}");
    }
}

#[test]
fn a_body_that_stops_moving_is_cut_off() {
    let origin =
        first_then("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell", |exchange| exchange.wait_closed());
    let gateway = Gateway::builder().everywhere(&origin).env("UPSTREAM_IDLE_TIMEOUT", "300ms").start();
    let mut client = gateway.client();
    let response = client.send(Request::new("GET", ME).token("ann").bytes()).read_partial_response();
    assert!(response.truncated, "{response:?}");
    eventually("the stuck connection is given up", || origin.open() == 0);
}

#[test]
fn a_reset_in_the_body_is_seen_by_the_client() {
    let (begun, has_begun) = mpsc::channel();
    let has_begun = Mutex::new(has_begun);
    let origin = first_then("HTTP/1.1 200 OK\r\n\r\nhell", move |exchange| {
        // A reset takes what was not read yet along.
        let _ = has_begun.lock().expect("no panic while locked").recv();
        exchange.reset();
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    assert_eq!(client.send(Request::new("GET", ME).token("ann").bytes()).read_head().word(1), "200");
    begun.send(()).expect("the origin waits");
    let rest = client.read_until_gone();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks whole: {}", show(&rest));
}

// --- Lengths

#[test]
fn a_response_without_length_is_chunked_to_1_1_and_closed_to_1_0() {
    let origin = Origin::once("HTTP/1.1 200 OK\r\n\r\nhello");
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    let response = client.send(Request::new("GET", ME).token("ann").bytes()).read_response();
    assert_eq!((response.text().as_str(), response.field("transfer-encoding")), ("hello", Some("chunked")));
    client.expect_open();

    let old = format!("GET {ME} HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n", token("ann"));
    let mut client = gateway.client();
    let response = client.send(old).read_response();
    assert_eq!((response.text().as_str(), response.field("transfer-encoding")), ("hello", None));
    client.expect_closed();
}

#[test]
fn a_chunked_response_reaches_1_0_without_chunks() {
    let origin =
        Origin::fixed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n");
    let gateway = Gateway::before(&origin);
    let old = format!(
        "GET {ME} HTTP/1.0\r\nConnection: keep-alive\r\nAuthorization: Bearer {}\r\n\r\n",
        token("ann")
    );
    let mut client = gateway.client();
    assert_eq!(client.send(old).read_response().text(), "hello");
    client.expect_closed();
}

#[test]
fn a_chunked_response_is_framed_anew() {
    let bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
                 5;x=y\r\nhello\r\n00006\r\n world\r\n0;z\r\nX-Sum: 1\r\n\r\n";
    let origin = Origin::fixed(bytes);
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.send(Request::new("GET", ME).token("ann").bytes()).read_response();
        assert_eq!((response.text().as_str(), response.trailers.len()), ("hello world", 0));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    for head in [
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n",
    ] {
        let origin = Origin::fixed(format!("{head}\r\n"));
        let gateway = Gateway::before(&origin);
        let mut client = gateway.client();
        let response = client.send(Request::new("GET", ME).token("ann").bytes()).read_response();
        assert!(matches!(response.status, 204 | 304), "{head:?}: {response:?}");
        client.expect_open();
    }
}

#[test]
fn the_answer_to_head_has_no_body_whatever_it_says() {
    for fields in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let origin = Origin::fixed(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        let gateway = Gateway::before(&origin);
        let mut client = gateway.client();
        for _ in 0..2 {
            let response =
                client.send(Request::new("HEAD", ME).token("ann").bytes()).read_bodiless_response();
            assert_eq!(response.status, 200);
            let length = fields.contains("Length").then_some("5");
            assert_eq!(response.field("content-length"), length, "{response:?}");
        }
    }
}

// --- Interim responses

#[test]
fn interim_responses_are_swallowed_but_early_hints() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-A: 1\r\n\r\n\
                   HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let together = Origin::fixed(format!("{interim}{OK}"));
    let apart = Origin::new(move |exchange| {
        while exchange.read_request().is_some() {
            for part in interim.split_inclusive("\r\n\r\n").chain([OK]) {
                exchange.write(part);
                exchange.sleep_ms(20);
            }
        }
    });
    for origin in [together, apart] {
        let response = Gateway::before(&origin).get(ME, "ann");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        let hints: Vec<_> = response.interim.iter().map(|head| (head.word(1), head.field("link"))).collect();
        assert_eq!(hints, [("103", Some("</a>"))]);
    }
}

#[test]
fn interim_responses_have_no_body_whatever_they_say() {
    let response = answer_to(&format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 40\r\n\r\n{OK}"));
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
}

#[test]
fn refuses_endless_interim_responses() {
    let endless = "HTTP/1.1 102 Processing\r\n\r\n".repeat(100) + OK;
    assert_eq!(answer_to(&endless).status, 502);
}

#[test]
fn early_hints_are_not_for_http_1_0() {
    let origin = Origin::fixed(format!("HTTP/1.1 103 Early Hints\r\n\r\n{OK}"));
    let gateway = Gateway::before(&origin);
    let old = format!("GET {ME} HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n", token("ann"));
    let response = gateway.client().send(old).read_response();
    assert_eq!((response.status, response.interim.len()), (200, 0));
}

// --- Reuse

#[test]
fn a_sound_connection_is_used_again() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::before(&origin);
    for _ in 0..5 {
        assert_eq!(gateway.get(ME, "ann").text(), "ok");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_connection_with_bytes_after_the_response_is_dropped() {
    for bytes in [
        format!("{OK}X"),
        format!("{OK}{OK}"),
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
            .to_owned(),
    ] {
        let origin = Origin::fixed(&bytes);
        let gateway = Gateway::before(&origin);
        let mut client = gateway.client();
        for n in 1..=3 {
            let response = client.send(Request::new("GET", ME).token("ann").bytes()).read_response();
            assert!(
                matches!((response.status, response.text().as_str()), (200, "ok") | (204, "")),
                "{response:?}"
            );
            assert_eq!(origin.connections(), n, "{bytes:?}");
        }
    }
}

#[test]
fn bytes_that_come_later_spoil_an_idle_connection() {
    let ((pooled, is_pooled), (written, is_written)) = (mpsc::channel(), mpsc::channel());
    let (is_pooled, written) = (Mutex::new(is_pooled), Mutex::new(written));
    let origin = Origin::new(move |exchange| {
        while exchange.read_request().is_some() {
            exchange.write(OK);
            if is_pooled.lock().expect("no panic while locked").recv().is_err() {
                return;
            }
            exchange.write_and_arrive("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            let _ = written.lock().expect("no panic while locked").send(());
        }
    });
    let gateway = Gateway::before(&origin);
    for n in 1..=3 {
        assert_eq!(gateway.get(ME, "ann").text(), "ok");
        assert_eq!(origin.connections(), n);
        eventually("the connection is idle", || gateway.metric("upstream_idle") == 1);
        pooled.send(()).expect("the origin waits");
        is_written.recv_timeout(PATIENCE).expect("the second answer");
    }
}

#[test]
fn a_connection_that_was_to_be_closed_is_not_used_again() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let origin = Origin::fixed(bytes);
        let gateway = Gateway::before(&origin);
        let mut client = gateway.client();
        for n in 1..=2 {
            let response = client.send(Request::new("GET", ME).token("ann").bytes()).read_response();
            assert_eq!((response.text().as_str(), origin.connections()), ("ok", n), "{bytes:?}");
        }
        client.expect_open();
    }
}

// --- Trying again

/// An origin whose first connection answers once, takes the next request and dies without a word.
fn dies_on_reuse() -> Origin {
    Origin::new(|exchange| {
        while exchange.read_request().is_some() {
            exchange.write(OK);
            if exchange.connection == 1 {
                exchange.read_head();
                return;
            }
        }
    })
}

#[test]
fn tries_an_idempotent_request_once_more_when_a_reused_connection_dies() {
    for (method, body) in [("GET", ""), ("PUT", ""), ("PUT", "a body"), ("DELETE", "")] {
        let origin = dies_on_reuse();
        let gateway = Gateway::before(&origin);
        assert_eq!(gateway.get(ME, "ann").status, 200);
        let request = Request::new(method, ME).token("ann").body(body);
        assert_eq!(gateway.ask(request).status, 200, "{method}");
        assert_eq!((origin.connections(), origin.heads()), (2, 3), "{method}");
        assert_eq!(origin.last().body, body.as_bytes(), "{method}");
    }
}

#[test]
fn never_sends_a_post_twice() {
    let origin = dies_on_reuse();
    let gateway = Gateway::before(&origin);
    assert_eq!(gateway.get(ME, "ann").status, 200);
    let response = gateway.ask(Request::new("POST", ME).token("ann").body("pay"));
    assert_eq!((response.status, origin.heads()), (502, 2));
}

#[test]
fn never_tries_again_after_the_first_byte_of_a_response() {
    let origin = Origin::new(|exchange| {
        if exchange.read_request().is_some() {
            exchange.write(OK);
            exchange.read_head();
            exchange.write("H");
        }
    });
    let gateway = Gateway::before(&origin);
    assert_eq!(gateway.get(ME, "ann").status, 200);
    assert_eq!((gateway.get(ME, "ann").status, origin.heads()), (502, 2));
}

#[test]
fn tries_again_only_once() {
    // The first connection answers once; then every connection dies on its next request.
    let origin = Origin::new(|exchange| {
        if exchange.connection == 1 && exchange.read_request().is_some() {
            exchange.write(OK);
        }
        exchange.read_head();
    });
    let gateway = Gateway::before(&origin);
    assert_eq!(gateway.get(ME, "ann").status, 200);
    assert_eq!((gateway.get(ME, "ann").status, origin.heads()), (502, 3));
}

#[test]
fn a_connection_closed_while_idle_costs_nobody_an_error() {
    let origin = first_then(OK, |_| {});
    let gateway = Gateway::before(&origin);
    for _ in 0..20 {
        assert_eq!(gateway.get(ME, "ann").status, 200);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

// --- Fields

#[test]
fn takes_hop_by_hop_and_internal_fields_out_of_a_response() {
    let response = answer_to(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
         Upgrade: h2c\r\nX-Internal-User-Id: ann\r\nx_internal_secret: s\r\nTrailer: X-Sum\r\nX-Kept: 2\r\n\
         Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
    );
    for name in [
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "x-internal-user-id",
        "x_internal_secret",
        "trailer",
    ] {
        assert!(response.head.all(name).is_empty(), "{name}: {response:?}");
    }
    assert_eq!((response.field("x-kept"), response.head.all("set-cookie")), (Some("2"), vec!["a", "b"]));
}

// --- Both directions at once

#[test]
fn a_response_may_start_before_the_request_ends() {
    let origin = Origin::new(|exchange| {
        let Some(head) = exchange.read_head() else { return };
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        if exchange.read_body(&head).is_ok_and(|body| !body.truncated) {
            exchange.write("world");
        }
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    client
        .send(Request::new("POST", "/api/v1/auth/login").field("Content-Length", "4").raw_body("ab").bytes());
    assert_eq!(client.read_head().word(1), "200");
    let mut body = Vec::new();
    while body.len() < 5 {
        body.extend(client.read_some());
    }
    client.send("cd");
    while body.len() < 10 {
        body.extend(client.read_some());
    }
    assert_eq!(body, b"helloworld");
    client.expect_open();
}

#[test]
fn an_early_refusal_by_the_upstream_reaches_the_client() {
    let origin = Origin::new(|exchange| {
        if exchange.read_head().is_some() {
            exchange.write("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
            exchange.wait_closed();
        }
    });
    let gateway = Gateway::before(&origin);
    let request = Request::new("POST", "/api/v1/auth/login").body("a".repeat(512 << 10));
    let response = gateway.client().send(request.bytes()).read_response();
    assert_eq!((response.status, response.text().as_str()), (413, "no"));
}
