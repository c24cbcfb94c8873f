//! Frames: byte for byte through the tunnel, and what must not go through it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::*;

fn next(told: &mpsc::Receiver<Option<Frame>>) -> Option<Frame> {
    told.recv_timeout(PATIENCE).expect("the upstream hears something")
}

/// The bytes of some frames that may follow each other, and how they are cut into writes.
fn streams() -> impl Strategy<Value = (Vec<(u8, usize)>, Vec<usize>)> {
    let sizes = prop_oneof![
        4 => 0_usize..200,
        2 => 120_usize..130,
        2 => 65_500_usize..65_600,
        1 => 30_000_usize..50_000,
        1 => 100_000_usize..400_000,
    ];
    let messages = prop::collection::vec((0_u8..6, sizes), 1..12);
    let cuts = prop::collection::vec(prop_oneof![1_usize..20, 1_000_usize..100_000], 1..8);
    (messages, cuts)
}

/// Turns kinds into frames: whole messages, fragments, pings between fragments.
fn frames_of(kinds: &[(u8, usize)]) -> Vec<Frame> {
    let payload = |size: usize| (0..size).map(|at| (at * 7 + size) as u8).collect::<Vec<u8>>();
    let mut frames = Vec::new();
    for &(kind, size) in kinds {
        match kind {
            0 => frames.push(Frame::ping(payload(size.min(125)))),
            1 => frames.push(Frame::pong(payload(size.min(125)))),
            2 => {
                frames.push(Frame::new(0x01, payload(size)));
                frames.push(Frame::ping(b"between"));
                frames.push(Frame::new(0x00, payload(size / 2)));
                frames.push(Frame::new(0x80, []));
            }
            _ => frames.push(Frame::new(0x80 | (1 + kind % 2), payload(size))),
        }
    }
    frames
}

/// Writes in pieces of these sizes, the first hundred of them, with pauses; then the rest at once.
fn write_in_pieces(mut to: impl Write, bytes: &[u8], cuts: &[usize]) {
    let mut rest = bytes;
    for turn in 0..100 {
        let (piece, behind) = rest.split_at(cuts[turn % cuts.len()].min(rest.len()));
        to.write_all(piece).expect("the peer takes it");
        if turn % 5 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        rest = behind;
    }
    to.write_all(rest).expect("the peer takes it");
}

#[test]
fn random_streams_arrive_byte_for_byte_in_both_directions() {
    for driver in ["auto", "epoll"] {
        let (send, receive) = mpsc::channel::<(Vec<u8>, Vec<usize>, usize)>();
        let (got, gotten) = mpsc::channel();
        let (receive, got) = (std::sync::Mutex::new(receive), std::sync::Mutex::new(got));
        let origin = Origin::new(move |exchange| {
            let Some(_) = exchange.read_request() else { return };
            exchange.write(switching(""));
            let (down, cuts, expected) = receive.lock().expect("one at a time").recv().expect("a stream");
            let writer = exchange.stream().try_clone().expect("a clone");
            let writing = thread::spawn(move || {
                write_in_pieces(&writer, &down, &cuts);
                let _ = writer.shutdown(Shutdown::Write);
            });
            let mut up = Vec::new();
            while up.len() < expected {
                let some = exchange.read_some();
                if some.is_empty() {
                    break;
                }
                up.extend(some);
            }
            writing.join().expect("all was written");
            let _ = got.lock().expect("one at a time").send(up);
        });
        let gateway = Gateway::builder().everywhere(&origin).env("IO_DRIVER", driver).start();
        let mut runner = TestRunner::new(Config {
            cases: 24,
            failure_persistence: None,
            max_shrink_iters: 0,
            ..Config::default()
        });
        let relayed = runner.run(&(streams(), streams()), |((up, up_cuts), (down, down_cuts))| {
            let up: Vec<u8> = frames_of(&up).iter().flat_map(Frame::masked).collect();
            let down: Vec<u8> = frames_of(&down).iter().flat_map(Frame::plain).collect();
            let mut socket = Socket::open(&gateway, "ann");
            send.send((down.clone(), down_cuts, up.len())).expect("the upstream waits");
            let stream = socket.client().stream().try_clone().expect("a clone");
            let sent = up.clone();
            let writing = thread::spawn(move || write_in_pieces(&stream, &sent, &up_cuts));
            let mut arrived = Vec::new();
            socket.client().stream().read_to_end(&mut arrived).expect("bytes to the end");
            writing.join().expect("all was written");
            prop_assert!(arrived == down, "down: {} of {} bytes", arrived.len(), down.len());
            let arrived = gotten.recv_timeout(PATIENCE).expect("the upstream tells");
            prop_assert!(arrived == up, "up: {} of {} bytes", arrived.len(), up.len());
            Ok(())
        });
        relayed.unwrap_or_else(|error| panic!("{driver}: {error}"));
        // Bytes of TLS cannot be spliced.
        assert_eq!(gateway.metric("tunnel_bytes_spliced_total") > 0, scheme() == "http");
    }
}

#[test]
fn a_frame_cut_at_every_byte_arrives_whole() {
    let origin = echoing();
    let gateway = Gateway::before(&origin);
    let mut socket = Socket::open(&gateway, "ann");
    let frame = Frame::new(0x82, [7; 130]);
    let bytes = frame.masked();
    for cut in 1..bytes.len() {
        socket.send_raw(&bytes[..cut]);
        if cut % 16 == 1 {
            thread::sleep(Duration::from_millis(2));
        }
        socket.send_raw(&bytes[cut..]);
        assert_eq!(socket.read(), frame, "cut at {cut}");
    }
}

#[test]
fn every_malformed_frame_of_a_client_ends_both_sides() {
    let (origin, told) = telling();
    let gateway = Gateway::before(&origin);
    let masked = |first: u8, second: u8, rest: &[u8]| [&[first, 0x80 | second][..], rest].concat();
    let key = [1, 2, 3, 4];
    let begun = Frame::new(0x01, b"begun").masked();
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("unmasked", Frame::text("hi").plain()),
        ("rsv1 without an extension", masked(0xc1, 0, &key)),
        ("rsv2", masked(0xa1, 0, &key)),
        ("rsv3", masked(0x91, 0, &key)),
        ("opcode 3", masked(0x83, 0, &key)),
        ("opcode 15", masked(0x8f, 0, &key)),
        ("a long ping", masked(0x89, 126, &[0, 126])),
        ("a fragmented ping", masked(0x09, 0, &key)),
        ("a length that is not minimal", masked(0x82, 126, &[0, 125])),
        ("a long length that is not minimal", masked(0x82, 127, &[0, 0, 0, 0, 0, 0, 0xff, 0xff])),
        ("the top bit of a length", masked(0x82, 127, &[0x80, 0, 0, 0, 0, 0, 0, 0])),
        ("a continuation of nothing", Frame::new(0x80, "x").masked()),
        ("a message within a message", [begun.clone(), Frame::text("x").masked()].concat()),
        ("half a code", Frame::new(0x88, [3]).masked()),
    ];
    for (what, bytes) in &bad {
        let mut socket = Socket::open(&gateway, "ann");
        socket.send(Frame::text("before"));
        // Whatever stands behind it is never looked at.
        socket.send_raw([&bytes[..], &Frame::text("behind").masked()].concat());
        let close = socket.read();
        assert_eq!(close.code(), Some(1002), "{what}: {close:?}");
        assert_eq!(socket.try_read(), None, "{what}");
        assert_eq!(next(&told), Some(Frame::text("before")), "{what}");
        let mut heard = next(&told);
        if bytes.starts_with(&begun) {
            assert_eq!(heard, Some(Frame::new(0x01, b"begun")));
            heard = next(&told);
        }
        assert_eq!(heard.and_then(|frame| frame.code()), Some(1001), "{what}");
        drop(socket);
        assert_eq!(next(&told), None, "{what}");
    }
    eventually("every tunnel ends", || gateway.metric("tunnels_open") == 0);
    let ended = gateway.metric("tunnels_closed_total{reason=\"client_misbehaved\"}");
    assert_eq!(ended, bad.len() as u64);
}

#[test]
fn an_upstream_that_breaks_the_framing_ends_both_sides() {
    for bytes in [Frame::text("masked").masked(), vec![0x83, 0], vec![0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]] {
        let (tell, told) = mpsc::channel();
        let origin = Origin::new(move |exchange| {
            let Some(mut side) = ServerSide::accept(exchange) else { return };
            side.send(Frame::text("before"));
            side.exchange.write(&bytes);
            let _ = tell.send(side.read());
        });
        let gateway = Gateway::before(&origin);
        let mut socket = Socket::open(&gateway, "ann");
        assert_eq!(socket.read(), Frame::text("before"));
        socket.expect_goodbye(1002);
        assert_eq!(next(&told).and_then(|frame| frame.code()), Some(1002));
        let ended = || gateway.metric("tunnels_closed_total{reason=\"upstream_misbehaved\"}") == 1;
        eventually("the tunnel ends", ended);
    }
}

#[test]
fn an_upstreams_last_words_arrive_though_the_client_talks_into_its_end() {
    let origin = Origin::new(|exchange| {
        let Some(side) = ServerSide::accept(exchange) else { return };
        let mut reader = side.exchange.stream().try_clone().expect("a clone");
        thread::spawn(move || while matches!(reader.read(&mut [0; 4_096]), Ok(1..)) {});
        // No more than the gateway's socket takes: what is still with the upstream's kernel, a reset destroys.
        let words = Frame::new(0x82, vec![5; 2_000]).plain().repeat(80);
        side.exchange.write([words, Frame::close(4_002, "banned").plain()].concat());
        side.exchange.sleep_ms(400);
        let _ = side.exchange.stream().shutdown(Shutdown::Both);
    });
    let gateway = Gateway::before(&origin);
    let mut socket = Socket::open(&gateway, "ann");
    // It reads nothing for a while, and what it says after the upstream's end is answered with a reset.
    for _ in 0..100 {
        socket.send(Frame::text("and another thing"));
        thread::sleep(Duration::from_millis(10));
    }
    for nth in 0..80 {
        assert_eq!(socket.read().payload.len(), 2_000, "{nth}");
    }
    assert_eq!(socket.read().code(), Some(4_002));
    let ended = || gateway.metric("tunnels_closed_total{reason=\"upstream_closed\"}") == 1;
    eventually("the tunnel ends", ended);
}

#[test]
fn a_compressed_message_passes_where_an_extension_was_negotiated() {
    let origin = Origin::new(|exchange| {
        let Some(request) = exchange.read_request() else { return };
        let offered = request.head.field("sec-websocket-extensions").unwrap_or_default().to_owned();
        let line = if offered.is_empty() { "" } else { "Sec-WebSocket-Extensions: permessage-deflate\r\n" };
        exchange.write(switching(line));
        ServerSide::switched(exchange).echo();
    });
    let gateway = Gateway::before(&origin);
    // RFC 7692 §7.2.3.1: "Hello", compressed.
    let compressed = Frame::new(0xc1, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    let offer = "permessage-deflate; client_max_window_bits";
    let mut socket =
        Socket::open_with(&gateway, &handshake().token("a").field("Sec-WebSocket-Extensions", offer));
    assert_eq!(socket.head.field("sec-websocket-extensions"), Some("permessage-deflate"));
    assert_eq!(origin.last().head.field("sec-websocket-extensions"), Some(offer));
    socket.send(compressed.clone());
    assert_eq!(socket.read(), compressed);
    // Only the first frame of a message has a meaning for the bit.
    socket.send(Frame::new(0xc9, "ping"));
    assert_eq!(socket.read().code(), Some(1002));
    let mut plain = Socket::open(&gateway, "ann");
    plain.send(compressed);
    assert_eq!(plain.read().code(), Some(1002));
}

#[test]
fn a_message_that_is_too_big_is_refused_by_its_headers() {
    let (origin, told) = telling();
    let gateway = Gateway::builder().everywhere(&origin).env("WS_MAX_MESSAGE_BYTES", "100KiB").start();
    let mut socket = Socket::open(&gateway, "ann");
    for size in [100 * 1024, 0, 100 * 1024] {
        let frame = Frame::new(0x82, vec![5; size]);
        socket.send(frame.clone());
        assert_eq!(next(&told), Some(frame));
    }
    let half = Frame::new(0x02, vec![5; 60 * 1024]);
    socket.send(half.clone()).send(Frame::ping("x"));
    assert_eq!(next(&told), Some(half));
    assert_eq!(next(&told), Some(Frame::ping("x")));
    // The header alone is enough; its payload is never waited for.
    socket.send_raw([0x80, 0xfe, 0xff, 0xff, 1, 2, 3, 4]);
    let close = socket.read();
    assert_eq!((close.code(), &close.payload[2..]), (Some(1009), &b"message too big"[..]));
    assert_eq!(socket.try_read(), None);
    assert_eq!(next(&told).and_then(|frame| frame.code()), Some(1001));
    // A client that writes all of it before it reads still finds its Close frame.
    let mut stubborn = Socket::open(&gateway, "ann");
    stubborn.send(Frame::new(0x82, vec![5; 8 << 20]));
    assert_eq!(stubborn.read().code(), Some(1009));
}

#[test]
fn too_many_messages_end_the_tunnel_and_a_steady_client_stays() {
    let (origin, told) = telling();
    let limited = |rate: &str| {
        let builder = Gateway::builder().everywhere(&origin).env("WS_MESSAGES_PER_SECOND", rate);
        builder.env("WS_MESSAGES_BURST", "5").start()
    };
    let gateway = limited("10");
    let mut steady = Socket::open(&gateway, "ann");
    for _ in 0..12 {
        steady.send(Frame::text("steady"));
        assert_eq!(next(&told), Some(Frame::text("steady")));
        thread::sleep(Duration::from_millis(110));
    }
    drop(steady);
    assert_eq!(next(&told), None);
    drop(gateway);
    // A token comes so rarely here that it does not matter how long the rest takes.
    let gateway = limited("1");
    let mut eager = Socket::open(&gateway, "ann");
    // Fragments of one message count once.
    eager.send(Frame::new(0x01, "a"));
    for _ in 0..20 {
        eager.send(Frame::new(0x00, "b"));
    }
    eager.send(Frame::new(0x80, "c"));
    (0..22).for_each(|_| assert!(next(&told).is_some()));
    for _ in 0..30 {
        eager.send(Frame::ping("x"));
    }
    let close = eager.read();
    assert_eq!((close.code(), &close.payload[2..]), (Some(1008), &b"too many messages"[..]));
    let heard: Vec<Frame> = std::iter::from_fn(|| next(&told)).collect();
    assert!((5..=7).contains(&heard.len()), "{heard:?}");
    assert_eq!(heard.last().and_then(Frame::code), Some(1001));
}
