//! Faults of Redis under a running load: the backend's answers or a correct 429 and nothing else, no long
//! waits, and limits again soon after.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::*;

/// The budget of a decision: more than Redis needs on a machine that has much else to do.
const BUDGET: Duration = Duration::from_millis(250);
/// What nearly every request takes at most: the budget, and what a loaded machine adds.
const WAIT_MAX: Duration = Duration::from_millis(250 + 250);
/// The delay of a Redis that is too slow.
const TOO_SLOW_MS: u64 = 4 * 250;
/// How long a fault lasts.
const FAULT: Duration = Duration::from_millis(600);

/// What the clients of a load have seen since the last look.
#[derive(Default)]
struct Seen {
    stopped: AtomicBool,
    admitted: AtomicU64,
    refused: AtomicU64,
    slowest_us: AtomicU64,
    /// Answers that took longer than [`WAIT_MAX`].
    late: AtomicU64,
}

impl Seen {
    fn forget(&self) {
        [&self.admitted, &self.refused, &self.slowest_us, &self.late]
            .into_iter()
            .for_each(|number| number.store(0, SeqCst));
    }

    /// The longest wait. Hardly anybody waits for longer than a budget: no more than the machine lets wait, which is
    /// a few at a time.
    #[track_caller]
    fn slowest(&self) -> Duration {
        let slowest = Duration::from_micros(self.slowest_us.load(SeqCst));
        let (late, all) = (self.late.load(SeqCst), self.admitted.load(SeqCst) + self.refused.load(SeqCst));
        assert!(late <= 8 + all / 20 && slowest < SOON, "{late} of {all} waited, one of them {slowest:?}");
        slowest
    }

    /// One client: GETs on one connection, which never ends, until the load is stopped.
    fn watch(&self, gateway: &Gateway) {
        let (mut client, request) = (gateway.client(), me().token("ann").bytes());
        while !self.stopped.load(SeqCst) {
            let asked = Instant::now();
            let response = client.send(&request).read_response();
            let took = asked.elapsed();
            self.slowest_us.fetch_max(took.as_micros() as u64, SeqCst);
            self.late.fetch_add(u64::from(took > WAIT_MAX), SeqCst);
            match response.status {
                200 => assert_eq!(response.text(), "backend"),
                429 => assert_eq!(response.code(), "rate_limited"),
                status => panic!("{status}: {response:?}"),
            }
            if response.status == 200 { &self.admitted } else { &self.refused }.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Stops the load, also when the test fails: its threads are joined afterwards.
struct Stop<'s>(&'s Seen);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, SeqCst);
    }
}

/// Eight clients before, during and after a fault, on `cores` cores; the log must name the `cause`, or another one
/// where the machine decides which comes first (`|` stands between them).
fn survives(address: &str, cores: &str, cause: &str, begin: impl FnOnce(), end: impl FnOnce()) {
    let origin = Origin::fixed("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nbackend");
    let gateway = kept_at(address).everywhere(&origin).cores(cores);
    let gateway = gateway.env("REDIS_TIMEOUT", &format!("{}ms", BUDGET.as_millis()));
    let gateway = gateway.env("RATE_LIMIT_RPS", "20").env("RATE_LIMIT_BURST", "10").start();
    let cores = cores.parse::<u64>().expect("a count");
    let is_open = || gateway.metric("redis_breaker_open");
    let lines = |part: &str| gateway.log().iter().filter(|line| line.contains(part)).count() as u64;
    let ready = || {
        let response = gateway.ask(Request::new("GET", "/readyz"));
        (response.status, response.text().trim().to_owned())
    };
    let seen = Seen::default();
    thread::scope(|scope| {
        let _stop = Stop(&seen);
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| seen.watch(&gateway))).collect();
        eventually("limits hold", || seen.refused.load(SeqCst) > 20 && is_open() == 0);
        assert_eq!(lines("ERROR"), 0);
        seen.forget();

        begin();
        eventually("every core knows", || is_open() == cores);
        let (began, admitted) = (Instant::now(), seen.admitted.load(SeqCst));
        eventually("it is degraded and ready", || ready() == (200, "degraded".to_owned()));
        thread::sleep(FAULT.saturating_sub(began.elapsed()));
        eventually("requests pass unlimited meanwhile", || seen.admitted.load(SeqCst) > admitted + 50);
        let during = seen.slowest();

        end();
        seen.forget();
        let ended = Instant::now();
        eventually("every core is back", || is_open() == 0);
        let refused = seen.refused.load(SeqCst);
        eventually("limits hold again", || seen.refused.load(SeqCst) > refused + 20);
        let back = ended.elapsed();
        eventually("it is ready", || ready().1 != "degraded");
        let after = seen.slowest();
        seen.stopped.store(true, SeqCst);
        clients.into_iter().for_each(|client| client.join().expect("every answer was as it should be"));

        let name = thread::current().name().unwrap_or_default().to_owned();
        eprintln!("{name}: slowest {during:?} during, {after:?} after; limits are back in {back:?}");
        assert!(back < SOON, "limits were away for {back:?}");
    });
    gateway.wait_log("Redis answers again");
    assert_eq!((lines("ERROR"), lines("Redis answers again")), (cores, cores), "{:#?}", gateway.log());
    let line = gateway.wait_log("Redis is out of reach");
    let is_named = cause.split('|').any(|cause| line.contains(cause));
    assert!(line.contains("ERROR") && is_named && line.contains("core-"), "{line}");
    assert!(gateway.wait_log("Redis answers again").contains("INFO"));
}

#[test]
fn killed_and_restarted_empty() {
    let redis = Redis::start();
    survives(&redis.addr(), "2", "the connection", || redis.kill(), || redis.start_again(&[]));
}

#[test]
fn stopped() {
    let redis = Redis::start();
    let cause = "calls in a row had no answer in time";
    survives(&redis.addr(), "1", cause, || redis.pause(), || redis.resume());
}

#[test]
fn restarted_with_a_password() {
    let redis = Redis::start();
    let begin = || {
        redis.kill();
        redis.start_again(&["--requirepass", "x"]);
        // That the connection broke is said already; that there is another reason now is not said again.
    };
    let end = || {
        let mut client = redis.client();
        assert_eq!(client.ask(&["AUTH", "x"]), "OK");
        assert_eq!(client.ask(&["CONFIG", "SET", "requirepass", ""]), "OK");
    };
    survives(&redis.addr(), "1", "the connection", begin, end);
}

#[test]
fn loading() {
    let redis = Redis::start_with(&[
        "--enable-debug-command",
        "yes",
        "--key-load-delay",
        "100",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    assert_eq!(redis.cli(&["DEBUG", "POPULATE", "10000"]), "OK");
    thread::scope(|scope| {
        let mut reload = None;
        let begin = || {
            reload = Some(scope.spawn(|| redis.cli(&["DEBUG", "RELOAD"])));
        };
        let waited = || eventually("it is loaded", || redis.cli(&["GET", "x"]) == "(nil)");
        // A Redis that loads seldom looks at its sockets, and on a busy machine more seldom than a budget lasts.
        survives(&redis.addr(), "1", "LOADING|no answer in time", begin, waited);
        assert_eq!(reload.expect("it began").join().expect("an answer"), "OK");
    });
}

#[test]
fn a_replica() {
    let redis = Redis::start();
    let follow = |of: [&str; 2]| assert_eq!(redis.cli(&["REPLICAOF", of[0], of[1]]), "OK");
    survives(&redis.addr(), "1", "READONLY", || follow(["127.0.0.1", "1"]), || follow(["NO", "ONE"]));
}

#[test]
fn full() {
    let redis = Redis::start_with(&["--maxmemory-policy", "noeviction"]);
    let bound = |bytes| assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", bytes]), "OK");
    survives(&redis.addr(), "1", "OOM", || bound("1"), || bound("0"));
}

#[test]
fn cut_in_the_middle_of_a_reply() {
    let redis = Redis::start();
    let proxy = Proxy::before(&redis);
    survives(&proxy.address, "1", "the connection", || proxy.set(CUT), || proxy.set(0));
}

#[test]
fn slow() {
    let redis = Redis::start();
    let proxy = Proxy::before(&redis);
    let cause = "calls in a row had no answer in time";
    survives(&proxy.address, "1", cause, || proxy.set(TOO_SLOW_MS), || proxy.set(0));
}

#[test]
fn who_wants_it_closed_gets_503() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway = few(kept_in(&redis), &origin, "5").env("RATE_LIMIT_ON_REDIS_FAILURE", "closed").start();
    assert_eq!(gateway.ask(me().token("ann")).status, 200);
    redis.kill();
    eventually("it is known", || gateway.metric("redis_breaker_open") == 1);
    let refused = gateway.ask(me().token("ann"));
    assert_eq!((refused.status, refused.code().as_str()), (503, "limiter_unavailable"));
    assert_eq!(origin.requests().len(), 1);
    redis.start_again(&[]);
    eventually("it is back", || gateway.ask(me().token("ann")).status == 200);
}

#[test]
fn who_wants_memory_has_limits_within_the_process() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway = few(kept_in(&redis), &origin, "3").env("RATE_LIMIT_ON_REDIS_FAILURE", "memory");
    let gateway = gateway.cores("2").start();
    redis.kill();
    eventually("it is known", || gateway.metric("redis_breaker_open") == 2);
    let got = statuses(&gateway, (0..12).map(|_| me().token("ann")));
    let count = |status| got.iter().filter(|got| **got == status).count();
    assert_eq!((count(200), count(429)), (3, 9), "{got:?}");
    assert_eq!(gateway.metric("limit_admitted_by_memory_total"), 3);
    assert_eq!(gateway.metric("limit_refused_by_memory_total"), 9);
}

/// Every reply is cut in two, and the connection with it. Below this: a delay of replies in milliseconds.
const CUT: u64 = u64::MAX;
/// About one reply passes in this many milliseconds. Below both: a delay.
pub(super) const PACED: u64 = 1 << 32;

/// Stands before Redis and does to replies what it is told.
pub(super) struct Proxy {
    pub(super) address: String,
    mode: Arc<AtomicU64>,
}

impl Proxy {
    pub(super) fn before(redis: &Redis) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the port").to_string();
        let (mode, target) = (Arc::new(AtomicU64::new(0)), redis.addr());
        let told = mode.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&target) else { return };
                let ends = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                let told = told.clone();
                thread::spawn(move || pass_on(client, server, &AtomicU64::new(0)));
                thread::spawn(move || pass_on(ends.1, ends.0, &told));
            }
        });
        Proxy { address, mode }
    }

    pub(super) fn set(&self, mode: u64) {
        self.mode.store(mode, SeqCst);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU64) {
    let mut bytes = vec![0; 1 << 16];
    to.set_nodelay(true).expect("no delay");
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let mode = mode.load(SeqCst);
        let passed = if mode == CUT { length / 2 } else { length };
        if (PACED..CUT).contains(&mode) {
            for piece in bytes[..length].chunks(REPLY_BYTES) {
                thread::sleep(Duration::from_millis(mode - PACED));
                if to.write_all(piece).is_err() {
                    break;
                }
            }
            continue;
        }
        if mode != CUT {
            thread::sleep(Duration::from_millis(mode));
        }
        if to.write_all(&bytes[..passed]).is_err() || mode == CUT {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// An array of four small integers.
const REPLY_BYTES: usize = 24;
