//! Clients that make the gateway work for nothing: each flood ends at its bound.

use super::*;
use crate::harness::h2::{self, H2Client, block, frame, head};

fn held() -> (Origin, std::sync::mpsc::Sender<()>) {
    Origin::held()
}

/// The connection ends with `ENHANCE_YOUR_CALM`, before all of `count` rounds are done, and others are served.
#[track_caller]
fn ends_calmly(gateway: &Gateway, mut client: H2Client, what: &str) {
    loop {
        match client.next() {
            Some(frame) if frame.kind == h2::GOAWAY => {
                assert_eq!(frame.code(), h2::ENHANCE_YOUR_CALM, "{what}");
                break;
            }
            Some(_) => {}
            None => panic!("{what}: no GOAWAY"),
        }
    }
    client.expect_closed();
    assert_eq!(connect(gateway).begin(1, &head("GET", "/healthz", &[]), true).answer(1).status(), 200);
    eventually("every stream has ended", || gateway.metric("http2_streams_open") == 0);
    assert!(gateway.metric("http2_connections_closed_total{reason=\"enhance_your_calm\"}") > 0);
}

/// CVE-2023-44487.
#[test]
fn rapid_reset() {
    let (origin, _held) = held();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    for nth in 0..1_000u32 {
        client.get(2 * nth + 1, ME, &token("ann"));
        client.send(frame(h2::RST_STREAM, 0, 2 * nth + 1, [0, 0, 0, 8]));
    }
    ends_calmly(&gateway, client, "rapid reset");
    assert!(gateway.metric("requests_total") < 400);
    eventually("nothing is in flight", || gateway.metric("requests_in_flight") == 0);
}

/// CVE-2025-8671: the client makes the gateway reset, so that the streams do not count as its own resets.
#[test]
fn made_you_reset() {
    let (origin, _held) = held();
    let gateway = before(&origin);
    let breaks: [fn(u32) -> Vec<u8>; 4] = [
        |stream| frame(h2::WINDOW_UPDATE, 0, stream, [0; 4]),
        |stream| frame(h2::WINDOW_UPDATE, 0, stream, [0x7f, 0xff, 0xff, 0xff]),
        |stream| frame(h2::DATA, 0, stream, "after the end"),
        |stream| frame(h2::PRIORITY, 0, stream, [0; 4]),
    ];
    for broken in breaks {
        let mut client = connect(&gateway);
        for nth in 0..1_000u32 {
            client.get(2 * nth + 1, ME, &token("ann")).send(broken(2 * nth + 1));
        }
        ends_calmly(&gateway, client, "made you reset");
    }
    assert!(gateway.metric("requests_total") < 4 * 400);
}

#[test]
fn resets_beside_finished_requests_are_no_flood() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    for nth in 0..400u32 {
        let stream = 4 * nth + 1;
        client.get(stream, ME, &token("ann"));
        client.send(frame(h2::RST_STREAM, 0, stream, [0, 0, 0, 8]));
        client.begin(stream + 2, &head("GET", "/healthz", &[]), true);
        assert_eq!(client.answer(stream + 2).status(), 200);
    }
    client.expect_alive();
}

#[test]
fn streams_over_the_bound_are_refused_and_those_below_it_served() {
    let (origin, release) = held();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    for nth in 0..110u32 {
        client.get(2 * nth + 1, ME, &token("ann"));
    }
    for nth in 100..110u32 {
        assert_eq!(client.answer(2 * nth + 1).reset, Some(h2::REFUSED_STREAM));
    }
    // A reset stream counts until its exchange has ended; then there is room again.
    assert_eq!(gateway.metric("http2_streams_open"), 100);
    drop(release);
    for nth in 0..100u32 {
        assert_eq!(client.answer(2 * nth + 1).status(), 200);
    }
    client.get(221, ME, &token("ann"));
    assert_eq!(client.answer(221).status(), 200);
    assert_eq!(gateway.metric("http2_stream_resets_total{reason=\"refused\"}"), 10);
}

#[test]
fn floods_of_control_frames() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let floods: [(&str, Vec<u8>); 6] = [
        ("PING", frame(h2::PING, 0, 0, [0; 8])),
        ("SETTINGS", frame(h2::SETTINGS, 0, 0, [0, 4, 0, 0, 0xff, 0xff])),
        ("SETTINGS ACK", frame(h2::SETTINGS, 1, 0, "")),
        ("PRIORITY", frame(h2::PRIORITY, 0, 9, [0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", frame(h2::WINDOW_UPDATE, 0, 0, [0, 0, 0, 1])),
        ("unknown", frame(0xee, 0, 0, "")),
    ];
    for (what, one) in floods {
        let mut client = connect(&gateway);
        // What is answered has to be read, or the gateway reads no more.
        for _ in 0..100 {
            client.send(one.repeat(100));
        }
        ends_calmly(&gateway, client, what);
    }
}

#[test]
fn a_flood_of_empty_data() {
    let (origin, _held) = held();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    client.begin(1, &head("POST", LOGIN, &[]), false);
    client.send(frame(h2::DATA, 0, 1, "").repeat(10_000));
    ends_calmly(&gateway, client, "empty DATA");
}

/// CVE-2024-27316 and its like.
#[test]
fn a_flood_of_continuation() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    for part in [0, 1, 100, 16_000] {
        let mut client = connect(&gateway);
        client.send(frame(h2::HEADERS, 1, 1, block(&head("GET", ME, &[]))));
        for _ in 0..100 {
            client.send(frame(h2::CONTINUATION, 0, 1, vec![0x82; part]));
        }
        ends_calmly(&gateway, client, "CONTINUATION");
    }
}

/// One large field in the table, and then named again and again by one byte each.
#[test]
fn a_bomb_of_fields() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    let value = "v".repeat(3_900);
    let mut bomb = block(&head("GET", ME, &[]));
    let field = block(&[("x", &value)]);
    bomb.extend([&[0x40][..], &field[1..]].concat());
    bomb.extend([0xbe; 8_000]);
    let before_kib = gateway.rss_kib();
    for nth in 0..50u32 {
        client.send(frame(h2::HEADERS, 5, 2 * nth + 1, &bomb));
        let answer = client.answer(2 * nth + 1);
        assert_eq!((answer.status(), answer.code()), (431, "head_too_large".to_owned()));
    }
    let crumbs =
        [block(&head("GET", ME, &[])), vec![0x40, 6], b"cookie\x01a".to_vec(), vec![0xbe; 8_000]].concat();
    let answer = client.send(frame(h2::HEADERS, 5, 101, crumbs)).answer(101);
    assert_eq!((answer.status(), answer.code()), (431, "too_many_fields".to_owned()));
    assert!(gateway.rss_kib() < before_kib + 8 * 1024);
}

#[test]
fn a_client_that_never_reads_its_answers_is_closed_and_costs_no_memory() {
    let origin = Origin::echo();
    let gateway = builder(&origin).env("BODY_TIMEOUT", "1s").start();
    let before_kib = gateway.rss_kib();
    let mut clients: Vec<H2Client> = (0..50).map(|_| connect(&gateway)).collect();
    for client in &mut clients {
        client.send(frame(h2::PING, 0, 0, [0; 8]).repeat(10_000));
    }
    eventually("the connections are closed", || {
        assert!(gateway.rss_kib() < before_kib + 16 * 1024);
        gateway.metric("http2_connections_open") == 0
    });
}

#[test]
fn a_head_that_never_ends_has_a_deadline() {
    let origin = Origin::echo();
    let gateway = builder(&origin).env("REQUEST_HEAD_TIMEOUT", "1s").start();
    for bytes in [frame(h2::HEADERS, 1, 1, block(&head("GET", ME, &[]))), vec![0, 0, 9, 1, 5], vec![0, 0]] {
        let mut client = connect(&gateway);
        client.send(bytes).expect_goaway(h2::NO_ERROR);
    }
    let mut preface = H2Client::silent(gateway.public);
    preface.send(&h2::PREFACE[..20]).expect_closed();
}
