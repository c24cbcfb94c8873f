//! Requests and answers on streams.

use super::*;
use crate::harness::h2::{self, Answer, H2Client, head};

fn post(client: &mut H2Client, more: &[(&str, &str)], body: &[u8]) -> Answer {
    client.begin(1, &head("POST", LOGIN, more), false);
    for piece in body.chunks(9_000) {
        client.data(1, piece, false);
    }
    client.data(1, "", true).answer(1)
}

#[test]
fn a_request_and_its_answer() {
    let origin = Origin::echo();
    let gateway = builder(&origin).env("ACCESS_LOG", "stdout").start();
    let mut client = connect(&gateway);
    let answer = client.get(1, "/api/v1/users/me?x=%41&y", &token("ann")).answer(1);
    assert_eq!((answer.status(), answer.reset), (200, None));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert!(answer.field("x-request-id").is_some() && answer.field("connection").is_none());
    let seen = origin.last();
    assert_eq!((seen.method(), seen.target()), ("GET", "/api/v1/users/me?x=%41&y"));
    assert_eq!(seen.field("x-internal-user-id"), Some("ann"));
    assert_eq!(seen.field("via"), Some("2 realchat-gateway"));
    let line = gateway.wait_stdout("\"status\":200");
    assert!(line.contains("\"protocol\":\"HTTP/2\"") && line.contains("\"user\":\"ann\""), "{line}");
    assert_eq!(gateway.metric("http2_connections_open"), 1);
    assert_eq!(gateway.metric("http2_streams_open"), 0);
    assert_eq!(gateway.metric("requests_total"), 1);
}

#[test]
fn http_1_and_http_2_share_a_port() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    assert_eq!(gateway.get(ME, "ann").status, 200);
    assert_eq!(connect(&gateway).get(1, ME, &token("ann")).answer(1).status(), 200);
    for method in ["PUT", "PRI", "P", "PROPFIND"] {
        let status = gateway.ask(Request::new(method, ME).token("ann")).status;
        assert!([200, 404, 405].contains(&status), "{method}: {status}");
    }
}

#[test]
fn without_the_setting_the_preface_is_refused_as_ever() {
    let gateway = Gateway::builder().start();
    let answer = gateway.client().send(h2::PREFACE).read_response();
    assert_eq!((answer.status, answer.code()), (505, "unsupported_version".to_owned()));
}

#[test]
fn the_preface_cut_at_every_byte() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let settings = h2::frame(h2::SETTINGS, 0, 0, "");
    let bearer = format!("Bearer {}", token("ann"));
    let fields = head("GET", ME, &[("authorization", &bearer)]);
    let request = h2::frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 1, h2::block(&fields));
    let all = [h2::PREFACE, &settings, &request].concat();
    let step = |at: usize| if at < 48 { 1 } else { 13 };
    let mut cut = 1;
    while cut < all.len() {
        let mut client = H2Client::silent(gateway.public);
        client.send(&all[..cut]);
        // Whatever came of the first part is an answer to it, or none; the second makes it whole.
        client.send(&all[cut..]);
        assert_eq!(client.answer(1).status(), 200, "cut at {cut}");
        cut += step(cut);
    }
    let mut client = H2Client::silent(gateway.public);
    for byte in &all {
        client.send([*byte]);
    }
    assert_eq!(client.answer(1).status(), 200, "byte by byte");
}

#[test]
fn many_streams_at_once_each_with_its_own_answer() {
    let origin = Origin::each(|request| {
        let target = request.target().to_owned();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()).into_bytes()
    });
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    for round in 0..5u32 {
        let streams: Vec<u32> = (0..80).map(|nth| 2 * (80 * round + nth) + 1).collect();
        for stream in &streams {
            client.get(*stream, &format!("{ME}?{stream}"), &token("ann"));
        }
        for stream in &streams {
            let answer = client.answer(*stream);
            assert_eq!((answer.status(), answer.text()), (200, format!("{ME}?{stream}")));
        }
    }
}

#[test]
fn a_body_with_a_length_and_one_without() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let body = vec![b'b'; 50_000];
    let known = post(&mut connect(&gateway), &[("content-length", "50000")], &body);
    assert_eq!(known.status(), 200, "{}", known.text());
    assert_eq!((origin.last().body.len(), origin.last().field("content-length")), (50_000, Some("50000")));
    let unknown = post(&mut connect(&gateway), &[], &body);
    assert_eq!(unknown.status(), 200, "{}", unknown.text());
    let seen = origin.last();
    assert_eq!((seen.body.len(), seen.field("transfer-encoding")), (50_000, Some("chunked")));
    let empty = connect(&gateway).begin(1, &head("POST", LOGIN, &[]), true).answer(1);
    assert_eq!((empty.status(), origin.last().body.len()), (200, 0));
}

#[test]
fn a_length_that_the_frames_belie_is_malformed_and_reaches_nobody_whole() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    for (stream, length, body) in [(1, "3", "four"), (3, "9", "four")] {
        client.begin(stream, &head("POST", LOGIN, &[("content-length", length)]), false);
        assert_eq!(client.data(stream, body, true).answer(stream).reset, Some(h2::PROTOCOL_ERROR));
    }
    client.begin(5, &head("POST", LOGIN, &[("content-length", "1")]), true);
    assert_eq!(client.answer(5).reset, Some(h2::PROTOCOL_ERROR));
    client.expect_alive();
    assert!(origin.requests().is_empty());
}

#[test]
fn answers_of_every_framing() {
    let origin = Origin::each(|request| {
        let bytes: &[u8] = match request.target().split_once('?').map(|(_, query)| query) {
            Some("chunked") => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            Some("empty") => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            Some("204") => b"HTTP/1.1 204 No Content\r\n\r\n",
            Some("304") => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x\r\nX: y\r\nKeep-Alive: timeout=5\r\n\r\nabcde",
        };
        bytes.to_vec()
    });
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    let mut stream = 1;
    for (query, status, body, length) in [
        ("", 200, "abcde", Some("5")),
        ("chunked", 200, "abcde", None),
        ("empty", 200, "", Some("0")),
        ("204", 204, "", None),
        ("304", 304, "", Some("9")),
    ] {
        let answer = client.get(stream, &format!("{ME}?{query}"), &token("ann")).answer(stream);
        assert_eq!((answer.status(), answer.text().as_str()), (status, body), "{query}");
        assert_eq!((answer.field("content-length"), answer.reset), (length, None), "{query}");
        assert!(
            ["connection", "keep-alive", "x", "transfer-encoding"].iter().all(|n| answer.field(n).is_none())
        );
        stream += 2;
    }
    let bearer = format!("Bearer {}", token("ann"));
    client.begin(stream, &head("HEAD", ME, &[("authorization", &bearer)]), true);
}

#[test]
fn an_answer_until_the_connection_ends_and_one_that_is_cut_short() {
    let origin = Origin::once("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    let gateway = before(&origin);
    let answer = connect(&gateway).get(1, ME, &token("ann")).answer(1);
    assert_eq!((answer.status(), answer.text()), (200, "until the end".to_owned()));
    let cut = Origin::once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!");
    let gateway = before(&cut);
    let mut client = connect(&gateway);
    let answer = client.get(1, ME, &token("ann")).answer(1);
    assert_eq!((answer.reset, answer.has_ended), (Some(2), false), "{answer:?}");
    client.expect_alive();
}

#[test]
fn interim_answers_and_trailers_pass() {
    let origin = Origin::each(|_| {
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
          2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 2\r\n\r\n"
            .to_vec()
    });
    let config = format!(
        "[upstreams.a]\nurl = \"http://{}\"\n[[route]]\nname = \"a\"\npaths = [\"/*\"]\nupstream = \"a\"\n\
         access = \"public\"\nforward_trailers = true\n",
        origin.address
    );
    let names = SERVICES.map(|service| format!("UPSTREAM_{}_URL", service.to_uppercase()));
    let builder = names.iter().fold(Gateway::builder(), |builder, name| builder.without(name));
    let gateway = builder.config(&config).env("H2C", "on").start();
    let mut client = connect(&gateway);
    client.begin(1, &head("POST", "/x", &[]), false).data(1, "body", false);
    client.send(h2::frame(h2::HEADERS, 5, 1, h2::block(&[("x-check", "7"), ("authorization", "no")])));
    let answer = client.answer(1);
    let statuses: Vec<_> = answer.blocks.iter().map(|block| block[0].clone()).collect();
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(statuses, [text(":status", "103"), text(":status", "200"), text("x-sum", "1")]);
    assert_eq!((answer.blocks[2].len(), answer.text()), (1, "ok".to_owned()));
    let seen = origin.last();
    assert_eq!(seen.body, b"body");
}

#[test]
fn the_gateways_own_answers_are_those_of_http_1() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    let mut stream = 1;
    for (method, path, status, code) in [
        ("GET", ME, 401, "token_missing"),
        ("GET", "/api/v1/users/../me", 400, "path_dot_segment"),
        ("TRACE", ME, 405, "trace_refused"),
        ("CONNECT", ME, 400, "connect_refused"),
    ] {
        client.begin(stream, &head(method, path, &[]), true);
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.code().as_str()), (status, code));
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        let http1 = gateway.ask(Request::new(method, path));
        if method != "CONNECT" {
            assert_eq!((http1.status, http1.code().as_str()), (status, code));
        }
        stream += 2;
    }
    let ready = client.begin(stream, &head("GET", "/healthz", &[]), true).answer(stream);
    assert_eq!((ready.status(), ready.text()), (200, gateway.ask(Request::new("GET", "/healthz")).text()));
    let many: Vec<(String, String)> = (0..120).map(|nth| (format!("x-{nth}"), "y".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let answer = client.begin(stream + 2, &head("GET", ME, &many), true).answer(stream + 2);
    assert_eq!((answer.status(), answer.code()), (431, "too_many_fields".to_owned()));
    let large = "v".repeat(33_000);
    let part = h2::block(&head("GET", ME, &[("x", &large)]));
    client.send(h2::frame(h2::HEADERS, 1, stream + 4, &part[..16_000]));
    client.send(h2::frame(h2::CONTINUATION, 0, stream + 4, &part[16_000..32_000]));
    client.send(h2::frame(h2::CONTINUATION, 4, stream + 4, &part[32_000..]));
    let answer = client.answer(stream + 4);
    assert_eq!((answer.status(), answer.code()), (431, "head_too_large".to_owned()));
    assert!(origin.requests().is_empty());
}

#[test]
fn a_body_over_its_bound_and_one_that_nobody_reads() {
    let origin = Origin::echo();
    let gateway = builder(&origin).env("BODY_MAX_BYTES", "10KiB").start();
    let mut client = connect(&gateway);
    client.begin(1, &head("POST", LOGIN, &[]), false).data(1, [b'x'; 11_000], false);
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.code()), (413, "body_too_large".to_owned()));
    // An answer that comes before its request is whole: the rest is not wanted, and that is no error.
    assert_eq!(client.wait(h2::RST_STREAM).code(), h2::NO_ERROR);
    client.data(1, [b'x'; 1_000], true).expect_alive();
    client.begin(3, &head("GET", "/healthz", &[]), true);
    assert_eq!(client.answer(3).status(), 200);
}

#[test]
fn a_body_is_asked_for_once_the_request_is_admitted() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    client.begin(1, &head("POST", LOGIN, &[("expect", "100-continue")]), false);
    let interim = client.wait(h2::HEADERS);
    assert_eq!(interim.flags, h2::END_HEADERS);
    let answer = client.data(1, "body", true).answer(1);
    assert_eq!((answer.status(), origin.last().body.as_slice()), (200, &b"body"[..]));
    assert_eq!(origin.last().field("expect"), None);
    let refused = client.begin(3, &head("POST", ME, &[("expect", "100-continue")]), false).answer(3);
    assert_eq!(refused.blocks.len(), 1, "{refused:?}");
}

#[test]
fn crumbs_of_a_cookie_reach_the_service_as_one() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let crumbs = [("cookie", "a=1"), ("x-other", "x"), ("cookie", "b=2")];
    connect(&gateway).begin(1, &head("POST", LOGIN, &crumbs), true).answer(1);
    assert_eq!(origin.last().field("cookie"), Some("a=1; b=2"));
}

#[test]
fn a_client_that_resets_its_stream_frees_the_upstream() {
    let origin = Origin::new(|exchange| {
        exchange.read_request();
        exchange.wait_closed();
    });
    let gateway = builder(&origin).env("ACCESS_LOG", "stdout").start();
    let mut client = connect(&gateway);
    client.get(1, ME, &token("ann"));
    eventually("the request is upstream", || origin.requests().len() == 1);
    client.send(h2::frame(h2::RST_STREAM, 0, 1, 8u32.to_be_bytes()));
    eventually("its connection is closed", || origin.open() == 0);
    let line = gateway.wait_stdout("stream_reset");
    assert!(line.contains("\"status\":499") && line.contains("client_gone"), "{line}");
    client.expect_alive();
    assert_eq!(gateway.metric("http2_stream_resets_total{reason=\"client\"}"), 1);
    assert_eq!(gateway.metric("http2_streams_open"), 0);
    // So does one that is gone altogether.
    client.get(3, ME, &token("ann"));
    eventually("the request is upstream", || origin.requests().len() == 2);
    drop(client);
    eventually("its connection is closed", || origin.open() == 0);
    eventually("the connection is gone", || gateway.metric("http2_connections_open") == 0);
    assert_eq!((gateway.metric("requests_in_flight"), gateway.metric("connections_open")), (0, 0));
}

#[test]
fn a_websocket_needs_a_connection_of_its_own() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    let bearer = format!("Bearer {}", token("ann"));
    let answer = client.begin(1, &head("GET", "/ws", &[("authorization", &bearer)]), true).answer(1);
    assert_eq!((answer.status(), answer.field("connection"), answer.field("upgrade")), (426, None, None));
    // The pseudo-field of RFC 8441 is not known here, since no setting has said so.
    let extended = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/ws"),
        (":authority", "chat.test"),
    ];
    assert_eq!(client.begin(3, &extended, false).answer(3).reset, Some(h2::PROTOCOL_ERROR));
}

#[test]
fn a_stream_of_events_that_the_client_ends_is_remembered_with_what_it_got() {
    let origin = Origin::new(|exchange| {
        exchange.read_request();
        exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n");
        exchange.wait_closed();
    });
    let gateway = builder(&origin).env("ACCESS_LOG", "stdout").start();
    let mut client = connect(&gateway);
    client.get(1, ME, &token("ann"));
    assert_eq!(client.wait(h2::DATA).payload, b"data: one\n\n");
    client.send(h2::frame(h2::RST_STREAM, 0, 1, h2::CANCEL.to_be_bytes()));
    let line = gateway.wait_stdout("stream_reset");
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line");
    assert_eq!((&line["status"], &line["code"]), (&200.into(), &"response_cut".into()), "{line}");
    assert!(line["bytes_out"].as_u64() > Some(11), "{line}");
    eventually("the upstream is free", || origin.open() == 0);
}
