//! Answers cut anywhere, the schedule's arithmetic, and a load on origins of which one stands still for a moment.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::answer::{Answer, Answered, Broken};
use crate::idle::Held;
use crate::load::Load;
use crate::plan::{Hold, Plan, Request};
use crate::report::Report;
use crate::schedule::Schedule;

const OK: Answered = Answered { status: 200, keep_alive: true };

#[test]
fn an_answer_cut_anywhere_ends_where_it_ends() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\r\r\n0\r\nA: b\r\nC: d\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ];
    for text in answers {
        let bytes = text.as_bytes();
        for cut in 1..bytes.len() {
            let mut answer = Answer::default();
            // Twice, for the second must find nothing of the first.
            for _ in 0..2 {
                assert_eq!(answer.take(&bytes[..cut]), Ok(None), "cut at {cut} of {text:?}");
                assert_eq!(answer.take(&bytes[cut..]), Ok(Some(OK)), "cut at {cut} of {text:?}");
            }
        }
        let mut answer = Answer::default();
        let last = bytes.iter().map(|byte| answer.take(&[*byte])).last();
        assert_eq!(last, Some(Ok(Some(OK))), "byte by byte: {text:?}");
    }
}

#[test]
fn an_answer_says_whether_its_connection_stays() {
    let taken = |text: &str| Answer::default().take(text.as_bytes());
    let ended = |status| Ok(Some(Answered { status, keep_alive: false }));
    assert_eq!(taken("HTTP/1.1 401 No\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n"), ended(401));
    assert_eq!(taken("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), ended(200));
    assert_eq!(taken("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"), ended(304));
}

#[test]
fn what_is_no_answer_is_told() {
    let broken = |text: &str| Answer::default().take(text.as_bytes()).expect_err(text);
    assert_eq!(broken("SSH-2.0-x\r\n"), Broken::Head);
    assert_eq!(broken("HTTP/1.1 200 OK\r\n\r\n"), Broken::Framing);
    assert_eq!(broken("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), Broken::Framing);
    assert_eq!(broken("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n"), Broken::Framing);
    assert_eq!(broken("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), Broken::Framing);
    let both = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(broken(both), Broken::Framing);
    let chunked = |body| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    assert_eq!(broken(&chunked("x\r\n")), Broken::Chunk);
    assert_eq!(broken(&chunked("1\r\nabc")), Broken::Chunk);
    assert_eq!(broken("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"), Broken::Surplus);
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(65_536));
    assert_eq!(broken(&endless), Broken::HeadTooLong);
}

#[test]
fn a_request_is_due_by_its_number_alone() {
    let to = "127.0.0.1:1".parse().expect("an address");
    let mut plan = plan(to, 3.0, 1);
    (plan.measured, plan.warm_up) = (Duration::from_secs(10), Duration::from_secs(1));
    let schedule = Schedule::new(&plan);
    assert_eq!((schedule.warm_up, schedule.total), (3, 33));
    assert!(!schedule.is_measured(2) && schedule.is_measured(3));
    assert_eq!(
        [0, 1, 2, 3].map(|index| schedule.due_ns(index)),
        [0, 333_333_333, 666_666_666, 1_000_000_000]
    );
    assert_eq!((schedule.measured_ns(), schedule.end_ns()), (1_000_000_000, 11_000_000_000));
    // A third of a nanosecond that is lost each time would be seconds after a day.
    assert_eq!(schedule.due_ns(3 * 86_400), 86_400_000_000_000);
}

#[test]
fn a_stall_shows_in_the_corrected_latency_alone() {
    let stall = Duration::from_millis(200);
    let report = loaded(Behaviour::StandsStill { before: 500, stall }, 2_000.0, 1);
    assert_eq!((report.requests(), report.errors()), (2_000, 0));
    let p999_ms = |histogram: &hdrhistogram::Histogram<u64>| histogram.value_at_quantile(0.999) / 1_000_000;
    let (corrected_ms, uncorrected_ms) = (p999_ms(&report.latency), p999_ms(&report.uncorrected));
    assert!((190..2_000).contains(&corrected_ms), "corrected: {corrected_ms} ms");
    assert!(uncorrected_ms < 100, "uncorrected: {uncorrected_ms} ms");
    // It did see the stall, once: of 2,000 requests one is too few for this percentile.
    assert!(report.uncorrected.max() / 1_000_000 >= 190);
}

#[test]
fn a_closed_connection_is_an_error_and_opened_anew() {
    let report = loaded(Behaviour::Closes { after: 100 }, 1_000.0, 2);
    assert!(report.errors() > 0 && report.requests() + report.errors() >= 1_000, "{}", report.json());
    assert!(report.requests() > 900, "{}", report.json());
}

#[test]
fn what_has_waited_in_vain_counts_with_its_wait() {
    let stall = Duration::from_secs(10);
    let report = loaded(Behaviour::StandsStill { before: 500, stall }, 1_000.0, 1);
    assert_eq!((report.requests(), report.errors()), (500, 500));
    assert!(report.latency.max() >= 5_000_000_000 && report.latency.len() == 1_000);
}

#[test]
fn connections_are_held_and_their_end_is_seen() {
    let request = Request::get(origin(Behaviour::Closes { after: 1 }), "/", &[]);
    let plan = Hold { request, connections: 100, stepped: false };
    let mut held = Held::open(&plan).expect("all open");
    for _ in 0..100 {
        held.turn().expect("a turn");
        if held.json() == "{\"open\": 0}" {
            return;
        }
    }
    panic!("their end was not seen: {}", held.json());
}

/// What an origin does besides answering.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Once, before the answer with this number.
    StandsStill { before: usize, stall: Duration },
    /// Each connection, after so many answers, without a word.
    Closes { after: usize },
}

fn loaded(behaviour: Behaviour, rate: f64, connections: usize) -> Report {
    let plan = plan(origin(behaviour), rate, connections);
    Load::open(&plan).expect("all connections").measure().expect("a report")
}

fn plan(to: SocketAddr, rate: f64, connections: usize) -> Plan {
    let request = Request::get(to, "/", &["X-Test: yes".to_owned()]);
    let (measured, warm_up) = (Duration::from_secs(1), Duration::ZERO);
    Plan { request, rate, connections, measured, warm_up, expected: 200 }
}

/// A thread for each connection; they end with the test's process.
fn origin(behaviour: Behaviour) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer_all(stream, behaviour));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream, behaviour: Behaviour) {
    let mut request = [0; 4096];
    for answers in 0.. {
        if !matches!(stream.read(&mut request), Ok(1..)) {
            return;
        }
        match behaviour {
            Behaviour::StandsStill { before, stall } if answers == before => thread::sleep(stall),
            _ => {}
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
        match behaviour {
            Behaviour::Closes { after } if answers + 1 == after => return,
            _ => {}
        }
    }
}
