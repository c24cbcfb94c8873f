//! What breaks the protocol, and what it costs: one stream, or the connection.

use super::*;
use crate::harness::h2::{self, H2Client, block, frame, head};

/// Bytes after which the connection ends with this code.
#[track_caller]
fn ends_the_connection(gateway: &Gateway, code: u32, bytes: &[u8]) {
    let mut client = connect(gateway);
    client.send(bytes).expect_goaway(code);
}

fn request(stream: u32, ends: bool) -> Vec<u8> {
    let flags = h2::END_HEADERS | u8::from(ends);
    frame(h2::HEADERS, flags, stream, block(&head("POST", LOGIN, &[])))
}

#[test]
fn what_ends_the_connection() {
    let (origin, _held) = Origin::held();
    let gateway = before(&origin);
    let open = request(1, false);
    let with = |bytes: Vec<u8>| [open.clone(), bytes].concat();
    let part = frame(h2::HEADERS, 0, 1, block(&head("GET", ME, &[])));
    let cases: Vec<(&str, u32, Vec<u8>)> = vec![
        ("a frame over the size", h2::FRAME_SIZE_ERROR, frame(h2::DATA, 0, 1, vec![0; 16_385])),
        ("DATA on no stream", h2::PROTOCOL_ERROR, frame(h2::DATA, 0, 0, "x")),
        ("DATA on an idle stream", h2::PROTOCOL_ERROR, frame(h2::DATA, 0, 1, "x")),
        ("padding over the payload", h2::PROTOCOL_ERROR, with(frame(h2::DATA, 8, 1, [9, 0, 0]))),
        ("HEADERS on no stream", h2::PROTOCOL_ERROR, frame(h2::HEADERS, 5, 0, block(&[]))),
        ("HEADERS on an even stream", h2::PROTOCOL_ERROR, request(2, true)),
        ("a lower stream", h2::STREAM_CLOSED, [request(5, false), request(3, false)].concat()),
        ("a block that is none", h2::COMPRESSION_ERROR, frame(h2::HEADERS, 5, 1, [0x80])),
        ("RST_STREAM on an idle stream", h2::PROTOCOL_ERROR, frame(h2::RST_STREAM, 0, 1, [0; 4])),
        ("RST_STREAM of another size", h2::FRAME_SIZE_ERROR, with(frame(h2::RST_STREAM, 0, 1, [0; 5]))),
        ("SETTINGS on a stream", h2::PROTOCOL_ERROR, frame(h2::SETTINGS, 0, 1, "")),
        ("SETTINGS of a wrong size", h2::FRAME_SIZE_ERROR, frame(h2::SETTINGS, 0, 0, [0; 5])),
        ("an ACK with settings", h2::FRAME_SIZE_ERROR, frame(h2::SETTINGS, 1, 0, [0; 6])),
        ("a window over the bound", h2::FLOW_CONTROL_ERROR, frame(h2::SETTINGS, 0, 0, [0, 4, 0x80, 0, 0, 0])),
        ("frames too small", h2::PROTOCOL_ERROR, frame(h2::SETTINGS, 0, 0, [0, 5, 0, 0, 0, 1])),
        ("a push", h2::PROTOCOL_ERROR, frame(5, 4, 1, [0; 8])),
        ("PING on a stream", h2::PROTOCOL_ERROR, frame(h2::PING, 0, 1, [0; 8])),
        ("PING of another size", h2::FRAME_SIZE_ERROR, frame(h2::PING, 0, 0, [0; 7])),
        ("GOAWAY on a stream", h2::PROTOCOL_ERROR, frame(h2::GOAWAY, 0, 1, [0; 8])),
        ("a window of nothing", h2::PROTOCOL_ERROR, frame(h2::WINDOW_UPDATE, 0, 0, [0; 4])),
        ("a window on an idle stream", h2::PROTOCOL_ERROR, frame(h2::WINDOW_UPDATE, 0, 1, [0, 0, 0, 1])),
        (
            "too large a window",
            h2::FLOW_CONTROL_ERROR,
            frame(h2::WINDOW_UPDATE, 0, 0, [0x7f, 0xff, 0xff, 0xff]),
        ),
        ("CONTINUATION of nothing", h2::PROTOCOL_ERROR, frame(h2::CONTINUATION, 4, 1, "")),
        (
            "another frame within a block",
            h2::PROTOCOL_ERROR,
            [part.clone(), frame(h2::PING, 0, 0, [0; 8])].concat(),
        ),
        (
            "CONTINUATION of another stream",
            h2::PROTOCOL_ERROR,
            [part, frame(h2::CONTINUATION, 4, 3, "")].concat(),
        ),
    ];
    for (what, code, bytes) in cases {
        let mut client = connect(&gateway);
        client.send(&bytes);
        loop {
            match client.next() {
                Some(frame) if frame.kind == h2::GOAWAY => {
                    assert_eq!(frame.code(), code, "{what}");
                    break;
                }
                Some(_) => {}
                None => panic!("{what}: no GOAWAY"),
            }
        }
        client.expect_closed();
    }
    eventually("every stream has ended", || gateway.metric("http2_streams_open") == 0);
    assert!(gateway.metric("http2_connections_closed_total{reason=\"protocol\"}") > 10);
}

#[test]
fn a_connection_begins_with_the_preface_and_settings() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = H2Client::silent(gateway.public);
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\x00").expect_goaway(h2::PROTOCOL_ERROR);
    let mut client = H2Client::silent(gateway.public);
    client.send(h2::PREFACE).send(frame(h2::PING, 0, 0, [0; 8])).expect_goaway(h2::PROTOCOL_ERROR);
}

#[test]
fn what_ends_one_stream() {
    let (origin, _held) = Origin::held();
    let gateway = before(&origin);
    let pseudo = head("GET", ME, &[]);
    let malformed: Vec<Vec<(&str, &str)>> = vec![
        head("GET", ME, &[("Upper", "x")]),
        head("GET", ME, &[("connection", "close")]),
        head("GET", ME, &[("transfer-encoding", "chunked")]),
        head("GET", ME, &[("te", "gzip")]),
        head("GET", ME, &[("x", "a\r\nb: c")]),
        head("GET", ME, &[("x", "a\0")]),
        head("GET", ME, &[("x", " a")]),
        head("GET", ME, &[("a b", "c")]),
        head("GET", ME, &[("x", "y"), (":path", "/")]),
        head("GET", ME, &[(":status", "200")]),
        head("GET", ME, &[(":method", "GET")]),
        head("GET", "/a b", &[]),
        head("GET", "/a HTTP/1.1\r\nx: y", &[]),
        head("GET", "", &[]),
        head("G T", ME, &[]),
        pseudo[1..].to_vec(),
        [&pseudo[..2], &pseudo[3..]].concat(),
    ];
    let mut client = connect(&gateway);
    let mut stream = 1;
    for fields in malformed {
        let answer = client.begin(stream, &fields, true).answer(stream);
        assert_eq!((answer.reset, answer.blocks.len()), (Some(h2::PROTOCOL_ERROR), 0), "{fields:?}");
        stream += 2;
    }
    // DATA after the end, and twice the trailer section.
    client.begin(stream, &head("POST", LOGIN, &[]), true).data(stream, "x", false);
    assert_eq!(client.answer(stream).reset, Some(h2::STREAM_CLOSED));
    stream += 2;
    client.begin(stream, &head("POST", LOGIN, &[]), false);
    client.send(frame(h2::HEADERS, h2::END_HEADERS, stream, block(&[("a", "b")])));
    assert_eq!(client.answer(stream).reset, Some(h2::PROTOCOL_ERROR));
    stream += 2;
    client.begin(stream, &head("POST", LOGIN, &[]), false);
    client.send(frame(h2::HEADERS, 5, stream, block(&[(":path", "/")])));
    assert_eq!(client.answer(stream).reset, Some(h2::PROTOCOL_ERROR));
    stream += 2;
    client.begin(stream, &head("POST", LOGIN, &[]), false);
    client.send(frame(h2::WINDOW_UPDATE, 0, stream, [0; 4]));
    assert_eq!(client.answer(stream).reset, Some(h2::PROTOCOL_ERROR));
    stream += 2;
    client.begin(stream, &head("POST", LOGIN, &[]), false);
    client.send(frame(h2::WINDOW_UPDATE, 0, stream, [0x7f, 0xff, 0xff, 0xff]));
    assert_eq!(client.answer(stream).reset, Some(h2::FLOW_CONTROL_ERROR));
    client.expect_alive();
    eventually("the exchanges have ended", || gateway.metric("http2_streams_open") == 0);
}

#[test]
fn what_means_nothing_is_ignored() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    client.send(frame(0xfa, 0xff, 0, "unknown")).send(frame(0xfb, 0xff, 99, "unknown"));
    client.send(frame(h2::PRIORITY, 0, 7, [0, 0, 0, 0, 1])).send(frame(h2::GOAWAY, 0, 0, [0; 8]));
    client.send(frame(h2::SETTINGS, 0, 0, [0, 99, 0, 0, 0, 1]));
    client.get(1, ME, &token("ann"));
    assert_eq!(client.answer(1).status(), 200);
    // Late frames of a stream that has ended.
    client.send(frame(h2::WINDOW_UPDATE, 0, 1, [0, 0, 0, 1])).send(frame(h2::RST_STREAM, 0, 1, [0, 0, 0, 8]));
    client.send(frame(h2::PRIORITY, 0, 1, [0, 0, 0, 0, 1])).expect_alive();
}

#[test]
fn a_head_in_many_frames_with_padding_and_priority() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    let bearer = format!("Bearer {}", token("ann"));
    let whole = block(&head("GET", ME, &[("authorization", &bearer), ("x-last", "here")]));
    let first = [&[3, 0x80, 0, 0, 0, 16][..], &whole[..10], &[0; 3]].concat();
    client.send(frame(h2::HEADERS, 0x29, 1, first));
    client.send(frame(h2::CONTINUATION, 0, 1, ""));
    client.send(frame(h2::CONTINUATION, 0, 1, &whole[10..60]));
    client.send(frame(h2::CONTINUATION, 4, 1, &whole[60..]));
    assert_eq!(client.answer(1).status(), 200);
    assert_eq!(origin.last().field("x-last"), Some("here"));
}

#[test]
fn a_large_answers_head_comes_in_several_frames() {
    let value = "v".repeat(20_000);
    let origin = Origin::fixed(format!("HTTP/1.1 200 OK\r\nX-Large: {value}\r\nContent-Length: 2\r\n\r\nok"));
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    for stream in [1, 3] {
        let answer = client.get(stream, ME, &token("ann")).answer(stream);
        assert_eq!((answer.field("x-large"), answer.text().as_str()), (Some(&*value), "ok"));
    }
}

#[test]
fn blocks_refer_to_earlier_ones_even_of_requests_that_are_refused() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    let mut encoder = fluke_hpack::Encoder::new();
    let bearer = format!("Bearer {}", token("ann"));
    let more = [("authorization", &*bearer), ("x-again", "and again")];
    for (nth, method) in ["GET", "TRACE", "GET"].into_iter().enumerate() {
        let stream = 2 * nth as u32 + 1;
        let fields = head(method, ME, &more);
        let block = encoder.encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
        client.send(frame(h2::HEADERS, 5, stream, block));
        let expected = if method == "GET" { 200 } else { 405 };
        assert_eq!(client.answer(stream).status(), expected);
    }
    assert_eq!(origin.last().field("x-again"), Some("and again"));
}

#[test]
fn noise_ends_the_connection_and_nothing_else() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..200 {
        let mut client = H2Client::silent(gateway.public);
        client.send(h2::PREFACE).send(frame(h2::SETTINGS, 0, 0, ""));
        for _ in 0..next() % 12 {
            let length = next() as usize % 40;
            let payload: Vec<u8> = (0..length).map(|_| next() as u8).collect();
            client.send(frame((next() % 10) as u8, next() as u8, (next() % 5) as u32, payload));
        }
        client.half_close();
        client.expect_closed();
    }
    assert_eq!(gateway.get(ME, "ann").status, 200);
    ends_the_connection(&gateway, h2::PROTOCOL_ERROR, &frame(h2::DATA, 0, 0, "x"));
    eventually("every stream has ended", || gateway.metric("http2_streams_open") == 0);
    eventually("nothing is in flight", || gateway.metric("requests_in_flight") == 0);
}
