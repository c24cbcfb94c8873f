//! Flow control in both directions: bodies in bounded memory, and windows that are games.

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::*;
use crate::harness::h2::{self, H2Client, frame, head};

fn settings(client: &mut H2Client, window: u32) {
    let payload = [&[0, 4][..], &window.to_be_bytes()].concat();
    client.send(frame(h2::SETTINGS, 0, 0, payload));
    while client.wait(h2::SETTINGS).flags != h2::ACK {}
}

fn open(client: &mut H2Client, stream: u32, increment: u32) {
    client.send(frame(h2::WINDOW_UPDATE, 0, stream, increment.to_be_bytes()));
}

fn large(bytes: usize) -> Origin {
    let body = vec![b'd'; bytes];
    Origin::fixed([format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes(), &body].concat())
}

#[test]
fn nothing_is_sent_beyond_a_window() {
    let origin = large(100_000);
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    settings(&mut client, 10);
    client.get(1, ME, &token("ann"));
    client.wait(h2::HEADERS);
    assert_eq!(client.wait(h2::DATA).payload.len(), 10);
    client.expect_alive();
    open(&mut client, 1, 1);
    assert_eq!(client.wait(h2::DATA).payload.len(), 1);
    // All of it at once, and then what the connection's window has left.
    settings(&mut client, 1_000_000);
    let mut came = 11;
    while came < 65_535 {
        came += client.wait(h2::DATA).payload.len();
    }
    assert_eq!(came, 65_535);
    client.expect_alive();
    open(&mut client, 0, 100_000);
    while came < 100_000 {
        came += client.wait(h2::DATA).payload.len();
    }
    assert_eq!(came, 100_000);
}

#[test]
fn a_window_may_become_smaller_than_nothing() {
    let origin = large(1_000);
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    settings(&mut client, 500);
    client.get(1, ME, &token("ann"));
    client.wait(h2::HEADERS);
    assert_eq!(client.wait(h2::DATA).payload.len(), 500);
    settings(&mut client, 0);
    open(&mut client, 1, 500);
    client.expect_alive();
    assert!(client.seen().iter().all(|frame| frame.kind != h2::DATA));
    open(&mut client, 1, 500);
    let last = client.wait(h2::DATA);
    assert_eq!((last.payload.len(), last.flags), (500, h2::END_STREAM));
}

#[test]
fn a_client_that_sends_beyond_our_window_is_cut_off() {
    let (origin, _held) = Origin::held();
    let gateway = builder(&origin).env("BODY_MAX_BYTES", "1GiB").start();
    let mut client = connect(&gateway);
    // The upstream takes nothing at first: it has answered nothing, and reads a complete request alone.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    let stuck = Origin::new(move |exchange| {
        // The kernel takes no more of it than that, and nobody reads it until the test is over.
        set_socket_recv_buffer_size(exchange.stream(), 64 << 10).expect("an option");
        exchange.read_head();
        let _ = ended.lock().expect("no panic").recv();
    });
    let stuck = builder(&stuck).env("BODY_MAX_BYTES", "1GiB").start();
    let mut client_of_stuck = connect(&stuck);
    client_of_stuck.begin(1, &head("POST", LOGIN, &[]), false);
    for _ in 0..1_000 {
        client_of_stuck.data(1, vec![0; 16_384], false);
    }
    loop {
        let frame = client_of_stuck.next().expect("an error of flow control");
        if matches!(frame.kind, h2::RST_STREAM | h2::GOAWAY) {
            assert_eq!(frame.code(), h2::FLOW_CONTROL_ERROR);
            break;
        }
    }
    client.expect_alive();
    drop(end);
}

#[test]
fn uploads_and_downloads_of_any_length_in_bounded_memory() {
    const LENGTH: usize = 64 << 20;
    let origin = Origin::new(|exchange| {
        while let Some(head) = exchange.read_head() {
            match head.field("content-length") {
                Some(length) => {
                    exchange.skip(length.parse().expect("a length"));
                    exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
                None => {
                    exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
                    (0..LENGTH >> 18).for_each(|_| exchange.write(vec![b'd'; 1 << 18]));
                }
            }
        }
    });
    let gateway = builder(&origin).env("BODY_MAX_BYTES", "0").start();
    let before_kib = gateway.rss_kib();
    let mut client = connect(&gateway);
    settings(&mut client, 1 << 20);
    open(&mut client, 0, 1 << 20);
    client.get(1, ME, &token("ann"));
    client.wait(h2::HEADERS);
    let mut came = 0;
    while came < LENGTH {
        let bytes = client.wait(h2::DATA).payload.len();
        came += bytes;
        open(&mut client, 0, bytes as u32);
        open(&mut client, 1, bytes as u32);
    }
    assert_eq!(came, LENGTH);
    let length = LENGTH.to_string();
    client.begin(3, &head("POST", LOGIN, &[("content-length", &length)]), false);
    let (mut left, mut window, mut of_connection) = (LENGTH, 65_535usize, 256usize << 10);
    while left > 0 {
        let count = left.min(window).min(of_connection).min(16_384);
        if count == 0 {
            let update = client.wait(h2::WINDOW_UPDATE);
            let increment = update.code() as usize;
            match update.stream {
                0 => of_connection += increment,
                _ => window += increment,
            }
            continue;
        }
        client.data(3, vec![b'u'; count], left == count);
        (left, window, of_connection) = (left - count, window - count, of_connection - count);
    }
    assert_eq!(client.answer(3).status(), 200);
    assert!(gateway.rss_kib() < before_kib + 8 * 1024, "{} KiB", gateway.rss_kib() - before_kib);
}

#[test]
fn a_client_that_opens_no_window_is_given_up_and_the_other_streams_go_on() {
    let origin = large(1_000);
    let gateway = builder(&origin).env("BODY_TIMEOUT", "1s").start();
    let mut client = connect(&gateway);
    settings(&mut client, 0);
    client.get(1, ME, &token("ann"));
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.reset, answer.body.len()), (200, Some(2), 0));
    settings(&mut client, 65_535);
    client.get(3, ME, &token("ann"));
    assert_eq!(client.answer(3).body.len(), 1_000);
}

#[test]
fn a_client_that_opens_a_byte_at_a_time_is_given_up() {
    let origin = large(100_000);
    let gateway = builder(&origin).env("BODY_TIMEOUT", "1s").env("BODY_MIN_RATE", "1000").start();
    let mut client = connect(&gateway);
    settings(&mut client, 1);
    client.get(1, ME, &token("ann"));
    client.wait(h2::HEADERS);
    loop {
        match client.next().expect("a reset") {
            frame if frame.kind == h2::DATA => {
                std::thread::sleep(std::time::Duration::from_millis(20));
                open(&mut client, 1, 1);
            }
            frame if frame.kind == h2::RST_STREAM => break,
            _ => {}
        }
    }
    client.expect_alive();
}

#[test]
fn a_body_that_stands_still_is_given_up() {
    let origin = Origin::echo();
    let gateway = builder(&origin).env("BODY_TIMEOUT", "1s").start();
    let mut client = connect(&gateway);
    client.begin(1, &head("POST", LOGIN, &[]), false).data(1, "some", false);
    let answer = client.answer(1);
    assert_eq!((answer.status(), answer.code()), (408, "request_body_timeout".to_owned()));
    client.expect_alive();
}

/// One that takes all it can get does not keep others from their turn.
#[test]
fn a_large_answer_does_not_hold_up_small_ones() {
    let origin = Origin::each(|request| {
        let bytes = if request.target().ends_with("large") { 8 << 20 } else { 10 };
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes(), vec![b'd'; bytes]]
            .concat()
    });
    let gateway = before(&origin);
    let mut client = connect(&gateway);
    settings(&mut client, 16 << 20);
    open(&mut client, 0, 64 << 20);
    client.get(1, &format!("{ME}?large"), &token("ann"));
    client.wait(h2::DATA);
    for nth in 1..20u32 {
        client.get(2 * nth + 1, ME, &token("ann"));
    }
    for nth in 1..20u32 {
        assert_eq!(client.answer(2 * nth + 1).body.len(), 10);
    }
    let before_it_ended = client.seen().iter().filter(|frame| frame.stream == 1 && frame.flags == 1).count();
    assert_eq!(client.answer(1).body.len() + 1, (8 << 20) + 1 - first_piece());
    assert_eq!(before_it_ended, 0, "the large one was still going on");
}

/// What `wait` has taken of the large answer.
fn first_piece() -> usize {
    16_384
}

#[test]
fn answers_that_nobody_takes_hold_no_more_than_their_bytes() {
    let origin = Origin::echo();
    let gateway = builder(&origin).env("RATE_LIMIT_STORE", "off").start();
    let mut clients: Vec<H2Client> = (0..10).map(|_| connect(&gateway)).collect();
    for client in &mut clients {
        settings(client, 0);
        for nth in 0..100 {
            client.begin(2 * nth + 1, &head("GET", ME, &[]), true);
        }
    }
    eventually("all wait", || gateway.metric("http2_streams_open") == 1_000);
    eventually("each is refused", || gateway.metric("errors_total{code=\"token_missing\"") == 1_000);
    // Each of them held a block of 64 KiB, and others had to go for it.
    eventually("they hold little", || gateway.metric("buffer_bytes_held") < 1_000 * 1_024);
    assert_eq!(gateway.get(ME, "ann").status, 200);
    // Once there is room, each gets its answer.
    for client in &mut clients {
        settings(client, 1_000);
        assert_eq!(client.answer(1).status(), 401);
        assert_eq!(client.answer(199).code(), "token_missing");
    }
}
