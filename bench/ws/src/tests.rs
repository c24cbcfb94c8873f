//! The two ends against each other, with no proxy between, and frames cut anywhere.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use crate::frame::{self, Side, Splitter};
use crate::handshake;
use crate::load::Load;
use crate::origin;
use crate::plan::{Plan, Report, Traffic};

#[test]
fn echoes_come_back() {
    let report = loaded(Traffic::Echo, 100);
    assert!(report.messages > 0 && report.bytes == report.messages * 100);
}

#[test]
fn echoes_of_a_mebibyte_come_back() {
    let report = loaded(Traffic::Echo, 1 << 20);
    assert!(report.messages > 0 && report.bytes == report.messages << 20);
}

#[test]
fn bulk_comes_down_whole() {
    let report = loaded(Traffic::Down, 4096);
    assert!(report.messages > 0 && report.bytes == report.messages * 4096);
}

#[test]
fn bulk_goes_up_whole() {
    let report = loaded(Traffic::Up, 65_536);
    assert!(report.messages > 0 && report.bytes == report.messages * 65_536);
}

#[test]
fn a_stream_cut_anywhere_has_the_same_frames() {
    let mut stream = Vec::new();
    frame::put(&mut stream, Side::Client, frame::TEXT, b"hello");
    frame::put(&mut stream, Side::Server, frame::PING, b"");
    frame::put(&mut stream, Side::Client, frame::BINARY, &[7; 300]);
    for cut in 0..=stream.len() {
        let mut splitter = Splitter::default();
        let mut whole: Vec<(u8, Vec<u8>)> = Vec::new();
        for mut part in [&stream[..cut], &stream[cut..]] {
            while let Some(piece) = splitter.next(&mut part) {
                if piece.is_first() {
                    whole.push((piece.header.opcode, Vec::new()));
                }
                let mut payload = piece.payload.to_vec();
                frame::apply_mask(&mut payload, piece.header.mask.unwrap_or_default(), piece.offset);
                whole.last_mut().expect("a first piece").1.extend(payload);
            }
        }
        let expected =
            [(frame::TEXT, b"hello".to_vec()), (frame::PING, vec![]), (frame::BINARY, vec![7; 300])];
        assert_eq!(whole, expected, "cut at {cut}");
    }
}

#[test]
fn a_handshake_is_accepted_as_in_the_rfc() {
    let (head, _) = handshake::answer(&handshake::request("/ws", "h", None));
    assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_eq!(handshake::check(&head), Ok(()));
    assert!(handshake::check("HTTP/1.1 501 Not Implemented\r\n\r\n").is_err());
}

/// A short load of 3 idle and 2 busy tunnels straight on an origin.
fn loaded(traffic: Traffic, frame_bytes: usize) -> Report {
    let to = origin_address();
    let measured = Duration::from_millis(200);
    let (path, token) = ("/ws".to_owned(), Some("t".to_owned()));
    let plan = Plan { to, path, token, idle: 3, busy: 2, traffic, frame_bytes, measured, stepped: false };
    let mut load = Load::new(plan).expect("an epoll");
    load.open().expect("all tunnels open");
    load.measure().expect("no tunnel is lost")
}

fn origin_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("its address");
    drop(free);
    thread::spawn(move || origin::run(address, Duration::from_secs(10)));
    thread::sleep(Duration::from_millis(50));
    address
}
