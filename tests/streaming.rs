//! Bodies on their way through: any length in bounded memory, both directions at once, no faster than the
//! receiver reads.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;

const ME: &str = "/api/v1/users/me";
const LOGIN: &str = "/api/v1/auth/login";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GIB: u64 = 1 << 30;
const PIECE: usize = 256 << 10;

fn get() -> Vec<u8> {
    Request::new("GET", ME).token("ann").bytes()
}

// --- Any length in bounded memory

/// An origin that takes and gives as much as it is asked for: `POST` bodies are read and counted, a `GET` gets
/// as many bytes as its query says.
fn bulk_origin(counted: Arc<AtomicU64>) -> Origin {
    Origin::new(move |exchange| {
        while let Some(head) = exchange.read_head() {
            if let Some(length) = head.field("content-length") {
                counted.store(exchange.skip(length.parse().expect("a length")), Ordering::SeqCst);
                exchange.write(OK);
                continue;
            }
            let (_, length) = head.word(1).split_once('?').expect("a query");
            let mut left: u64 = length.parse().expect("a length");
            exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n"));
            let piece = vec![b'd'; PIECE];
            while left > 0 {
                let count = piece.len().min(left as usize);
                if exchange.stream().write_all(&piece[..count]).is_err() {
                    return;
                }
                left -= count as u64;
            }
        }
    })
}

fn upload(client: &mut Client, length: u64) {
    let head = Request::new("POST", LOGIN).field("Content-Length", &length.to_string());
    client.send(head.bytes());
    let piece = vec![b'u'; PIECE];
    for _ in 0..length / PIECE as u64 {
        client.send(&piece);
    }
    assert_eq!(client.read_response().status, 200);
}

fn download(client: &mut Client, length: u64) {
    client.send(Request::new("GET", &format!("{ME}?{length}")).token("ann").bytes());
    assert_eq!(client.read_head().field("content-length"), Some(length.to_string().as_str()));
    assert_eq!(client.skip(length), length);
}

/// The most that the gateway's resident memory grew by while `work` was done, in KiB.
fn growth_during(gateway: &Gateway, work: impl FnOnce()) -> u64 {
    let before = gateway.rss_kib();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = before;
            while !over.load(Ordering::SeqCst) {
                most = most.max(gateway.rss_kib());
                thread::sleep(Duration::from_millis(5));
            }
            most
        });
        work();
        over.store(true, Ordering::SeqCst);
        watch.join().expect("the watch ends") - before
    })
}

#[test]
fn a_gibibyte_each_way_grows_the_gateway_by_less_than_one_mebibyte() {
    let counted = Arc::new(AtomicU64::new(0));
    let origin = bulk_origin(counted.clone());
    let gateway = Gateway::builder().everywhere(&origin).env("BODY_MAX_BYTES", "0").start();
    let mut client = gateway.client();
    upload(&mut client, 4 << 20);
    download(&mut client, 4 << 20);
    let begun = Instant::now();
    let up = growth_during(&gateway, || upload(&mut client, GIB));
    let (up_time, begun) = (begun.elapsed(), Instant::now());
    assert_eq!(counted.load(Ordering::SeqCst), GIB);
    let down = growth_during(&gateway, || download(&mut client, GIB));
    println!("1 GiB: up {up} KiB in {up_time:?}, down {down} KiB in {:?}", begun.elapsed());
    assert!(up < 1024 && down < 1024, "RSS grew by {up} KiB uploading, {down} KiB downloading");
    assert_eq!(origin.connections(), 2, "one for each of two services");
    client.expect_open();
}

/// A body whose every byte depends on its place.
fn patterned(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 % 251) as u8).collect()
}

/// The body in chunks of changing sizes, with extensions, and the last chunk.
fn chunked(body: &[u8]) -> Vec<u8> {
    let (mut out, mut at, mut size) = (Vec::new(), 0, 1);
    while at < body.len() {
        let end = body.len().min(at + size);
        out.extend(format!("{:x};n={size}\r\n", end - at).into_bytes());
        out.extend(&body[at..end]);
        out.extend(b"\r\n");
        (at, size) = (end, size * 3 % 100_003);
    }
    out.extend(b"0\r\n\r\n");
    out
}

#[test]
fn chunked_bodies_arrive_byte_for_byte_and_cost_no_memory() {
    let body = Arc::new(patterned(32 << 20));
    let wire = Arc::new(chunked(&body));
    let (expected, answer) = (body.clone(), wire.clone());
    let origin = Origin::new(move |exchange| {
        while let Some(head) = exchange.read_head() {
            assert!(head.lists("transfer-encoding", "chunked") && head.all("content-length").is_empty());
            let same = exchange.read_body(&head).is_ok_and(|came| came.bytes == *expected);
            exchange
                .write(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Same: {same}\r\n\r\n"));
            exchange.write(&*answer);
        }
    });
    let gateway = Gateway::builder().everywhere(&origin).env("BODY_MAX_BYTES", "0").start();
    let head = Request::new("POST", LOGIN).field("Transfer-Encoding", "chunked").bytes();
    let mut client = gateway.client();
    for is_warm in [false, true] {
        let growth = growth_during(&gateway, || {
            client.send(&head).send(&*wire);
            let response = client.read_response();
            assert_eq!(response.field("x-same"), Some("true"));
            assert!(response.body == *body, "the download differs");
        });
        println!("32 MiB in chunks, both ways: {growth} KiB");
        assert!(!is_warm || growth < 1024, "RSS grew by {growth} KiB");
    }
}

#[test]
fn a_large_transfer_leaves_others_their_turn() {
    let origin = bulk_origin(Arc::default());
    let gateway = Gateway::builder().everywhere(&origin).env("BODY_MAX_BYTES", "0").start();
    let over = AtomicBool::new(false);
    let (mut worst, mut asked) = (Duration::ZERO, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            download(&mut gateway.client(), GIB);
            upload(&mut gateway.client(), GIB);
            over.store(true, Ordering::SeqCst);
        });
        let mut other = gateway.client();
        while !over.load(Ordering::SeqCst) {
            let begun = Instant::now();
            other.expect_open();
            (worst, asked) = (worst.max(begun.elapsed()), asked + 1);
            thread::sleep(Duration::from_millis(2));
        }
    });
    println!("{asked} requests beside 2 GiB, the slowest took {worst:?}");
    // Beside a transfer that leaves nobody a turn, two requests would be answered: one after each gibibyte.
    assert!(asked > 20 && worst < SOON, "one of {asked} requests waited {worst:?}");
}

// --- Back-pressure

#[test]
fn a_client_that_does_not_read_stops_the_upstream() {
    let sent = Arc::new(AtomicU64::new(0));
    let counting = sent.clone();
    let origin = Origin::new(move |exchange| {
        exchange.read_head();
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let piece = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
        while exchange.stream().write_all(piece.as_bytes()).is_ok() {
            counting.fetch_add(0x10000, Ordering::SeqCst);
        }
    });
    let gateway = Gateway::before(&origin);
    assert_eq!(gateway.ask(Request::new("GET", "/healthz")).status, 200);
    let before = gateway.rss_kib();
    let mut client = gateway.client();
    client.send(get());
    stalls(&sent);
    let growth = gateway.rss_kib().saturating_sub(before);
    assert!(growth < 1024, "RSS grew by {growth} KiB");
    let stalled_at = sent.load(Ordering::SeqCst);
    client.skip(2 * stalled_at);
    assert!(sent.load(Ordering::SeqCst) > stalled_at, "it goes on as soon as the client reads");
}

#[test]
fn an_upstream_that_does_not_read_stops_the_client() {
    let origin = Origin::new(|exchange| {
        exchange.read_head();
        exchange.sleep_ms(3_000);
    });
    let gateway = Gateway::builder().everywhere(&origin).env("BODY_MAX_BYTES", "0").start();
    assert_eq!(gateway.ask(Request::new("GET", "/healthz")).status, 200);
    let before = gateway.rss_kib();
    let client = gateway.client();
    let mut out = client.stream();
    let head = Request::new("POST", LOGIN).field("Content-Length", &GIB.to_string()).bytes();
    out.write_all(&head).expect("the head");
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            client.stream().set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
            while let Ok(count) = client.stream().write(&[b'a'; 1 << 16]) {
                sent.fetch_add(count as u64, Ordering::SeqCst);
            }
        });
        stalls(&sent);
    });
    let growth = gateway.rss_kib().saturating_sub(before);
    assert!(growth < 1024, "RSS grew by {growth} KiB");
    assert!(sent.load(Ordering::SeqCst) < 64 << 20);
}

/// Waits until the number has begun to grow and then stands still.
#[track_caller]
fn stalls(count: &AtomicU64) {
    let (mut last, mut still) = (0, 0);
    eventually("the sender stands still", || {
        let now = count.load(Ordering::SeqCst);
        still = if now > 0 && now == last { still + 1 } else { 0 };
        last = now;
        still == 30
    });
}

// --- Both directions at once

#[test]
fn an_echo_comes_back_while_the_request_is_still_being_sent() {
    let origin = Origin::new(|exchange| {
        exchange.read_head();
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 64000\r\n\r\n");
        let mut left = 64_000;
        while left > 0 {
            let some = exchange.read_some();
            left -= some.len();
            exchange.write(some);
        }
        exchange.wait_closed();
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    client.send(Request::new("POST", LOGIN).field("Content-Length", "64000").bytes());
    assert_eq!(client.read_head().word(1), "200");
    for n in 0..64 {
        // The next piece is sent only when the last one has come back.
        let piece = [b'a' + n % 26; 1_000];
        client.send(piece);
        let mut back = Vec::new();
        while back.len() < piece.len() {
            back.extend(client.read_some());
        }
        assert_eq!(back, piece, "piece {n}");
    }
    client.expect_open();
}

#[test]
fn an_echo_in_chunks_comes_back_while_the_request_is_still_being_sent() {
    let origin = Origin::new(|exchange| {
        exchange.read_head();
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let some = exchange.read_some();
            exchange.write(&some);
            if some.ends_with(b"0\r\n\r\n") {
                return exchange.wait_closed();
            }
        }
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    client.send(Request::new("POST", LOGIN).field("Transfer-Encoding", "chunked").bytes());
    assert_eq!(client.read_head().word(1), "200");
    for n in 0..50 {
        let piece = format!("3\r\n{n:03}\r\n").into_bytes();
        client.send(&piece);
        let mut back = Vec::new();
        while back.len() < piece.len() {
            back.extend(client.read_some());
        }
        assert_eq!(show(&back), show(&piece));
    }
    client.send("0\r\n\r\n");
    assert_eq!(show(&client.read_some()), "0\\r\\n\\r\\n");
    client.expect_open();
}

// --- One connection, many requests

#[test]
fn a_hundred_pipelined_requests_cut_anywhere_are_answered_in_order() {
    let origin = Origin::each(|request| {
        let body = format!("{} {} {}", request.method(), request.target(), request.body.len());
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let gateway = Gateway::before(&origin);
    let ask = |n: usize| match n % 3 {
        0 => Request::new("GET", &format!("{ME}?{n}")).token("ann").bytes(),
        1 => Request::new("POST", &format!("{LOGIN}?{n}")).body("b".repeat(n)).bytes(),
        _ => Request::new("POST", &format!("{LOGIN}?{n}"))
            .field("Transfer-Encoding", "chunked")
            .raw_body(chunked(&vec![b'c'; n]))
            .bytes(),
    };
    let all: Vec<u8> = (0..100).flat_map(ask).collect();
    for step in [all.len(), 1_009, 97] {
        let mut client = gateway.client();
        for piece in all.chunks(step) {
            client.send(piece);
            if step < all.len() {
                thread::sleep(Duration::from_micros(200));
            }
        }
        for n in 0..100 {
            let expected = match n % 3 {
                0 => format!("GET {ME}?{n} 0"),
                _ => format!("POST {LOGIN}?{n} {n}"),
            };
            assert_eq!(client.read_response().text(), expected, "in pieces of {step}");
        }
        client.expect_open();
    }
}

#[test]
fn one_client_connection_needs_one_upstream_connection() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    for _ in 0..200 {
        assert_eq!(client.send(get()).read_response().status, 200);
    }
    assert_eq!((origin.connections(), origin.requests().len()), (1, 200));
    assert_eq!(gateway.metric("upstream_reuses_total{upstream=\"profile\""), 199);
}

#[test]
fn both_sides_may_speak_a_byte_at_a_time() {
    let origin = Origin::new(|exchange| {
        while exchange.read_request().is_some() {
            let answer = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                          3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n";
            for byte in answer.bytes() {
                exchange.write([byte]);
                thread::sleep(Duration::from_micros(500));
            }
        }
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    for _ in 0..2 {
        let request = Request::new("POST", LOGIN)
            .field("Transfer-Encoding", "chunked")
            .raw_body("4\r\nabcd\r\n1\r\ne\r\n0\r\nX-Sum: 2\r\n\r\n");
        for byte in request.bytes() {
            client.send([byte]);
            thread::sleep(Duration::from_micros(500));
        }
        let response = client.read_response();
        assert_eq!((response.text().as_str(), response.interim.len()), ("hello", 1));
        assert_eq!(origin.last().body, b"abcde");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn http_1_0_keeps_alive_only_on_request() {
    let origin = Origin::fixed(OK);
    let gateway = Gateway::before(&origin);
    let old =
        |fields: &str| format!("GET {ME} HTTP/1.0\r\n{fields}Authorization: Bearer {}\r\n\r\n", token("ann"));
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.send(old("Connection: keep-alive\r\n")).read_response();
        assert_eq!(response.text(), "ok");
        assert!(response.head.lists("connection", "keep-alive"), "{response:?}");
    }
    let response = client.send(old("")).read_response();
    assert!(response.head.lists("connection", "close"), "{response:?}");
    client.expect_closed();
}

// --- Expectations

#[test]
fn no_100_goes_to_http_1_0_or_after_the_body() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let old = format!("POST {LOGIN} HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    let mut client = gateway.client();
    client.send(&old);
    thread::sleep(Duration::from_millis(100));
    let response = client.send("hi").read_response();
    assert_eq!((response.status, response.interim.len()), (200, 0), "RFC 9110 §10.1.1");
    let whole = Request::new("POST", LOGIN).field("Expect", "100-continue").body("hi");
    let response = gateway.ask(whole);
    assert_eq!((response.status, response.interim.len()), (200, 0), "{response:?}");
    assert_eq!(origin.last().field("expect"), None);
}

#[test]
fn an_upstream_that_refuses_at_once_is_heard_though_the_client_was_told_to_go_on() {
    let origin = Origin::new(|exchange| {
        if exchange.read_head().is_some() {
            exchange.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            exchange.wait_closed();
        }
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    client.send(
        Request::new("POST", LOGIN).field("Expect", "100-continue").field("Content-Length", "5").bytes(),
    );
    assert_eq!(client.read_head().word(1), "100");
    assert_eq!(client.read_response().status, 403);
    // The body may come or not; either way no byte of it is taken for a request.
    client.send("GET /");
    client.send(Request::new("GET", "/healthz").bytes());
    client.half_close();
    let rest = client.read_until_gone();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 200 "), "{}", show(&rest));
}

// --- Trailers and heads

const WITH_TRAILERS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\
                             Content-Length: 9\r\nX-Internal-User-Id: eve\r\nSet-Cookie: a\r\n\r\n";

#[test]
fn trailers_pass_where_the_route_says_so_and_only_harmless_ones() {
    let origin = Origin::fixed(WITH_TRAILERS);
    let file = format!(
        "[upstreams.a]\nurl = \"http://{}\"\n\n[[route]]\nname = \"with\"\npaths = [\"/with\"]\n\
         upstream = \"a\"\naccess = \"public\"\nforward_trailers = true\n\n[[route]]\nname = \"without\"\n\
         paths = [\"/without\"]\nupstream = \"a\"\naccess = \"public\"\n",
        origin.address
    );
    let mut builder = Gateway::builder().config(&file);
    for service in ["auth", "message", "delivery", "profile", "conversation"] {
        builder = builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()));
    }
    let gateway = builder.start();
    for (path, passes) in [("/with", true), ("/without", false)] {
        let body = "2\r\nhi\r\n0\r\nX-Check: 2\r\nAuthorization: Bearer x\r\nX-Internal-User-Id: eve\r\n\
                    Host: evil\r\nTransfer-Encoding: chunked\r\n\r\n";
        let request = Request::new("POST", path).field("Transfer-Encoding", "chunked").raw_body(body);
        let mut client = gateway.client();
        let response = client.send(request.bytes()).read_response();
        let names = |trailers: &[(String, String)]| -> Vec<String> {
            trailers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
        };
        let (up, down): (&[&str], &[&str]) = if passes { (&["x-check"], &["x-sum"]) } else { (&[], &[]) };
        assert_eq!(names(&origin.last().trailers), up, "{path}");
        let came = names(&response.trailers);
        assert_eq!(came.iter().filter(|name| *name != "set-cookie").collect::<Vec<_>>(), down, "{path}");
        client.expect_open();
    }
}

#[test]
fn authorization_stays_here_where_the_route_says_so() {
    let origin = Origin::fixed(OK);
    let file = format!(
        "[upstreams.a]\nurl = \"http://{}\"\n\n[[route]]\nname = \"kept\"\npaths = [\"/kept\"]\n\
         upstream = \"a\"\nforward_authorization = false\n",
        origin.address
    );
    let mut builder = Gateway::builder().config(&file);
    for service in ["auth", "message", "delivery", "profile", "conversation"] {
        builder = builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()));
    }
    assert_eq!(builder.start().get("/kept", "ann").status, 200);
    let received = origin.last();
    assert_eq!(received.field("authorization"), None);
    assert_eq!(received.field("x-internal-user-id"), Some("ann"));
}

#[test]
fn large_heads_pass_both_ways() {
    let wide = "w".repeat(30_000);
    let answer = format!("HTTP/1.1 200 OK\r\nX-Wide: {wide}\r\nContent-Length: 2\r\n\r\nok");
    let origin = Origin::fixed(answer);
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    for _ in 0..3 {
        let request = Request::new("GET", ME).token("ann").field("X-Wide", &wide);
        let response = client.send(request.bytes()).read_response();
        assert_eq!((response.text().as_str(), response.field("x-wide")), ("ok", Some(wide.as_str())));
        assert_eq!(origin.last().field("x-wide"), Some(wide.as_str()));
    }
}

// --- Bounds

#[test]
fn a_chunked_body_is_refused_as_soon_as_it_is_over_its_bound() {
    let origin = Origin::new(|exchange| exchange.wait_closed());
    let gateway = Gateway::builder().everywhere(&origin).env("BODY_MAX_BYTES", "100KiB").start();
    let mut client = gateway.client();
    client.send(Request::new("POST", LOGIN).field("Transfer-Encoding", "chunked").bytes());
    let chunk = format!("8000\r\n{}\r\n", "a".repeat(0x8000));
    // Four chunks of 32 KiB: over the bound, and nowhere near the end.
    client.send(chunk.repeat(4));
    let response = client.read_response();
    assert_eq!((response.status, response.code().as_str()), (413, "body_too_large"));
    assert!(response.head.lists("connection", "close"), "{response:?}");
    eventually("the upstream connection is given up", || origin.open() == 0);
}
