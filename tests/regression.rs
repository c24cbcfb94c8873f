//! What once broke, by name.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use realchat_gateway::limits::ACCEPTS_PER_TURN;
use rustix::process::Signal;

use crate::harness::*;

const ME: &str = "/api/v1/users/me";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An origin on a socket in the file system, whose buffer is small. It answers the head of each request before
/// it reads anything of a body, and remembers every byte of every connection.
struct Hasty {
    path: PathBuf,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Hasty {
    fn new() -> Hasty {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("hasty-{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a socket in the file system");
        let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let remembered = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = remembered.clone();
                thread::spawn(move || Hasty::answer(stream, &seen));
            }
        });
        Hasty { path, seen }
    }

    fn answer(mut stream: UnixStream, seen: &Mutex<Vec<Vec<u8>>>) {
        let index = {
            let mut seen = seen.lock().expect("no panic while locked");
            seen.push(Vec::new());
            seen.len() - 1
        };
        let mut piece = [0; 512];
        let Ok(n) = stream.read(&mut piece) else { return };
        // Time for the gateway to fill the socket's buffer.
        thread::sleep(Duration::from_millis(60));
        let _ = stream.write_all(OK.as_bytes());
        thread::sleep(Duration::from_millis(60));
        seen.lock().expect("no panic while locked")[index].extend(&piece[..n]);
        while let Ok(n @ 1..) = stream.read(&mut piece) {
            seen.lock().expect("no panic while locked")[index].extend(&piece[..n]);
        }
    }

    fn url(&self) -> String {
        format!("http+unix://{}", self.path.display().to_string().replace('/', "%2F"))
    }
}

impl Drop for Hasty {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A chunked body in small chunks, which the gateway gathers, without its end.
fn small_chunks(bytes: usize) -> Vec<u8> {
    format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(bytes / 1024).into_bytes()
}

/// Sizes around what a Unix socket's buffer holds: with some of them, the end of the body is what is stuck.
const STUCK_BYTES: std::ops::Range<usize> = 96 * 1024..288 * 1024;

#[test]
fn an_upstream_connection_was_pooled_with_the_end_of_a_request_unsent() {
    let hasty = Hasty::new();
    for bytes in STUCK_BYTES.step_by(16 * 1024) {
        let gateway = Gateway::builder().upstream_url("message", &hasty.url()).start();
        let mut body = small_chunks(bytes);
        body.extend(b"0\r\n\r\n");
        let post = Request::new("POST", "/api/v1/messages").token("ann");
        let post = post.field("Transfer-Encoding", "chunked").raw_body(body);
        let mut client = gateway.client();
        assert_eq!(client.send(post.bytes()).read_response().status, 200);
        let next = Request::new("GET", "/api/v1/messages").token("bob");
        gateway.client().send(next.bytes());
        thread::sleep(Duration::from_millis(150));
    }
    for connection in hasty.seen.lock().expect("no panic while locked").iter() {
        let text = String::from_utf8_lossy(connection);
        for (at, _) in text.match_indices("GET /") {
            assert!(at == 0 || text[..at].ends_with("\r\n\r\n"), "a request inside of another's body");
        }
    }
}

#[test]
fn trailers_that_were_stuck_were_read_as_the_next_request() {
    let hasty = Hasty::new();
    let url = hasty.url();
    let config = format!(
        "[upstreams.hasty]\nurl = '{url}'\n[[route]]\nname = 'hasty'\npaths = ['/hasty']\n\
         upstream = 'hasty'\naccess = 'public'\nforward_trailers = true\n"
    );
    let trailer = format!("0\r\nX-Long: {}\r\n\r\n", "t".repeat(7 * 1024));
    for bytes in STUCK_BYTES.step_by(16 * 1024) {
        let gateway = Gateway::builder().config(&config).start();
        let mut body = small_chunks(bytes);
        body.extend(trailer.as_bytes());
        let post = Request::new("POST", "/hasty").field("Transfer-Encoding", "chunked").raw_body(body);
        let mut client = gateway.client();
        assert_eq!(client.send(post.bytes()).read_response().status, 200);
        let next = client.send(Request::new("GET", "/healthz").bytes()).read_some();
        assert!(next.is_empty() || next.starts_with(b"HTTP/1.1 200"), "{}", show(&next));
    }
}

/// A service that reads no bodies, as many do not where they expect none: what follows a head is the next request. It
/// respects `Connection: close`. And the users that its requests came from, by their internal field.
fn reads_no_bodies() -> (Origin, Arc<Mutex<Vec<String>>>) {
    let users = Arc::<Mutex<Vec<String>>>::default();
    let seen = users.clone();
    let origin = Origin::new(move |exchange| {
        while let Some(head) = exchange.read_head() {
            let user = head.all("X-Internal-User-Id").join(",");
            seen.lock().expect("no panic while locked").push(user);
            exchange.write(OK);
            if head.lists("Connection", "close") {
                return;
            }
        }
    });
    (origin, users)
}

#[test]
fn the_body_of_a_get_ran_as_a_request_of_somebody_else() {
    let (origin, users) = reads_no_bodies();
    let gateway = any_method(&origin);
    let forged = "GET /api/v1/users/me HTTP/1.1\r\nHost: x\r\nX-Internal-User-Id: root\r\n\r\n";
    let methods = ["GET", "HEAD", "DELETE", "OPTIONS"];
    for method in methods {
        // The second request would take the connection of the first.
        for _ in 0..2 {
            let mut client = gateway.client();
            client.send(Request::new(method, "/any").token("ann").body(forged).bytes());
            assert_eq!(client.read_head().word(1), "200", "{method}");
        }
    }
    let next = gateway.get("/any", "bob");
    assert_eq!(next.status, 200);
    let users = users.lock().expect("no panic while locked");
    let expected: Vec<&str> = std::iter::repeat_n("ann", 2 * methods.len()).chain(["bob"]).collect();
    assert_eq!(*users, expected);
}

#[test]
fn a_body_that_its_method_gives_a_meaning_leaves_the_connection_to_the_next_request() {
    let origin = Origin::echo();
    let gateway = any_method(&origin);
    for request in [
        Request::new("POST", "/any").body("x"),
        Request::new("GET", "/any").field("Content-Length", "0"),
        Request::new("QUERY", "/any").body("x"),
    ] {
        assert_eq!(gateway.ask(request.token("ann")).status, 200);
        assert_eq!(origin.last().field("Connection"), None);
    }
    assert_eq!(origin.connections(), 1);
}

/// A route for every method.
fn any_method(origin: &Origin) -> Gateway {
    let address = origin.address;
    let config = format!(
        "[upstreams.any]\nurl = 'http://{address}'\n[[route]]\nname = 'any'\npaths = ['/any']\nupstream = 'any'\n"
    );
    Gateway::builder().config(&config).start()
}

#[test]
fn one_client_that_pipelines_without_a_pause_kept_a_core_to_itself() {
    let gateway = Gateway::builder().start();
    let client = gateway.client();
    let mut writer = client.stream().try_clone().expect("a second handle");
    let mut reader = client.stream().try_clone().expect("a third handle");
    thread::spawn(move || {
        let requests = Request::new("GET", "/healthz").bytes().repeat(5_000);
        while writer.write_all(&requests).is_ok() {}
    });
    thread::spawn(move || {
        let mut sink = vec![0; 1 << 20];
        while matches!(reader.read(&mut sink), Ok(1..)) {}
    });
    eventually("the flood has begun", || gateway.metric("requests_total") > 1_000);
    let ask = |_| {
        let begun = Instant::now();
        assert_eq!(gateway.ask(Request::new("GET", "/healthz")).status, 200);
        begun.elapsed()
    };
    // The flood goes on for as long as the test does, so a core that serves nobody else meanwhile never answers.
    let slowest = (0..20).map(ask).max().expect("some answers");
    let _ = client.stream().shutdown(std::net::Shutdown::Both);
    assert!(slowest < SOON, "{slowest:?}");
}

/// A gateway that drains and cannot end yet, because of one exchange in flight.
fn draining(during: impl FnOnce(&Gateway)) {
    let (origin, release) = Origin::held();
    let gateway = Gateway::before(&origin);
    let mut busy = gateway.client();
    busy.send(Request::new("GET", ME).token("ann").bytes());
    eventually("the request is at the origin", || origin.heads() == 1);
    gateway.signal(Signal::TERM);
    eventually("the drain has begun", || gateway.log().iter().any(|line| line.contains("draining")));
    during(&gateway);
    drop(release);
    assert_eq!(busy.read_response().status, 200);
}

#[test]
fn a_draining_core_went_on_listening() {
    draining(|gateway| {
        eventually("nobody listens any more", || !listens(gateway.public));
        let connected = std::net::TcpStream::connect(gateway.public);
        assert!(connected.is_err(), "still listening");
    });
}

#[test]
fn a_body_cut_short_looked_whole_to_an_http_1_0_client() {
    let origin = Origin::once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
    let gateway = Gateway::before(&origin);
    let raw = format!("GET {ME} HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n", token("ann"));
    let mut client = gateway.client();
    client.send(raw);
    let mut sink = Vec::new();
    let ended = client.stream().try_clone().expect("a second handle").read_to_end(&mut sink);
    assert!(ended.is_err(), "the end of a cut body is in order: {}", show(&sink));
}

#[test]
fn requests_that_had_arrived_when_the_drain_began_were_not_answered() {
    let mut gateway = Gateway::builder().start();
    gateway.pause();
    let mut clients: Vec<Client> = (0..400).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(Request::new("GET", "/healthz").bytes());
    }
    gateway.signal(Signal::TERM);
    gateway.resume();
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    assert!(gateway.wait().success());
}

#[test]
fn parameters_led_out_of_a_protected_pattern_into_a_public_one_above_it() {
    let origin = Origin::echo();
    let config = format!(
        "[upstreams.pub]\nurl = \"http://{}\"\n\
         [[route]]\nname = \"pub\"\npaths = [\"/pub/*\"]\nupstream = \"pub\"\naccess = \"public\"\n\
         [[route]]\nname = \"admin\"\npaths = [\"/pub/admin/*\"]\nupstream = \"pub\"\n",
        origin.address
    );
    let gateway = Gateway::builder().config(&config).start();
    assert_eq!(gateway.ask(Request::new("GET", "/pub/x")).status, 200);
    for target in ["/pub/admin;y/x", "/pub/;/admin/x", "/pub/admin%3By/x"] {
        let answer = gateway.ask(Request::new("GET", target));
        assert_eq!((answer.status, answer.code()), (400, "path_parameters".into()), "{target}");
    }
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn identity_fields_passed_under_spellings_that_some_servers_fold() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let mut request = Request::new("GET", "/api/v1/users/me").token("ann");
    for name in ["X~Internal~User~Id", "X!Internal-User-Id", "X'Internal-User-Id", "X|Forwarded|For"] {
        request = request.field(name, "mallory");
    }
    assert_eq!(gateway.ask(request).status, 200);
    assert!(!String::from_utf8_lossy(&origin.last().raw).contains("mallory"));
}

#[test]
fn the_answer_to_a_broken_head_request_had_a_body() {
    let gateway = Gateway::builder().start();
    for head in ["HEAD /a/../b HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n"] {
        let mut client = gateway.client();
        client.send(head);
        let answer = client.read_to_close();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 400 ") && text.ends_with("\r\n\r\n"), "{text}");
    }
}

#[test]
fn a_long_rest_of_a_body_that_nobody_wants_was_waited_for() {
    let origin = Origin::new(|exchange| {
        let _ = exchange.read_head();
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    client.send("POST /api/v1/users/me HTTP/1.1\r\nHost: x\r\n");
    client.send(format!("Authorization: Bearer {}\r\nContent-Length: 100000\r\n\r\nabc", token("ann")));
    assert_eq!(client.read_response().status, 200);
    let begun = std::time::Instant::now();
    client.read_to_close();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[test]
fn a_batch_of_accepts_that_emptied_the_queue_exactly_kept_a_drain_waiting() {
    let mut gateway = Gateway::builder().cores("1").env("SHUTDOWN_TIMEOUT", "60s").start();
    gateway.pause();
    // The kernel accepts them into the queue, and the core takes them all in one batch.
    let clients: Vec<Client> = (0..ACCEPTS_PER_TURN).map(|_| gateway.client()).collect();
    gateway.resume();
    let accepted = || gateway.metric("connections_accepted_total");
    eventually("all are accepted", || accepted() >= ACCEPTS_PER_TURN as u64);
    drop(clients);
    let begun = Instant::now();
    gateway.signal(Signal::TERM);
    assert!(gateway.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(30), "the drain ended by its timeout");
}

#[test]
fn the_log_of_a_tunnel_told_what_may_be_a_token_in_its_path() {
    let origin = echoing();
    let config = format!(
        "[upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'live'\npaths = ['/live/*']\nupstream = 'a'\n\
         kind = 'websocket'\n",
        origin.address
    );
    let gateway = Gateway::builder().config(&config).env("ACCESS_LOG", "stdout").start();
    for end in ["%3Faccess_token=secret", "%3faccess_token=secret"] {
        let handshake = handshake_on(&format!("/live/a{end}")).token("ann");
        Socket::open_with(&gateway, &handshake).expect_echo("hi");
    }
    eventually("a line for each tunnel", || gateway.stdout().len() == 2);
    let lines = gateway.stdout().concat();
    assert!(lines.contains("\"path\":\"/live/a\"") && !lines.contains("secret"), "{lines}");
}
