//! Clients that send more than anybody needs: frames, pings, sockets.

use std::sync::mpsc;
use std::time::Instant;

use crate::harness::*;

/// A gateway with the bounds that it has by default.
fn bounded(origin: &Origin) -> Builder {
    let bounds = ["WS_MAX_PER_USER", "WS_FRAMES_PER_SECOND", "WS_CONTROL_FRAMES_PER_SECOND"];
    bounds.into_iter().fold(Gateway::builder().everywhere(origin), |builder, name| builder.without(name))
}

/// What the upstream has heard when the tunnel is over, without the Close frame.
fn heard(told: &mpsc::Receiver<Option<Frame>>) -> usize {
    let all = std::iter::from_fn(|| told.recv_timeout(PATIENCE).expect("the upstream hears something"));
    all.filter(|frame| frame.code().is_none()).count()
}

#[track_caller]
fn is_one_too_many(socket: &mut Socket, gateway: &Gateway) {
    let close = socket.read();
    assert_eq!((close.code(), &close.payload[2..]), (Some(1008), &b"too many messages"[..]));
    assert_eq!(socket.try_read(), None);
    let ended = || gateway.metric("tunnels_closed_total{reason=\"too_many_messages\"}") == 1;
    eventually("the tunnel ends", ended);
}

#[test]
fn empty_continuations_pass_neither_the_bound_of_messages_nor_that_of_frames() {
    for (messages, burst, most) in [("1", "5", 5), ("0", "20", 1_000)] {
        let (origin, told) = telling();
        let gateway = bounded(&origin)
            .env("WS_MESSAGES_PER_SECOND", messages)
            .env("WS_MESSAGES_BURST", burst)
            .env("WS_MAX_MESSAGE_BYTES", "1KiB")
            .start();
        let mut socket = Socket::open(&gateway, "ann");
        let began = Instant::now();
        let flood = Frame::new(0x00, []).masked().repeat(100_000);
        socket.send(Frame::new(0x01, [])).send_raw(flood);
        is_one_too_many(&mut socket, &gateway);
        let rate = if most == 5 { 1.0 } else { 1_000.0 };
        let most = most + (began.elapsed().as_secs_f64() * rate) as usize + 1;
        let heard = heard(&told);
        assert!(heard <= most, "{heard} of at most {most}");
    }
}

#[test]
fn a_second_of_frames_may_come_at_once_and_a_large_message_in_many_fragments() {
    let (origin, told) = telling();
    let gateway = bounded(&origin).start();
    let mut socket = Socket::open(&gateway, "ann");
    socket.send_raw(Frame::new(0x81, "chat").masked().repeat(900));
    socket.send(Frame::new(0x02, vec![7; 10_000]));
    for _ in 0..60 {
        socket.send(Frame::new(0x00, vec![7; 10_000]));
    }
    socket.send(Frame::new(0x80, []));
    (0..962).for_each(|nth| assert!(told.recv_timeout(PATIENCE).expect("a frame").is_some(), "{nth}"));
}

#[test]
fn a_flood_of_pings_ends_the_tunnel() {
    let (origin, told) = telling();
    let gateway = bounded(&origin).start();
    for first in [0x89, 0x8a] {
        let mut socket = Socket::open(&gateway, "ann");
        let began = Instant::now();
        socket.send_raw(Frame::new(first, "x").masked().repeat(500));
        assert_eq!(socket.read().code(), Some(1008));
        drop(socket);
        let (most, heard) = (20 + began.elapsed().as_secs() as usize * 10 + 10, heard(&told));
        assert!(heard <= most, "{heard} of at most {most}");
    }
}

#[test]
fn answers_to_pings_are_never_too_many() {
    let origin = Origin::new(|exchange| {
        let Some(mut side) = ServerSide::accept(exchange) else { return };
        (0..300).for_each(|_| side.send(Frame::ping("are you there")));
        side.echo();
    });
    let gateway = bounded(&origin).env("WS_PING_INTERVAL", "1s").start();
    let mut socket = Socket::open(&gateway, "ann");
    let pings: Vec<Frame> = (0..300).map(|_| socket.read()).collect();
    // As a client does that was asleep: all at once.
    socket.send_raw(pings.iter().flat_map(|ping| Frame::pong(&ping.payload).masked()).collect::<Vec<u8>>());
    socket.expect_echo("still there");
    // The gateway's own.
    for _ in 0..2 {
        let ping = socket.read();
        assert_eq!(ping.first, 0x89);
        socket.send(Frame::pong(&ping.payload));
    }
    socket.expect_echo("and there");
}

#[test]
fn a_user_has_twenty_sockets_unless_the_operator_wants_more() {
    let origin = echoing();
    let gateway = bounded(&origin).start();
    let mut sockets: Vec<Socket> = (0..20).map(|_| Socket::open(&gateway, "ann")).collect();
    let refused = gateway.ask(handshake().token("ann"));
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_websockets"));
    sockets[0].expect_echo("hi");
    Socket::open(&gateway, "bob").expect_echo("hi");
    let gateway = bounded(&origin).env("WS_MAX_PER_USER", "0").start();
    let sockets: Vec<Socket> = (0..30).map(|_| Socket::open(&gateway, "ann")).collect();
    eventually("all of them are open", || gateway.metric("tunnels_open") == sockets.len() as u64);
}
