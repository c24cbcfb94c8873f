//! Ends of single tunnels: what passes before them, who is told, what is given back, what is written down.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;

use crate::harness::*;

/// One end of a tunnel in the hands of a test.
struct End {
    stream: TcpStream,
    arrived: Vec<u8>,
    /// A client's end: what it sends is masked.
    is_client: bool,
}

/// How an end hears of the end.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Fin,
    Reset,
    /// Nothing, for as long as a test may wait.
    Nothing,
}

impl End {
    fn new(stream: TcpStream, is_client: bool) -> End {
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        End { stream, arrived: Vec::new(), is_client }
    }

    fn raw(&mut self, bytes: impl AsRef<[u8]>) -> &mut End {
        self.stream.write_all(bytes.as_ref()).expect("the gateway takes bytes");
        self
    }

    fn send(&mut self, frame: Frame) -> &mut End {
        let bytes = if self.is_client { frame.masked() } else { frame.plain() };
        self.raw(bytes)
    }

    /// The first bytes of a frame.
    fn send_part(&mut self, payload: usize, bytes: usize) {
        let frame = Frame::new(0x82, vec![7; payload]);
        let whole = if self.is_client { frame.masked() } else { frame.plain() };
        self.raw(&whole[..bytes]);
    }

    /// Sends until nothing more goes.
    fn flood(&mut self) {
        let piece = Frame::new(0x82, vec![9; 20_000]);
        let piece = if self.is_client { piece.masked() } else { piece.plain() };
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a write timeout");
        while self.stream.write_all(&piece).is_ok() {}
    }

    #[track_caller]
    fn read(&mut self) -> Frame {
        loop {
            if let Some(frame) = Frame::take(&mut self.arrived) {
                assert_eq!(frame.is_masked, !self.is_client, "{frame:?}");
                return Frame { is_masked: false, ..frame };
            }
            let mut space = [0; 1 << 14];
            match self.stream.read(&mut space) {
                Ok(count @ 1..) => self.arrived.extend(&space[..count]),
                other => panic!("a frame, not {other:?}"),
            }
        }
    }

    /// Reads whatever comes, up to the end.
    fn end(&mut self) -> (Heard, Vec<u8>) {
        let mut all = std::mem::take(&mut self.arrived);
        match self.stream.read_to_end(&mut all) {
            Ok(_) => (Heard::Fin, all),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (Heard::Reset, all),
            Err(_) => (Heard::Nothing, all),
        }
    }

    #[track_caller]
    fn expect_end(&mut self, heard: Heard) {
        let (end, all) = self.end();
        assert_eq!((end, show(&all)), (heard, String::new()));
    }

    fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a half-close");
    }

    fn reset(self) {
        set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

/// A gateway of which the test holds both ends of every tunnel.
struct Stage {
    gateway: Gateway,
    upstreams: Receiver<TcpStream>,
    _origin: Origin,
    fds: usize,
}

impl Stage {
    fn new(driver: &str) -> Stage {
        Stage::with(driver, |builder| builder)
    }

    fn with(driver: &str, settings: impl FnOnce(Builder) -> Builder) -> Stage {
        let (give, upstreams) = channel();
        let origin = Origin::new(move |exchange| {
            if ServerSide::accept(exchange).is_some() {
                let _ = give.send(exchange.stream().try_clone().expect("a descriptor"));
            }
        });
        let builder = Gateway::builder().everywhere(&origin).env("IO_DRIVER", driver);
        let gateway = settings(builder).start();
        let fds = gateway.fd_count();
        Stage { gateway, upstreams, _origin: origin, fds }
    }

    /// Client and upstream.
    #[track_caller]
    fn tunnel(&self) -> (End, End) {
        let mut socket = Socket::open(&self.gateway, "ann");
        let client = socket.client().stream().try_clone().expect("a descriptor");
        let upstream = self.upstreams.recv_timeout(PATIENCE).expect("the upstream's end");
        (End::new(client, true), End::new(upstream, false))
    }

    /// The counts of tunnels, connections and descriptors are what they were.
    #[track_caller]
    fn expect_nothing_left(&self) {
        let gateway = &self.gateway;
        eventually("no tunnel is left", || gateway.metric("tunnels_open") == 0);
        eventually("no connection is left", || gateway.metric("connections_open") == 0);
        eventually("no descriptor is left", || {
            gateway.fd_count() <= self.fds + 2 * gateway.metric("pipes_open") as usize
        });
    }

    #[track_caller]
    fn expect_closed(&self, reason: &str, count: u64) {
        let name = format!("tunnels_closed_total{{reason=\"{reason}\"}}");
        eventually(&name, || self.gateway.metric(&name) == count);
    }
}

const DRIVERS: [&str; 2] = ["auto", "epoll"];

#[test]
fn a_client_that_has_sent_its_last_still_gets_what_the_upstream_sends() {
    for driver in DRIVERS {
        let stage = Stage::new(driver);
        let (mut client, mut upstream) = stage.tunnel();
        client.send(Frame::text("last")).half_close();
        assert_eq!(upstream.read(), Frame::text("last"));
        upstream.expect_end(Heard::Fin);
        for length in [1, 200, 100_000] {
            thread::sleep(Duration::from_millis(20));
            upstream.send(Frame::new(0x82, vec![5; length]));
            assert_eq!(client.read(), Frame::new(0x82, vec![5; length]));
        }
        upstream.send(Frame::close(1000, "done"));
        assert_eq!(client.read(), Frame::close(1000, "done"));
        drop(upstream);
        client.expect_end(Heard::Fin);
        stage.expect_closed("client_gone", 1);
        stage.expect_nothing_left();
    }
}

#[test]
fn an_upstream_that_has_sent_its_last_still_gets_what_the_client_sends() {
    for driver in DRIVERS {
        let stage = Stage::new(driver);
        let (mut client, mut upstream) = stage.tunnel();
        upstream.send(Frame::text("bye")).half_close();
        assert_eq!(client.read(), Frame::text("bye"));
        client.expect_end(Heard::Fin);
        for length in [1, 200, 100_000] {
            thread::sleep(Duration::from_millis(20));
            client.send(Frame::new(0x82, vec![5; length]));
            assert_eq!(upstream.read(), Frame::new(0x82, vec![5; length]));
        }
        client.half_close();
        upstream.expect_end(Heard::Fin);
        stage.expect_closed("upstream_gone", 1);
        stage.expect_nothing_left();
    }
}

#[test]
fn close_frames_pass_untouched_and_nothing_behind_them() {
    for driver in DRIVERS {
        let stage = Stage::new(driver);
        let (mut client, mut upstream) = stage.tunnel();
        let late = [Frame::text("a"), Frame::close(4001, "w\u{f6}rld"), Frame::text("late")];
        client.raw(late.iter().flat_map(Frame::masked).collect::<Vec<u8>>());
        assert_eq!(upstream.read(), Frame::text("a"));
        assert_eq!(upstream.read(), Frame::close(4001, "w\u{f6}rld"));
        upstream.send(Frame::text("b")).send(Frame::close(4001, ""));
        assert_eq!(client.read(), Frame::text("b"));
        assert_eq!(client.read(), Frame::close(4001, ""));
        // "The server MUST close first" (RFC 6455 §7.1.1), and the gateway does not do it in its place.
        upstream.half_close();
        client.expect_end(Heard::Fin);
        client.half_close();
        upstream.expect_end(Heard::Fin);
        stage.expect_closed("client_closed", 1);

        let (mut client, mut upstream) = stage.tunnel();
        let late = [Frame::new(0x88, ""), Frame::text("late")];
        upstream.raw(late.iter().flat_map(Frame::plain).collect::<Vec<u8>>()).half_close();
        assert_eq!(client.read(), Frame::new(0x88, ""));
        client.expect_end(Heard::Fin);
        client.send(Frame::new(0x88, "")).half_close();
        assert_eq!(upstream.read(), Frame::new(0x88, ""));
        upstream.expect_end(Heard::Fin);
        stage.expect_closed("upstream_closed", 1);
        stage.expect_nothing_left();
    }
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    for driver in DRIVERS {
        let stage = Stage::new(driver);
        for bytes in [0, 1, 50, 60_000] {
            for is_client_lost in [true, false] {
                let (client, upstream) = stage.tunnel();
                let (mut lost, mut left) =
                    if is_client_lost { (client, upstream) } else { (upstream, client) };
                lost.send(Frame::text("before"));
                assert_eq!(left.read(), Frame::text("before"));
                lost.send_part(100_000, bytes);
                thread::sleep(Duration::from_millis(20));
                lost.reset();
                assert_eq!(
                    left.end().0,
                    Heard::Reset,
                    "{bytes} bytes of a frame, client lost: {is_client_lost}"
                );
            }
        }
        stage.expect_closed("client_gone", 4);
        stage.expect_closed("upstream_gone", 4);
        stage.expect_nothing_left();
    }
}

/// What has happened on a tunnel when one of its ends is lost.
const MOMENTS: [&str; 10] = [
    "before any frame",
    "mid-header",
    "mid-payload, small",
    "mid-payload, large",
    "mid-payload, large, the other side stalled",
    "many frames, the other side stalled",
    "after its Close frame",
    "after the other's Close frame",
    "after both Close frames",
    "during a goodbye of the gateway's",
];

/// Brings a tunnel to that moment.
#[track_caller]
fn bring(moment: &str, lost: &mut End, left: &mut End) {
    match moment {
        "mid-header" if lost.is_client => _ = lost.raw([0x82, 0xff, 0, 0, 0]),
        "mid-header" => _ = lost.raw([0x82, 0x7f, 0, 0, 0]),
        "mid-payload, small" => lost.send_part(100, 50),
        "mid-payload, large" => {
            lost.send_part(1 << 20, 300_000);
            left.stream.read_exact(&mut [0; 200_000]).expect("what was sent");
        }
        "mid-payload, large, the other side stalled" => {
            lost.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a write timeout");
            let head = if lost.is_client { vec![0x82, 0xff] } else { vec![0x82, 0x7f] };
            lost.raw(head).raw((1_u64 << 20).to_be_bytes());
            let _ = lost.stream.write_all(&vec![3; 1 << 20]);
        }
        "many frames, the other side stalled" => lost.flood(),
        "after its Close frame" | "after both Close frames" => {
            lost.send(Frame::close(1000, ""));
            assert_eq!(left.read(), Frame::close(1000, ""));
        }
        "after the other's Close frame" => {
            left.send(Frame::close(1000, ""));
            assert_eq!(lost.read(), Frame::close(1000, ""));
        }
        "during a goodbye of the gateway's" => {
            // Reserved bits: 1002 for the client, and the upstream hears of it as well.
            let (client, upstream) =
                if lost.is_client { (&mut *lost, &mut *left) } else { (&mut *left, &mut *lost) };
            client.send(Frame::new(0xf1, "x"));
            assert_eq!(client.read().code(), Some(1002));
            assert_eq!(upstream.read().code(), Some(1001));
        }
        _ => {}
    }
    if moment == "after both Close frames" {
        left.send(Frame::close(1000, ""));
        assert_eq!(lost.read(), Frame::close(1000, ""));
    }
    thread::sleep(Duration::from_millis(30));
}

#[test]
fn whoever_is_lost_at_whatever_moment_the_other_is_told_and_nothing_is_left() {
    let mut failed = Vec::new();
    let stages = DRIVERS.map(|driver| (driver, Stage::new(driver)));
    thread::scope(|scope| {
        let mut cases = Vec::new();
        for (driver, stage) in &stages {
            for moment in MOMENTS {
                for (is_client_lost, is_reset) in [(true, true), (true, false), (false, true), (false, false)]
                {
                    let (client, upstream) = stage.tunnel();
                    let case = move || {
                        let (mut lost, mut left) =
                            if is_client_lost { (client, upstream) } else { (upstream, client) };
                        bring(moment, &mut lost, &mut left);
                        if is_reset {
                            lost.reset()
                        } else {
                            drop(lost)
                        }
                        left.end().0
                    };
                    cases.push(((driver, moment, is_client_lost, is_reset), scope.spawn(case)));
                }
            }
        }
        for (name, case) in cases {
            let heard = case.join();
            if !matches!(heard, Ok(Heard::Fin | Heard::Reset)) {
                failed.push(format!("{name:?}: {heard:?}"));
            }
        }
    });
    stages.iter().for_each(|(_, stage)| stage.expect_nothing_left());
    assert!(failed.is_empty(), "(driver, moment, is_client_lost, is_reset): {failed:#?}");
}

#[test]
fn a_reset_after_a_close_frame_is_passed_on_at_once_too() {
    for driver in DRIVERS {
        let stage = Stage::new(driver);
        for moment in ["after its Close frame", "after the other's Close frame", "after both Close frames"] {
            for is_client_lost in [true, false] {
                let (client, upstream) = stage.tunnel();
                let (mut lost, mut left) =
                    if is_client_lost { (client, upstream) } else { (upstream, client) };
                bring(moment, &mut lost, &mut left);
                let since = Instant::now();
                lost.reset();
                assert_ne!(left.end().0, Heard::Nothing);
                let took = since.elapsed();
                // A close handshake that nobody answers ends after 5 s.
                let is_at_once = took < Duration::from_millis(4_900);
                assert!(is_at_once, "{moment}, client lost: {is_client_lost}: {took:?}");
            }
        }
        stage.expect_nothing_left();
    }
}

#[test]
fn a_peer_that_takes_nothing_does_not_keep_the_tunnel_of_one_that_is_gone() {
    for driver in DRIVERS {
        let quick = |builder: Builder| builder.env("WS_PING_INTERVAL", "1s").env("WS_IDLE_TIMEOUT", "2s");
        let stage = Stage::with(driver, quick);
        let mut stalled = Vec::new();
        for is_client_lost in [true, false] {
            for is_reset in [true, false] {
                let (client, upstream) = stage.tunnel();
                let (mut lost, left) = if is_client_lost { (client, upstream) } else { (upstream, client) };
                lost.flood();
                if is_reset {
                    lost.reset()
                } else {
                    drop(lost)
                }
                stalled.push(left);
            }
        }
        let since = Instant::now();
        while stage.gateway.metric("tunnels_open") > 0 && since.elapsed() < 2 * PATIENCE {
            thread::sleep(Duration::from_millis(50));
        }
        stage.expect_nothing_left();
        stalled.iter_mut().for_each(|left| assert_ne!(left.end().0, Heard::Nothing));
    }
}

/// The line of the access log that says how this tunnel ended.
#[track_caller]
fn line(gateway: &Gateway, end: &str) -> Value {
    serde_json::from_str(&gateway.wait_stdout(&format!("\"end\":\"{end}\""))).expect("JSON")
}

#[test]
fn a_tunnels_end_is_one_line_and_one_count() {
    for driver in DRIVERS {
        let stage = Stage::with(driver, |builder| {
            builder.env("ACCESS_LOG", "stdout").env("WS_MAX_MESSAGE_BYTES", "1000")
        });
        let gateway = &stage.gateway;
        let (mut client, mut upstream) = stage.tunnel();
        let parts = [Frame::new(0x01, "hel"), Frame::ping("?"), Frame::new(0x80, "lo"), Frame::text("world")];
        client.raw(parts.iter().flat_map(Frame::masked).collect::<Vec<u8>>());
        upstream.send(Frame::text("yes"));
        assert_eq!(parts.each_ref().map(|_| upstream.read()), parts);
        assert_eq!(client.read(), Frame::text("yes"));
        assert!(gateway.stdout().iter().all(|line| !line.contains("/ws")), "a line before the end");
        client.send(Frame::close(4000, "x"));
        assert_eq!(upstream.read(), Frame::close(4000, "x"));
        upstream.send(Frame::close(4000, ""));
        drop(upstream);
        assert_eq!(client.read(), Frame::close(4000, ""));
        client.expect_end(Heard::Fin);
        drop(client);
        let closed = line(gateway, "client_closed");
        for (name, value) in [("status", 101), ("close_code", 4000), ("messages_in", 2), ("messages_out", 1)]
        {
            assert_eq!(closed[name], value, "{name}: {closed}");
        }
        assert_eq!(closed["user"], "ann", "{closed}");
        assert_eq!(closed["path"], "/ws", "{closed}");

        let (client, mut upstream) = stage.tunnel();
        drop(client);
        upstream.expect_end(Heard::Fin);
        drop(upstream);
        let (mut client, upstream) = stage.tunnel();
        upstream.reset();
        client.expect_end(Heard::Reset);
        let (mut client, mut upstream) = stage.tunnel();
        upstream.send(Frame::close(1000, ""));
        assert_eq!(client.read(), Frame::close(1000, ""));
        client.send(Frame::close(1000, ""));
        drop((client, upstream));
        for (frame, code) in [(Frame::new(0xf1, ""), 1002), (Frame::new(0x82, [0; 1001]), 1009)] {
            let (mut client, mut upstream) = stage.tunnel();
            client.send(frame);
            assert_eq!(client.read().code(), Some(code));
            assert_eq!(upstream.read().code(), Some(1001));
        }
        let (mut client, mut upstream) = stage.tunnel();
        upstream.send(Frame::new(0xf1, ""));
        assert_eq!(client.read().code(), Some(1002));
        assert_eq!(upstream.read().code(), Some(1002));
        drop((client, upstream));
        for (end, code) in [
            ("client_gone", None),
            ("upstream_gone", None),
            ("upstream_closed", Some(1000)),
            ("client_misbehaved", Some(1002)),
            ("message_too_big", Some(1009)),
            ("upstream_misbehaved", Some(1002)),
        ] {
            let line = line(gateway, end);
            assert_eq!((&line["status"], line["close_code"].as_u64()), (&101.into(), code), "{line}");
            stage.expect_closed(end, 1);
        }
        stage.expect_nothing_left();
        let lines = gateway.stdout().iter().filter(|line| line.contains("\"path\":\"/ws\"")).count();
        assert_eq!(lines as u64, gateway.metric("tunnels_opened_total"));
    }
}

#[test]
fn the_bytes_of_the_line_are_those_of_heads_and_frames() {
    let stage = Stage::with("auto", |builder| builder.env("ACCESS_LOG", "stdout"));
    let bytes = |length: usize| {
        let (mut client, mut upstream) = stage.tunnel();
        client.send(Frame::new(0x82, vec![1; length]));
        assert_eq!(upstream.read().payload.len(), length);
        upstream.send(Frame::new(0x82, vec![1; 2 * length]));
        assert_eq!(client.read().payload.len(), 2 * length);
        let close = Frame::close(1000 + (length % 1000) as u16, "");
        client.send(close.clone());
        assert_eq!(upstream.read(), close);
        drop((client, upstream));
        let part = format!("\"close_code\":{}", 1000 + length % 1000);
        let line: Value = serde_json::from_str(&stage.gateway.wait_stdout(&part)).expect("JSON");
        (line["bytes_in"].as_u64().expect("a number"), line["bytes_out"].as_u64().expect("a number"))
    };
    let (empty, small, large) = (bytes(0), bytes(100), bytes(200_001));
    assert_eq!((small.0 - empty.0, small.1 - empty.1), (100, 2 + 200));
    assert_eq!((large.0 - empty.0, large.1 - empty.1), (8 + 200_001, 8 + 400_002));
}
