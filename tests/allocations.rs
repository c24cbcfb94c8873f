//! A proxied request allocates nothing on its core: counted in this process, on the core's own thread.
//!
//! The gateway is started as `main` starts it, with real sockets. Clients, origins and Redis are threads and processes
//! of their own, and nobody counts what they do.

mod harness;

use std::alloc::System;
use std::backtrace::Backtrace;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use realchat_gateway::config::keys::process::ACCESS_LOG;
use realchat_gateway::config::{Mistakes, Written, lower};
use realchat_gateway::control::inherit::Inherited;
use realchat_gateway::control::signals::Signals;
use realchat_gateway::control::upgrade::Program;
use realchat_gateway::launch;
use realchat_gateway::limits::{ACCESS_LOG_QUEUE, WAITS_AT_ONCE_MAX};
use rustix::process::{Signal, getpid, kill_process};
use tracking_allocator::{AllocationGroupId, AllocationRegistry, AllocationTracker, Allocator};

use harness::h2::{self, H2Client};
use harness::signer::{ISS, Signer};
use harness::*;

/// What is asked again and again, and how often the core may allocate for each answer.
struct Case {
    name: &'static str,
    settings: String,
    request: Request,
    status: u16,
    allocations_max: u64,
}

/// One test, because a gateway of this process is ended by a signal, which every other one would hear.
#[test]
fn a_request_in_its_steady_state_allocates_nothing() {
    AllocationRegistry::set_global_tracker(Tracker).expect("the only tracker");
    let redis = Redis::start();
    let signer = Signer::new("k1");
    let set = TempFile::set("allocations", &[signer.jwk()]);
    let mut wrong = Vec::new();
    for driver in ["io_uring", "epoll"] {
        for case in cases(&redis, (&signer, &set)) {
            let gateway = Gateway::start(driver, &case.settings);
            let counted = gateway.count(&case.request, case.status);
            let most = case.allocations_max * REQUESTS;
            if counted > most + spare(driver, &case) {
                let (name, stacks) = (case.name, stacks());
                wrong.push(format!("{driver}, {name}: {counted} in {REQUESTS}, not {most}:\n{stacks}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Allocations that time brings and not the request.
fn spare(driver: &str, case: &Case) -> u64 {
    // A full log buffer is replaced by one that its writer has emptied; if the writer is late, by a new one.
    let log_buffers = if case.settings.ends_with(LOGGED) { ACCESS_LOG_QUEUE as u64 } else { 0 };
    // Where polls are over at once, a core that has not waited for many of them sleeps for a turn, and that sleep is
    // boxed (`Timers::leave_a_turn`). It has not been seen here.
    let turns = if driver == "epoll" { REQUESTS / u64::from(WAITS_AT_ONCE_MAX) } else { 0 };
    // How many streams are at work in one moment is chance; the pools grow to the most that there were, each once.
    let pools = if case.settings.contains(H2C) { 2 * CONNECTIONS } else { 0 };
    log_buffers + turns + pools
}

fn cases(redis: &Redis, (signer, set): (&Signer, &TempFile)) -> Vec<Case> {
    let me = || Request::new("GET", "/api/v1/users/me");
    let alice = || me().token("alice");
    let post = || Request::new("POST", "/api/v1/users/me").token("alice").body(vec![b'x'; 100]);
    let open = |path: &str| Request::new("GET", path).field("Accept", "*/*").field("User-Agent", "a test");
    let signed_by_another = token_with(r#"{"sub":"eve"}"#, r#"{"alg":"HS256"}"#, &SECRET.to_uppercase());
    let in_redis = format!("{IN_REDIS}redis_addr = '{}'\n", redis.addr());
    let of_set = || format!("jwks_file = '{}'\njwt_issuer = '{ISS}'\n", set.path());
    let (unlimited, in_memory) = (|| UNLIMITED.to_owned(), |rate: &str| format!("{IN_MEMORY}{rate}"));
    let in_redis = |rate: &str| format!("{in_redis}{rate}");
    vec![
        case("plain", unlimited(), open("/open/x"), 200, 0),
        case("plain, with a log", unlimited() + LOGGED, open("/open/x"), 200, 0),
        case("a chunked response", unlimited(), open("/open/chunked"), 200, 0),
        case("a path with a parameter", unlimited(), open("/rooms/7/members"), 200, 0),
        case(
            "fields that find a route, and that it changes",
            unlimited(),
            versioned(open("/fields/x")),
            200,
            0,
        ),
        case("a token in a field of its own", unlimited(), named("/fields/mine"), 200, 0),
        case("behind a trusted proxy", unlimited() + TRUSTED, forwarded(open("/open/x")), 200, 0),
        case("a token", unlimited(), alice(), 200, 0),
        case("a token, with a body", unlimited(), post(), 200, 0),
        case("a token of a key set", of_set() + UNLIMITED, me().bearer(&signer.good()), 200, 0),
        case("a token, a limit in memory", in_memory(PLENTY), alice(), 200, 0),
        case("a token, a limit in Redis", in_redis(PLENTY), alice(), 200, 0),
        case("the same with a log", in_redis(PLENTY) + LOGGED, alice(), 200, 0),
        // `rustls` allocates for each record that it opens and for each that it seals, and for nothing else.
        case("over TLS", over_tls() + &unlimited(), open("/open/x"), 200, TLS_ALLOCATIONS),
        case(
            "over TLS, with a token, a body and a log",
            over_tls() + UNLIMITED + LOGGED,
            post(),
            200,
            TLS_ALLOCATIONS,
        ),
        case("over HTTP/2", H2C.to_owned() + UNLIMITED, open("/open/x"), 200, 0),
        case("over HTTP/2, a chunked response", H2C.to_owned() + UNLIMITED, open("/open/chunked"), 200, 0),
        case("over HTTP/2, with a token and a body", H2C.to_owned() + UNLIMITED, post(), 200, 0),
        case(
            "over HTTP/2, a limit in Redis and a log",
            H2C.to_owned() + &in_redis(PLENTY) + LOGGED,
            alice(),
            200,
            0,
        ),
        case("401: no token", unlimited() + LOGGED, me(), 401, 0),
        // The first part is decoded before it is found to be no header.
        case("401: no token by its form", unlimited(), me().bearer("x.y.z"), 401, 1),
        // Who is refused is not remembered. So each time anew: the header as bytes, as JSON and its algorithm's name;
        // the signature as bytes; the key as `jsonwebtoken` prepares it.
        case("401: signed by another", unlimited(), me().bearer(&signed_by_another), 401, 5),
        case("429 from memory", in_memory(FEW) + LOGGED, alice(), 429, 0),
        case("429 from what Redis has said", in_redis(FEW), alice(), 429, 0),
    ]
}

fn case(name: &'static str, settings: String, request: Request, status: u16, allocations_max: u64) -> Case {
    Case { name, settings, request, status, allocations_max }
}

/// A listener for TLS. Clients come through it if there is one.
fn over_tls() -> String {
    let tls::Certificate { cert, key, .. } = tls::certificate();
    format!("tls_port = 0\ntls_cert_file = '{}'\ntls_key_file = '{}'\n", cert.display(), key.display())
}

/// As another proxy hands it on.
fn forwarded(request: Request) -> Request {
    request
        .field("X-Forwarded-For", "192.0.2.1")
        .field("X-Forwarded-Proto", "https")
        .field("X-Request-Id", "7f1c")
        .field("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
}

/// With a field that a route asks for, and one that it removes.
fn versioned(request: Request) -> Request {
    request.field("X-Version", "2").field("X-Debug", "1")
}

/// With a token in a field of its own.
fn named(path: &str) -> Request {
    Request::new("GET", path).field("X-Auth-Token", &token("alice"))
}

/// A gateway of one core in this process; dropped, it drains.
struct Gateway {
    public: SocketAddr,
    /// Clients speak HTTP/2.
    is_h2: bool,
    _shim: Option<tls::Shim>,
    control: Option<JoinHandle<()>>,
    _origin: Origin,
}

impl Gateway {
    fn start(driver: &str, settings: &str) -> Gateway {
        let origin = Origin::each(|request| match request.target() {
            "/open/chunked" => CHUNKED.into(),
            _ => SIZED.into(),
        });
        let address = origin.address;
        let text = format!(
            "{settings}{COMMON}io_driver = '{driver}'\nupstreams.origin.url = 'http://{address}'\n{ROUTES}"
        );
        let mut mistakes = Mistakes::default();
        let written = Written::from_toml(&text, "test", &mut mistakes);
        assert_eq!(mistakes.count(), 0, "{mistakes}");
        let log_off = Written::default().with(&ACCESS_LOG, "off");
        let config = lower(written, log_off).unwrap_or_else(|wrong| panic!("{wrong}"));
        let signals = Signals::new().expect("signals");
        let no_reload = || Err(Mistakes::one("test", "reads no configuration again"));
        let gateway = launch::launch(config.config, Box::new(no_reload), Inherited::default());
        let gateway = gateway.unwrap_or_else(|error| panic!("{error:?}"));
        let shim = gateway.tls.map(tls::Shim::before);
        let public = shim.as_ref().map_or(gateway.public, |shim| shim.address);
        let program = Program::of_this_process().expect("a path");
        let control = thread::spawn(move || {
            gateway.run(signals, program, None).expect("a runtime");
        });
        let is_h2 = settings.contains(H2C);
        Gateway { public, is_h2, _shim: shim, control: Some(control), _origin: origin }
    }

    /// Allocations of the core while it answers [`REQUESTS`] of these, after as many as make it warm.
    fn count(&self, request: &Request, status: u16) -> u64 {
        let bytes = request.bytes();
        let connect = |_| if self.is_h2 { Peer::h2(self.public) } else { Peer::h1(self.public) };
        let mut clients: Vec<Peer> = (0..CONNECTIONS).map(connect).collect();
        let mut ask = |times: u64, statuses: &[u16]| {
            for _ in 0..times / CONNECTIONS {
                for client in &mut clients {
                    client.ask(&bytes);
                }
                for client in &mut clients {
                    let status = client.status();
                    assert!(statuses.contains(&status), "{status}");
                }
            }
        };
        AllocationRegistry::enable_tracking();
        // Who is to be refused is let through first.
        ask(WARM_UP, &[200, status]);
        assert_ne!(COUNTED.swap(0, Ordering::SeqCst), 0, "new connections allocate: nothing is counted");
        STACKS.lock().expect("no panic").clear();
        ask(REQUESTS, &[status]);
        AllocationRegistry::disable_tracking();
        COUNTED.load(Ordering::SeqCst)
    }
}

/// A client in its version of HTTP.
enum Peer {
    H1(Client),
    /// With its last stream.
    H2(H2Client, u32),
}

impl Peer {
    fn h1(address: SocketAddr) -> Peer {
        Peer::H1(Client::connect(address))
    }

    fn h2(address: SocketAddr) -> Peer {
        Peer::H2(H2Client::connect(address), 0)
    }

    /// Sends the request of these bytes, or the same over HTTP/2.
    fn ask(&mut self, bytes: &[u8]) {
        let (client, stream) = match self {
            Peer::H1(client) => {
                client.send(bytes);
                return;
            }
            Peer::H2(client, stream) => (client, stream),
        };
        *stream = if *stream == 0 { 1 } else { *stream + 2 };
        let text = std::str::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.split("\r\n");
        let mut words = lines.next().expect("a request line").split(' ');
        let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
        let fields = lines.filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value));
        let fields: Vec<_> = fields.filter(|(name, _)| name != "host").collect();
        let more: Vec<_> = fields.iter().map(|(name, value)| (&**name, *value)).collect();
        let flags = h2::END_HEADERS | if body.is_empty() { h2::END_STREAM } else { 0 };
        let block = h2::block(&h2::head(method, target, &more));
        let mut frames = h2::frame(h2::HEADERS, flags, *stream, block);
        if !body.is_empty() {
            frames.extend(h2::frame(h2::DATA, h2::END_STREAM, *stream, body));
        }
        // At once: a body that comes later may find its exchange at another wait.
        client.send(frames);
    }

    /// The status of the answer to the last request.
    fn status(&mut self) -> u16 {
        match self {
            Peer::H1(client) => client.read_response().status,
            Peer::H2(client, stream) => client.answer(*stream).status(),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        kill_process(getpid(), Signal::TERM).expect("a signal to this process");
        if let Some(control) = self.control.take() {
            let ended = control.join();
            assert!(ended.is_ok() || thread::panicking(), "the gateway ends in order");
        }
    }
}

/// Counts what cores allocate, and remembers where the first of it was.
struct Tracker;

impl AllocationTracker for Tracker {
    fn allocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId) {
        if !thread::current().name().is_some_and(|name| name.starts_with("core-")) {
            return;
        }
        COUNTED.fetch_add(1, Ordering::SeqCst);
        let mut stacks = STACKS.lock().expect("no panic");
        if stacks.len() < STACKS_MAX {
            stacks.push(Backtrace::force_capture());
        }
    }

    fn deallocated(&self, _: usize, _: usize, _: usize, _: AllocationGroupId, _: AllocationGroupId) {}
}

/// Where the first allocations came from, as lines of this crate, each stack once.
fn stacks() -> String {
    let mut seen = BTreeMap::<String, usize>::new();
    for stack in STACKS.lock().expect("no panic").drain(..) {
        let text = stack.to_string();
        let ours: Vec<&str> =
            text.lines().filter(|line| line.trim_start().starts_with("at ./src/")).collect();
        *seen.entry(if ours.is_empty() { text } else { ours.join("\n") }).or_default() += 1;
    }
    seen.iter().map(|(stack, times)| format!("{times} times\n{stack}\n")).collect()
}

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();
static COUNTED: AtomicU64 = AtomicU64::new(0);
static STACKS: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

const STACKS_MAX: usize = 64;
const CONNECTIONS: u64 = 8;
const WARM_UP: u64 = 400;
const REQUESTS: u64 = 2_000;

/// One record of the request and one of its answer.
const TLS_ALLOCATIONS: u64 = 2;

const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x\r\n!\r\n0\r\n\r\n";

const H2C: &str = "h2c = 'on'\n";
const UNLIMITED: &str = "rate_limit_store = 'off'\n";
const IN_MEMORY: &str = "rate_limit_store = 'memory'\n";
/// Patient: a Redis that is late once would let somebody pass who is to be refused.
const IN_REDIS: &str = "rate_limit_store = 'redis'\nredis_timeout = '10s'\n";
const PLENTY: &str = "rate_limit_rps = 100000\nrate_limit_burst = 100000\nrate_limit_headers = 'all'\n";
const FEW: &str = "rate_limit_rps = 0.01\nrate_limit_burst = 1\nrate_limit_prefix = 'few'\n";
const LOGGED: &str = "access_log = '/dev/null'\n";
const TRUSTED: &str = "trusted_proxies = ['127.0.0.0/8']\n";
const COMMON: &str = concat!(
    "port = 0\nbind = '127.0.0.1'\nadmin_addr = 'off'\ncores = 1\n",
    "jwt_secret = 'a secret for tests, longer than thirty-two bytes'\n"
);
const ROUTES: &str = "
[[route]]
name = 'open'
paths = ['/open/*', '/rooms/{room}/members']
upstream = 'origin'
access = 'public'

[[route]]
name = 'fields'
paths = ['/fields/*']
upstream = 'origin'
access = 'public'

[[route]]
name = 'fields-2'
paths = ['/fields/*']
upstream = 'origin'
access = 'public'
headers = { X-Version = '2', Accept = true }
request_headers = { set = { X-Edge = '1' }, add = { Accept = 'text/plain' }, remove = ['X-Debug'] }
response_headers = { set = { X-Frame-Options = 'DENY' }, add = { Vary = 'X-Version' }, remove = ['Server'] }

[[route]]
name = 'fields-mine'
paths = ['/fields/mine']
upstream = 'origin'
tokens_from = ['header', 'header:X-Auth-Token']

[[route]]
name = 'users'
paths = ['/api/v1/users/*']
upstream = 'origin'
";
