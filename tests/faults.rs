//! Faults on either side: an upstream that fails costs one answer, a client that vanishes costs nothing.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;

const ME: &str = "/api/v1/users/me";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A word from one thread to another: how it is said, and how it is waited for. Each is taken once.
fn word() -> (impl Fn() + Send + Sync, impl Fn() + Send + Sync) {
    let (say, said) = mpsc::channel();
    let said = Mutex::new(said);
    let say = move || {
        // An origin whose test has failed hears nothing any more.
        let _ = say.send(());
    };
    let wait = move || {
        let said = said.lock().expect("no panic while locked").recv_timeout(PATIENCE);
        said.expect("the other thread says so");
    };
    (say, wait)
}

fn get(target: &str) -> Vec<u8> {
    Request::new("GET", target).token("ann").bytes()
}

/// The head of a POST whose body of this length is still to come.
fn post(target: &str, length: u64) -> Vec<u8> {
    Request::new("POST", target).token("ann").field("Content-Length", &length.to_string()).bytes()
}

// --- Upstreams that cannot be reached

#[test]
fn a_name_that_does_not_resolve_is_a_502_and_a_clear_line_and_never_a_failed_start() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .upstream_url("profile", "http://no-such-host.invalid:80")
        .start();
    let response = gateway.get(ME, "ann");
    assert_eq!((response.status, response.code().as_str()), (502, "upstream_unreachable"));
    assert_eq!(gateway.get("/api/v1/messages", "ann").status, 200, "the others are not touched");
    let is_clear = |line: &String| line.contains("does not resolve") && line.contains("profile");
    eventually("a line that names the upstream", || gateway.log().iter().any(is_clear));
}

/// A listener whose queue is full: it accepts nothing, and the kernel ignores whoever comes.
fn full_listener() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // listen(2) may be called again: the queue is then this short.
    rustix::net::listen(&listener, 0).expect("a short queue");
    let address = listener.local_addr().expect("the port");
    let patience = Duration::from_secs(1);
    let fill = || TcpStream::connect_timeout(&address, patience).ok();
    (listener, std::iter::from_fn(fill).take(16).collect(), address)
}

#[test]
fn an_upstream_that_does_not_accept_is_a_504_in_time() {
    let (_listener, waiting, address) = full_listener();
    assert!(waiting.len() < 16, "the queue never fills");
    let gateway = Gateway::builder()
        .upstream_url("profile", &format!("http://{address}"))
        .env("UPSTREAM_CONNECT_TIMEOUT", "300ms")
        .start();
    let fds = gateway.fd_count();
    let begun = Instant::now();
    let response = gateway.get(ME, "ann");
    assert_eq!((response.status, response.code().as_str()), (504, "upstream_connect_timeout"));
    let took = begun.elapsed();
    assert!((Duration::from_millis(250)..SOON).contains(&took), "{took:?}");
    eventually("the attempt is given up", || gateway.fd_count() <= fds);
}

// --- Upstreams that fail in the middle

#[test]
fn a_reset_in_a_body_with_length_is_seen_and_the_next_request_is_served() {
    let (begun, has_begun) = word();
    let origin = Origin::new(move |exchange| {
        while let Some(request) = exchange.read_request() {
            if request.target().ends_with("me") {
                exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhell");
                // A reset takes what was not read yet along.
                has_begun();
                return exchange.reset();
            }
            exchange.write(OK);
        }
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    assert_eq!(client.send(get(ME)).read_head().word(1), "200");
    begun();
    assert!(client.read_until_gone().len() < 100_000, "it cannot be complete");
    assert_eq!(gateway.get("/api/v1/users/you", "ann").text(), "ok");
}

#[test]
fn a_second_answer_that_ends_a_full_read_reaches_nobody() {
    // The first answer fills one read to its last byte, so the second is still in the socket when the exchange ends.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n";
    let first = head.replace("65536", &(65536 - head.len()).to_string());
    let mut both = first.clone().into_bytes();
    both.resize(65536, b'a');
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    both.extend(evil.as_bytes());
    let ((asked, is_asked), (paused, is_paused)) = (word(), word());
    let (written, is_written) = word();
    let origin = Origin::new(move |exchange| {
        while exchange.read_request().is_some() {
            asked();
            is_paused();
            exchange.write_and_arrive(&both);
            written();
        }
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    for connections in 1..=10 {
        client.send(get(ME));
        is_asked();
        // It goes on when both answers are there.
        gateway.pause();
        paused();
        is_written();
        gateway.resume();
        let response = client.read_response();
        assert_eq!(response.body.len(), 65536 - head.len());
        assert!(response.body.iter().all(|&byte| byte == b'a'));
        assert_eq!(origin.connections(), connections, "a spoilt connection was used again");
    }
}

#[test]
fn a_body_that_follows_an_answer_to_head_reaches_nobody() {
    let ((answered, is_answered), (written, is_written)) = (word(), word());
    let origin = Origin::new(move |exchange| {
        while let Some(request) = exchange.read_request() {
            exchange.write(OK.split_inclusive("\r\n\r\n").next().expect("a head"));
            if request.method() != "HEAD" {
                exchange.write("ok");
            } else {
                is_answered();
                exchange.write_and_arrive("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                written();
            }
        }
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    for _ in 0..10 {
        client.send(Request::new("HEAD", ME).token("ann").bytes()).read_bodiless_response();
        answered();
        // The connection is fresh, and the body has arrived.
        is_written();
        assert_eq!(client.send(get(ME)).read_response().text(), "ok");
    }
}

#[test]
fn an_upstream_that_closes_after_each_answer_fails_no_request() {
    let (closed, is_closed) = word();
    let origin = Origin::new(move |exchange| {
        exchange.read_request();
        exchange.write(OK);
        exchange.end_and_arrive();
        closed();
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    // What can be sent again may meet a connection that is just being closed. Anything else has no promise until the
    // end has arrived.
    for _ in 0..50 {
        assert_eq!(client.send(get(ME)).read_response().status, 200);
    }
    let mut served = 0;
    while served < origin.connections() {
        is_closed();
        served += 1;
    }
    for _ in 0..20 {
        assert_eq!(client.send(post(ME, 2)).send(b"ok").read_response().status, 200);
        is_closed();
    }
}

#[test]
fn an_answer_that_nobody_asked_for_reaches_nobody_even_a_moment_late() {
    let ((answered, is_answered), (written, is_written)) = (word(), word());
    let origin = Origin::new(move |exchange| {
        while let Some(request) = exchange.read_request() {
            exchange.write(OK);
            if request.target().ends_with("me") {
                is_answered();
                exchange.write_and_arrive("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                written();
            }
        }
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    for _ in 0..10 {
        assert_eq!(client.send(get(ME)).read_response().text(), "ok");
        answered();
        // It is there before the next request. One that comes after the next request was sent is its answer: HTTP/1.1
        // has nothing to tell the two apart.
        is_written();
        assert_eq!(client.send(get("/api/v1/users/you")).read_response().text(), "ok");
    }
}

#[test]
fn an_upstream_that_stops_reading_the_body_is_a_504_in_time() {
    let (over, is_over) = word();
    let origin = Origin::new(move |exchange| {
        exchange.read_head();
        is_over();
    });
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("UPSTREAM_IDLE_TIMEOUT", "400ms")
        .env("BODY_MAX_BYTES", "0")
        .start();
    let fds = gateway.fd_count();
    let mut client = gateway.client();
    let begun = Instant::now();
    // The answer comes while the body is being sent: sending ends with it.
    client.stream().set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    client.send(post(ME, 64 << 20));
    let mut out = client.stream();
    while std::io::Write::write_all(&mut out, &[b'a'; 1 << 16]).is_ok() {}
    let response = client.read_response();
    assert_eq!((response.status, response.code().as_str()), (504, "upstream_timeout"));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    drop(client);
    eventually("both connections are closed", || gateway.fd_count() <= fds);
    over();
}

#[test]
fn an_answer_from_an_upstream_that_never_reads_the_body_reaches_the_client() {
    for length in [48 << 10, 512 << 10, 8 << 20] {
        let (over, is_over) = word();
        let origin = Origin::new(move |exchange| {
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size(exchange.stream(), 4096);
            // Not a byte is read, not even of the head: what is known of the request is that it comes.
            exchange.sleep_ms(50);
            exchange.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
            is_over();
        });
        let gateway = Gateway::before(&origin);
        let mut client = gateway.client();
        let body = vec![b'a'; length];
        let mut sender = client.stream().try_clone().expect("a second handle");
        let head = post(ME, length as u64);
        let sending = thread::spawn(move || {
            use std::io::Write;
            let _ = sender.write_all(&head).and_then(|()| sender.write_all(&body));
        });
        let response = client.read_response();
        assert_eq!((response.status, response.text().as_str()), (413, "no"), "{length}");
        // The upstream has not moved since.
        over();
        drop(client);
        sending.join().expect("the sender ends");
    }
}

// --- Connections closed just as they are used again

#[test]
fn connections_closed_just_as_they_are_reused_cost_no_get_an_error() {
    // Each connection is good for one to four answers, and is closed in the same moment as the last one is sent.
    let origin = Origin::new(|exchange| {
        for _ in 0..1 + exchange.connection % 4 {
            if exchange.read_head().is_none() {
                return;
            }
            exchange.write(OK);
        }
    });
    let gateway = Arc::new(Gateway::before(&origin));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let gateway = gateway.clone();
            thread::spawn(move || {
                let (mut client, request) = (gateway.client(), get(ME));
                for n in 0..500 {
                    let response = client.send(&request).read_response();
                    assert_eq!((response.status, response.text().as_str()), (200, "ok"), "request {n}");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("no client saw an error"));
    assert!(origin.connections() > 1_000, "only {} connections", origin.connections());
    eventually("closed connections are let go", || origin.open() <= 8);
}

// --- Clients that vanish

/// What the client was doing when it vanished.
#[derive(Debug, Clone, Copy)]
enum Stage {
    InHead,
    Waiting,
    SendingBody,
    /// The upstream has stopped reading.
    SendingStuckBody,
    ReceivingBody,
    /// Everything was sent, and more requests behind it.
    WaitingWithMoreSent,
}

const STAGES: [Stage; 6] = [
    Stage::InHead,
    Stage::Waiting,
    Stage::SendingBody,
    Stage::SendingStuckBody,
    Stage::ReceivingBody,
    Stage::WaitingWithMoreSent,
];

/// An origin that keeps every client waiting, each in the way that the target says.
fn endless_origin() -> Origin {
    Origin::new(|exchange| {
        let Some(head) = exchange.read_head() else { return };
        if head.word(1).ends_with("stuck") {
            let reading_never = Instant::now();
            while reading_never.elapsed() < Duration::from_secs(60) && !is_gone(exchange.stream()) {
                exchange.sleep_ms(20);
            }
        } else if head.word(1).ends_with("stream") {
            exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while !is_gone(exchange.stream()) {
                exchange.write(format!("1000\r\n{}\r\n", "a".repeat(0x1000)));
                exchange.sleep_ms(2);
            }
        } else {
            exchange.wait_closed();
        }
    })
}

/// The peer has closed or reset the connection, whether or not everything before was read.
fn is_gone(stream: &TcpStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut look = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut look, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// A client as it is just before it vanishes.
fn client_at(stage: Stage, gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    match stage {
        Stage::InHead => client.send("GET /api/v1/users/me HTTP/1.1\r\nHost: ch"),
        Stage::Waiting => client.send(get(ME)),
        Stage::SendingBody => client.send(post(ME, 1 << 20)).send([b'a'; 10_000]),
        Stage::SendingStuckBody => {
            client.send(post("/api/v1/users/stuck", 9 << 20));
            client.stream().set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
            let mut out = client.stream();
            while std::io::Write::write_all(&mut out, &[b'a'; 1 << 16]).is_ok() {}
            &mut client
        }
        Stage::ReceivingBody => {
            client.send(get("/api/v1/users/stream"));
            client.read_head();
            client.read_some();
            &mut client
        }
        Stage::WaitingWithMoreSent => client.send([get(ME), get(ME)].concat()),
    };
    client
}

#[test]
fn a_client_that_resets_takes_its_upstream_connection_along() {
    let origin = endless_origin();
    let gateway = Gateway::builder().everywhere(&origin).env("REQUEST_HEAD_TIMEOUT", "60s").start();
    let fds = gateway.fd_count();
    let mut stuck = 0;
    for stage in STAGES {
        let (accepted, heads) = (gateway.metric("connections_accepted_total"), origin.heads());
        let client = client_at(stage, &gateway);
        eventually(&format!("the gateway is in {stage:?}"), || {
            let has_head = matches!(stage, Stage::InHead) || origin.heads() > heads;
            gateway.metric("connections_accepted_total") > accepted && has_head
        });
        thread::sleep(Duration::from_millis(50));
        client.reset();
        let begun = Instant::now();
        eventually(&format!("nothing is left of {stage:?}"), || gateway.fd_count() <= fds);
        assert!(begun.elapsed() < SOON, "{stage:?}: {:?}", begun.elapsed());
        // An upstream that does not read cannot learn of the end either.
        if !matches!(stage, Stage::SendingStuckBody) {
            eventually(&format!("the upstream knows of {stage:?}"), || origin.open() <= stuck);
        } else {
            stuck += 1;
        }
    }
}

#[test]
fn a_client_that_closes_takes_its_upstream_connection_along() {
    let origin = endless_origin();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("REQUEST_HEAD_TIMEOUT", "60s")
        .env("CLIENT_HALF_CLOSE", "abort")
        .start();
    let fds = gateway.fd_count();
    // A close with the rest of a body still on its way cannot be told from a half-close: that is a matter of
    // `UPSTREAM_IDLE_TIMEOUT`.
    for stage in STAGES.into_iter().filter(|stage| !matches!(stage, Stage::SendingStuckBody)) {
        let (accepted, heads) = (gateway.metric("connections_accepted_total"), origin.heads());
        let client = client_at(stage, &gateway);
        eventually(&format!("the gateway is in {stage:?}"), || {
            let has_head = matches!(stage, Stage::InHead) || origin.heads() > heads;
            gateway.metric("connections_accepted_total") > accepted && has_head
        });
        thread::sleep(Duration::from_millis(50));
        drop(client);
        let begun = Instant::now();
        eventually(&format!("nothing is left of {stage:?}"), || gateway.fd_count() <= fds);
        assert!(begun.elapsed() < SOON, "{stage:?}: {:?}", begun.elapsed());
        eventually(&format!("the upstream knows of {stage:?}"), || origin.open() == 0);
    }
}

/// So many requests, each given up at one stage, half of them by reset.
fn abort(gateway: &Arc<Gateway>, count: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let abort_all = move |next: Arc<AtomicUsize>, gateway: Arc<Gateway>| {
        const QUICK: [Stage; 4] = [Stage::InHead, Stage::Waiting, Stage::SendingBody, Stage::ReceivingBody];
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return;
            }
            let client = client_at(QUICK[n % QUICK.len()], &gateway);
            if (n / QUICK.len()).is_multiple_of(2) {
                client.reset();
            }
        }
    };
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let (next, gateway) = (next.clone(), gateway.clone());
            thread::spawn(move || abort_all(next, gateway))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("every client got as far as it should"));
}

#[test]
fn ten_thousand_aborted_requests_leave_nothing_behind() {
    open_many_files();
    let origin = endless_origin();
    // Half of them close, and would otherwise be served while their upstream says nothing.
    let gateway = Gateway::builder().everywhere(&origin).env("CLIENT_HALF_CLOSE", "abort").start();
    let gateway = Arc::new(gateway);
    let settle = |fds: usize| {
        eventually("every connection is closed", || gateway.fd_count() <= fds && origin.open() == 0);
    };
    let fds = gateway.fd_count();
    // Rounds bring memory to what so many at one time need, which differs with the machine's mood. A leak would
    // grow with every one.
    let mut rss = Vec::new();
    let threads = gateway.threads();
    for _ in 0..4 {
        abort(&gateway, 10_000);
        settle(fds);
        rss.push(gateway.rss_kib());
        if rss.len() > 1 && rss[rss.len() - 1] < rss[rss.len() - 2] + 2 * 1024 {
            break;
        }
    }
    let threads_after = gateway.threads();
    println!("fds {fds} → {}, RSS {rss:?} KiB, threads {threads} → {threads_after}", gateway.fd_count());
    let grown = rss.windows(2).all(|pair| pair[1] >= pair[0] + 2 * 1024);
    assert!(!grown, "RSS grows with every round: {rss:?} KiB");
    assert!(threads_after <= threads, "threads {threads} → {threads_after}");
    assert_eq!(gateway.ask(Request::new("GET", "/healthz")).status, 200);
}

#[test]
fn a_client_that_went_away_is_counted_as_aborted_and_not_as_answered() {
    let origin = Origin::new(|exchange| {
        exchange.read_request();
        exchange.wait_closed();
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    client.send(Request::new("GET", "/api/v1/users/me").token("ann").bytes());
    eventually("the request is upstream", || !origin.requests().is_empty());
    client.reset();
    eventually("the exchange is counted", || gateway.metric("exchanges_aborted_total") == 1);
    assert_eq!(gateway.metric("responses_total{class=\"4xx\"}"), 0);
}

/// `localhost` has one address or two, by the machine's hosts file; where there are two, an upstream that listens
/// on one of them alone is found all the same, and one that listens on both gets requests on each.
#[test]
fn the_addresses_of_a_name_are_used_in_turn_and_one_that_refuses_is_passed_over() {
    let answer_and_close = |exchange: &mut Exchange| {
        exchange.read_request();
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let port = port_for_later();
    let first = Origin::at(([127, 0, 0, 1], port).into(), answer_and_close);
    let url = format!("http://localhost:{port}");
    let gateway = Gateway::builder().upstream_url("profile", &url).start();
    for _ in 0..4 {
        assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
    }
    let names: Vec<_> =
        std::net::ToSocketAddrs::to_socket_addrs(&("localhost", port)).expect("localhost").collect();
    let Some(other) = names.into_iter().find(|address| *address != first.address) else { return };
    let second = Origin::at(other, answer_and_close);
    for _ in 0..8 {
        assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (8, 4));
}
