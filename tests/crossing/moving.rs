//! What moves, and how.

use rustix::process::{Signal, kill_process};

use super::talk::{Talk, go_on, unnoticed};
use crate::harness::*;

fn ends(gateway: &Gateway) -> Vec<String> {
    gateway.stdout().into_iter().filter(|line| line.contains("\"status\":101")).collect()
}

#[test]
fn ten_upgrades_in_a_row_move_every_byte_of_every_conversation() {
    let origin = echoing();
    for (driver, rounds) in [("auto", 10), ("epoll", 3)] {
        let builder = Gateway::builder().cores("2").everywhere(&origin).env("ACCESS_LOG", "stdout");
        let mut gateway = builder.env("IO_DRIVER", driver).upgradable().start();
        let talks: Vec<Talk> = (0..12)
            .map(|seed| {
                Talk::start(
                    gateway.public,
                    &format!("user-{seed}"),
                    seed,
                    if seed < 4 { 400_000 } else { 2_000 },
                )
            })
            .collect();
        for _ in 0..rounds {
            go_on(&talks);
            gateway.upgrade().expect("an upgrade");
        }
        go_on(&talks);
        assert_eq!(gateway.metric("tunnels_inherited_total"), 12);
        assert_eq!((gateway.metric("tunnels_open"), gateway.metric("tunnels_opened_total")), (12, 0));
        assert_eq!(gateway.wait().code(), Some(0));
        unnoticed(talks);
        eventually("every tunnel has its line", || ends(&gateway).len() >= 12);
        let lines = ends(&gateway);
        assert_eq!(lines.len(), 12, "{lines:#?}");
        for user in 0..12 {
            let of_user = format!("\"user\":\"user-{user}\"");
            assert_eq!(lines.iter().filter(|line| line.contains(&of_user)).count(), 1, "{lines:#?}");
        }
        kill_process(gateway.in_charge(), Signal::TERM).expect("it takes signals");
    }
}

#[test]
fn the_new_process_may_have_another_number_of_cores_and_another_driver() {
    let origin = echoing();
    let builder = Gateway::builder().without("CORES").everywhere(&origin).upgradable();
    let gateway = builder.config("cores = 1\n").start();
    let talks: Vec<Talk> = (0..28).map(|seed| Talk::start(gateway.public, "ann", seed, 5_000)).collect();
    for config in
        ["cores = 2\n", "cores = 1\nio_driver = 'epoll'\n", "cores = 2\nio_driver = 'epoll'\n", "cores = 1\n"]
    {
        go_on(&talks);
        gateway.rewrite_config(config);
        gateway.upgrade().expect("an upgrade");
        eventually("all of them have moved", || gateway.metric("tunnels_inherited_total") == 28);
        if config.contains("cores = 2") {
            let of_core = |core: usize| gateway.metric(&format!("tunnels_open{{core=\"{core}\"}}"));
            // A core that does not listen yet gets none of them, so how many each has is chance.
            eventually("the cores have all of them", || of_core(0) + of_core(1) == 28);
        }
    }
    go_on(&talks);
    unnoticed(talks);
    eventually("every tunnel has ended", || gateway.metric("tunnels_open") == 0);
}

#[test]
fn frames_of_which_a_half_has_come_are_finished_and_what_they_mean_is_still_known() {
    let (go_on, goes_on) = std::sync::mpsc::channel();
    let goes_on = std::sync::Mutex::new(goes_on);
    let down = Frame::new(0xc2, vec![9; 70_000]);
    let second = down.plain();
    // The extension is on, so the first frame of a message may be compressed.
    let origin = Origin::new(move |exchange| {
        if exchange.read_request().is_none() {
            return;
        }
        exchange.write(switching("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
        exchange.write(&second[..40_000]);
        let _ = goes_on.lock().expect("no panic").recv();
        exchange.write(&second[40_000..]);
        ServerSide::switched(exchange).echo();
    });
    for driver in ["auto", "epoll"] {
        let gateway = Gateway::builder().everywhere(&origin).env("IO_DRIVER", driver).upgradable().start();
        let mut socket = Socket::open(&gateway, "ann");
        let up = Frame::new(0x42, vec![7; 3_000]);
        let masked = up.masked();
        socket.send_raw(&masked[..1_000]);
        let mut arrived = Vec::new();
        while arrived.len() < 40_000 {
            arrived.extend(socket.client().read_some());
        }
        gateway.upgrade().expect("an upgrade");
        eventually("it has moved", || gateway.metric("tunnels_inherited_total") == 1);
        go_on.send(()).expect("the upstream waits");
        while arrived.len() < down.plain().len() {
            arrived.extend(socket.client().read_some());
        }
        assert!(arrived == down.plain(), "{driver}: the upstream's frame is another one");
        socket.send_raw(&masked[1_000..]).send(Frame::ping("between")).send(Frame::new(0x80, "end"));
        let came: Vec<Frame> = (0..3).map(|_| socket.read()).collect();
        assert!(came == [up, Frame::pong("between"), Frame::new(0x80, "end")], "{driver}");
        // Compressed, and in the middle of nothing: the position within messages went along too.
        socket.send(Frame::new(0xc0, "no message to continue")).expect_goodbye(1002);
    }
}

#[test]
fn what_a_peer_does_not_read_waits_in_the_new_process() {
    let large = Frame::new(0x82, (0..8_000_000).map(|at| (at * 13) as u8).collect::<Vec<u8>>());
    let bytes = large.plain();
    let origin = Origin::new(move |exchange| {
        let Some(mut side) = ServerSide::accept(exchange) else { return };
        side.exchange.write(&bytes);
        side.echo();
    });
    for (driver, splice_min) in [("auto", "32KiB"), ("epoll", "1GiB")] {
        let builder = Gateway::builder().everywhere(&origin).env("IO_DRIVER", driver);
        let gateway = builder.env("WS_SPLICE_MIN", splice_min).upgradable().start();
        let mut socket = Socket::open(&gateway, "ann");
        let mut last = 0;
        eventually("nothing goes on", || {
            let now = gateway.metric("tunnel_bytes_out_total");
            std::mem::replace(&mut last, now) == now && now > 0
        });
        for round in 1..=2 {
            gateway.upgrade().expect("an upgrade");
            eventually("it has moved", || gateway.metric("tunnels_inherited_total") == 1);
            gateway.wait_log("moved=1 stayed=0");
            assert!(last < 8_000_000, "everything was taken with nobody reading, round {round}");
        }
        assert!(socket.read() == large, "{driver} {splice_min}: another frame came");
        socket.expect_echo("on");
    }
}

#[test]
fn the_bounds_of_users_and_the_end_of_the_token_go_along() {
    let origin = echoing();
    let builder = Gateway::builder().everywhere(&origin).env("WS_MAX_PER_USER", "1");
    let gateway = builder.env("WS_PING_INTERVAL", "2s").upgradable().start();
    let claims = serde_json::json!({ "sub": "ben", "exp": now() + 12 }).to_string();
    let short = token_with(claims, r#"{"alg":"HS256"}"#, SECRET);
    let mut ben = Socket::open_with(&gateway, &handshake().bearer(&short));
    let mut ann = Socket::open(&gateway, "ann");
    // A ping of the old process's, which is answered in the new one, and goes no further.
    let ping = ann.read();
    assert_eq!(ping.first, 0x89);
    gateway.upgrade().expect("an upgrade");
    eventually("both have moved", || gateway.metric("tunnels_inherited_total") == 2);
    ann.send(Frame::pong(&ping.payload)).expect_echo("still me");
    assert_eq!(gateway.ask(handshake().bearer(&token("ann"))).status, 429, "it counts for its user");
    ann.send(Frame::close(1000, ""));
    assert_eq!(ann.read().code(), Some(1000));
    drop(ann);
    eventually("the user may have another one", || gateway.metric("tunnels_open") == 1);
    Socket::open(&gateway, "ann").expect_echo("back");
    let mut last = ben.read();
    while last.first == 0x89 {
        ben.send(Frame::pong(&last.payload));
        last = ben.read();
    }
    assert_eq!((last.code(), &last.payload[2..]), (Some(1008), &b"token expired"[..]));
}
