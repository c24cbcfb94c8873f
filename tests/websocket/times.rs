//! What time does to a tunnel: pings, idleness, a lifetime, a token's end.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;

fn upstream_code(told: &mpsc::Receiver<Option<Frame>>) -> Option<u16> {
    told.recv_timeout(PATIENCE).expect("the upstream hears something").and_then(|frame| frame.code())
}

#[test]
fn a_quiet_client_that_answers_pings_stays_and_its_pongs_go_no_further() {
    let (origin, told) = telling();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("WS_PING_INTERVAL", "1s")
        .env("WS_IDLE_TIMEOUT", "3s")
        .start();
    let mut socket = Socket::open(&gateway, "ann");
    for _ in 0..5 {
        let ping = socket.read();
        assert_eq!((ping.first, ping.payload.len()), (0x89, 8), "{ping:?}");
        socket.send(Frame::pong(&ping.payload));
    }
    // A pong of its own, and one that only looks like an answer, are the upstream's business.
    socket.send(Frame::pong("")).send(Frame::pong("12345678"));
    for payload in ["", "12345678"] {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Some(Frame::pong(payload))));
    }
    assert!(gateway.metric("tunnel_pings_total") >= 4);
    assert_eq!(gateway.metric("tunnels_open"), 1);
}

#[test]
fn a_ping_that_is_not_answered_for_two_intervals_ends_the_tunnel() {
    let (origin, told) = telling();
    let gateway = Gateway::builder().everywhere(&origin).env("WS_PING_INTERVAL", "1s").start();
    let since = Instant::now();
    let mut socket = Socket::open(&gateway, "ann");
    assert_eq!(socket.read().first, 0x89);
    let close = socket.read();
    assert_eq!((close.code(), &close.payload[2..]), (Some(1001), &b"ping unanswered"[..]));
    assert!((Duration::from_millis(2_900)..SOON).contains(&since.elapsed()), "{:?}", since.elapsed());
    assert_eq!(upstream_code(&told), Some(1001));
    eventually("the tunnel ends", || gateway.metric("tunnels_closed_total{reason=\"ping_unanswered\"}") == 1);
    assert_eq!(gateway.metric("tunnel_pings_total"), 1);
}

#[test]
fn a_client_that_only_listens_to_a_steady_stream_is_pinged_and_stays() {
    let origin = Origin::new(|exchange| {
        let Some(side) = ServerSide::accept(exchange) else { return };
        // Frames without a pause between them: every read of the gateway's ends inside of one.
        let stream = Frame::new(0x82, vec![7; 1_000]).plain().repeat(16);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(5) {
            side.exchange.write(&stream);
        }
    });
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("WS_PING_INTERVAL", "1s")
        .env("WS_IDLE_TIMEOUT", "3s")
        .start();
    let mut socket = Socket::open(&gateway, "ann");
    let mut pings = 0;
    while let Some(frame) = socket.try_read() {
        match frame.first {
            0x89 => {
                pings += 1;
                socket.send(Frame::pong(&frame.payload));
            }
            first => assert_eq!((first, frame.payload.len()), (0x82, 1_000)),
        }
    }
    // One a second where the client comes to them in time.
    assert!(pings >= 2, "{pings} pings");
}

#[test]
fn a_slow_reader_has_the_time_to_come_to_its_ping() {
    let origin = Origin::new(|exchange| {
        let Some(side) = ServerSide::accept(exchange) else { return };
        let stream = Frame::new(0x82, vec![7; 1_000]).plain().repeat(16);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(7) {
            side.exchange.write(&stream);
        }
    });
    let gateway = Gateway::builder().everywhere(&origin).env("WS_PING_INTERVAL", "1s").start();
    let mut socket = Socket::open(&gateway, "ann");
    let (mut frames, since) = (0, Instant::now());
    // 1.5 MB/s: a ping stands behind megabytes.
    while since.elapsed() < Duration::from_secs(7) {
        let frame = socket.read();
        match frame.first {
            0x89 => {
                socket.send(Frame::pong(&frame.payload));
            }
            first => assert_eq!(first, 0x82, "{frame:?}"),
        }
        frames += 1;
        if frames % 15 == 0 {
            thread::sleep(Duration::from_millis(10));
        }
    }
    assert!(gateway.metric("tunnel_pings_total") > 0);
}

#[test]
fn a_tunnel_that_is_cut_off_by_the_end_of_a_drain_has_its_line() {
    for driver in ["auto", "epoll"] {
        let (origin, _told) = telling();
        let mut gateway = Gateway::builder()
            .everywhere(&origin)
            .env("IO_DRIVER", driver)
            .env("ACCESS_LOG", "stdout")
            .env("SHUTDOWN_TIMEOUT", "1s")
            .start();
        let _silent: Vec<Socket> = (0..20).map(|_| Socket::open(&gateway, "ann")).collect();
        gateway.signal(rustix::process::Signal::TERM);
        assert_eq!(gateway.wait().code(), Some(0));
        let told = || gateway.stdout().iter().filter(|line| line.contains("\"end\":\"drained\"")).count();
        eventually("every tunnel has its line", || told() == 20);
    }
}

#[test]
fn a_client_that_says_nothing_at_all_ends_at_the_idle_timeout() {
    let (origin, told) = telling();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("WS_PING_INTERVAL", "0s")
        .env("WS_IDLE_TIMEOUT", "1s")
        .start();
    let since = Instant::now();
    let mut socket = Socket::open(&gateway, "ann");
    socket.expect_goodbye(1001);
    assert!((Duration::from_millis(950)..SOON).contains(&since.elapsed()), "{:?}", since.elapsed());
    assert_eq!(upstream_code(&told), Some(1001));
    eventually("the tunnel ends", || gateway.metric("tunnels_closed_total{reason=\"idle\"}") == 1);
}

#[test]
fn a_tunnel_ends_with_its_token_unless_the_operator_says_otherwise() {
    for (expiry, closes) in [("close", true), ("ignore", false)] {
        let (origin, told) = telling();
        let gateway = Gateway::builder().everywhere(&origin).env("WS_TOKEN_EXPIRY", expiry).start();
        let claims = serde_json::json!({ "sub": "ann", "exp": now() + 4 }).to_string();
        let short = token_with(claims, r#"{"alg":"HS256"}"#, SECRET);
        let mut socket = Socket::open_with(&gateway, &handshake().bearer(&short));
        if !closes {
            thread::sleep(Duration::from_millis(5_000));
            socket.send(Frame::text("still here"));
            assert_eq!(told.recv_timeout(PATIENCE), Ok(Some(Frame::text("still here"))));
            continue;
        }
        let close = socket.expect_goodbye(1008);
        assert_eq!(&close.payload[2..], b"token expired");
        assert_eq!(upstream_code(&told), Some(1001));
        assert_eq!(told.recv_timeout(PATIENCE), Ok(None));
        eventually("the tunnel ends", || {
            gateway.metric("tunnels_closed_total{reason=\"token_expired\"}") == 1
        });
    }
}

/// `TIMER_KEEPALIVE` as /proc/net/tcp writes it.
const KEEPALIVE: &str = "02";

#[test]
fn the_kernel_looks_after_both_ends_of_a_quiet_tunnel() {
    let origin = echoing();
    let gateway = Gateway::before(&origin);
    let mut socket = Socket::open(&gateway, "ann");
    socket.expect_echo("hi");
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let mut client = socket.client().stream().local_addr().expect("an address");
    if scheme() == "https" {
        // The address of what stands in between is unknown here, so one side alone is looked at.
        client = origin.address;
    }
    // Of the gateway's sockets: the other end of the client's, and the other end of the origin's.
    for remote in [port(client), port(origin.address)] {
        let timer = || {
            let sockets = std::fs::read_to_string("/proc/net/tcp").expect("/proc");
            let mut lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let line =
                lines.find(|words| words.len() > 5 && words[2].ends_with(&remote) && words[3] == "01")?;
            line[5].split(':').next().map(str::to_owned)
        };
        eventually("its keep-alive timer runs", || timer().as_deref() == Some(KEEPALIVE));
    }
}
