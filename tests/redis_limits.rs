//! Limits that hold across cores and instances, with their buckets in a real Redis.

mod accuracy;
mod faults;
mod flood;
mod sentinel;

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;

/// The buckets are there.
fn kept_in(redis: &Redis) -> Builder {
    kept_at(&redis.addr())
}

/// The buckets are behind this address.
fn kept_at(address: &str) -> Builder {
    // Patient: a call that is late passes unlimited, and how soon Redis gets to run is this machine's matter.
    let builder = Gateway::builder().env("RATE_LIMIT_STORE", "redis").env("REDIS_ADDR", address);
    builder.env("REDIS_TIMEOUT", "10s")
}

/// So few requests per bucket, and hardly another one.
fn few(builder: Builder, origin: &Origin, burst: &str) -> Builder {
    builder.everywhere(origin).env("RATE_LIMIT_RPS", "0.01").env("RATE_LIMIT_BURST", burst)
}

/// Requests that passed although nobody has decided them.
fn unlimited(gateway: &Gateway) -> u64 {
    gateway.metric("limit_unlimited_timeout_total") + gateway.metric("limit_unlimited_breaker_total")
}

fn me() -> Request {
    Request::new("GET", "/api/v1/users/me")
}

fn login() -> Request {
    Request::new("POST", "/api/v1/auth/login").body("{}")
}

fn register() -> Request {
    Request::new("POST", "/api/v1/auth/register").body("{}")
}

fn statuses(gateway: &Gateway, requests: impl IntoIterator<Item = Request>) -> Vec<u16> {
    requests.into_iter().map(|request| gateway.ask(request).status).collect()
}

/// Every key, in order. The bucket that a new connection is tried with is nobody's and gone after a moment.
fn keys(redis: &Redis) -> Vec<String> {
    let all = redis.cli(&["KEYS", "*"]);
    let mut keys: Vec<String> =
        all.lines().filter(|key| !key.ends_with(":probe")).map(str::to_owned).collect();
    keys.sort();
    keys
}

/// A token of this user that was good once.
fn stale(user: &str) -> String {
    token_with(format!(r#"{{"sub":"{user}","exp":1000000000}}"#), r#"{"alg":"HS256"}"#, SECRET)
}

/// A token that says it is this user's.
fn forged(user: &str) -> String {
    let claims = format!(r#"{{"sub":"{user}","exp":{}}}"#, now() + 600);
    token_with(claims, r#"{"alg":"HS256"}"#, "a secret that somebody has made up for this")
}

#[test]
fn every_bucket_has_the_key_it_is_documented_with_and_an_end() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway = few(kept_in(&redis), &origin, "5").start();
    let requests = [me().token("ann"), me(), login(), register(), me().token("b{o}b")];
    assert_eq!(statuses(&gateway, requests), [200, 401, 200, 200, 200]);
    let expected = [
        "rl:bad:127.0.0.1",
        "rl:u:ann",
        "rl:u:b%7Bo%7Db",
        "{rl:ip:127.0.0.1}:auth-login",
        "{rl:ip:127.0.0.1}:auth-register",
    ];
    assert_eq!(keys(&redis), expected);
    for key in expected {
        let left_ms: i64 = redis.cli(&["PTTL", key]).parse().expect("milliseconds");
        // One token at a hundredth per second; a login is limited otherwise.
        assert!((1..=120_000).contains(&left_ms), "{key}: {left_ms}");
    }
}

/// A public route without limits of its own.
const PUBLIC: &str = "
[upstreams.auth]
url = 'http://nobody'
[[route]]
name = 'browse'
paths = ['/browse']
upstream = 'auth'
access = 'public'
";

#[test]
fn several_systems_share_one_redis_by_their_prefix() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let shop = few(kept_in(&redis), &origin, "1").env("RATE_LIMIT_PREFIX", "shop").config(PUBLIC).start();
    let chat = few(kept_in(&redis), &origin, "1").start();
    let browse = || Request::new("GET", "/browse");
    assert_eq!(statuses(&shop, [browse(), browse(), me().token("ann")]), [200, 429, 404]);
    assert_eq!(statuses(&chat, [me().token("ann"), me().token("ann"), me()]), [200, 429, 401]);
    assert_eq!(keys(&redis), ["rl:bad:127.0.0.1", "rl:u:ann", "shop:ip:127.0.0.1", "shop:u:ann"]);
}

#[test]
fn logging_in_and_registering_have_buckets_that_nothing_else_empties() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway = few(kept_in(&redis), &origin, "2").start();
    let flood = |n: usize| (0..n).map(|nth| if nth % 2 == 0 { me() } else { me().bearer(&stale("ann")) });
    assert_eq!(statuses(&gateway, flood(4)), [401, 401, 429, 429]);
    assert_eq!(statuses(&gateway, [login(), login().bearer(&stale("ann"))]), [200, 200]);
    let mut logins = statuses(&gateway, (0..40).map(|_| login()));
    assert_eq!(logins.pop(), Some(429), "logins are limited");
    assert_eq!(statuses(&gateway, [register(), me().token("ann")]), [200, 200]);
}

#[test]
fn an_ipv6_client_is_its_network() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway = few(kept_in(&redis), &origin, "2").env("TRUSTED_PROXIES", "127.0.0.0/8").start();
    let from = |address: &str| me().field("X-Forwarded-For", address);
    let four = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"];
    assert_eq!(statuses(&gateway, four.map(from)), [401, 401, 429, 401]);
    assert_eq!(keys(&redis), ["rl:bad:2001:db8:0:1::/64", "rl:bad:2001:db8::/64"]);
    redis.flush();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("this machine has no ::1: the other half of this test is left out");
    }
    let gateway = few(kept_in(&redis), &origin, "2").env("BIND", "::1").start();
    assert_eq!(gateway.ask(me()).status, 401);
    assert_eq!(keys(&redis), ["rl:bad:::/64"]);
}

#[test]
fn a_refused_request_takes_nothing() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway = few(kept_in(&redis), &origin, "1").start();
    assert_eq!(statuses(&gateway, [me().token("ann"), me().token("ann")]), [200, 429]);
    let kept = redis.cli(&["GET", "rl:u:ann"]);
    // An instance that does not know yet that the bucket is empty, and so asks.
    let other = few(kept_in(&redis), &origin, "1").start();
    assert_eq!(statuses(&other, [me().token("ann"), me().token("ann")]), [429, 429]);
    assert_eq!(redis.cli(&["GET", "rl:u:ann"]), kept);
}

#[test]
fn a_forged_token_leaves_the_victims_bucket_untouched() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway = few(kept_in(&redis), &origin, "3").start();
    assert_eq!(gateway.ask(me().token("victim")).status, 200);
    let kept = redis.cli(&["GET", "rl:u:victim"]);
    let attack =
        (0..6).map(|nth| me().bearer(if nth % 2 == 0 { forged("victim") } else { stale("victim") }.as_str()));
    assert_eq!(statuses(&gateway, attack), [401, 401, 401, 429, 429, 429]);
    assert_eq!(redis.cli(&["GET", "rl:u:victim"]), kept);
    assert_eq!(statuses(&gateway, [login().bearer(&stale("victim")), me().token("victim")]), [200, 200]);
}

#[test]
fn half_a_request_per_second_is_one_every_two() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway =
        kept_in(&redis).everywhere(&origin).env("RATE_LIMIT_RPS", "0.5").env("RATE_LIMIT_BURST", "1").start();
    let started = Instant::now();
    assert_eq!(gateway.ask(me().token("ann")).status, 200);
    let refused = gateway.ask(me().token("ann"));
    assert_eq!(refused.status, 429);
    assert!(matches!(refused.field("retry-after"), Some("1" | "2")), "{refused:?}");
    eventually("the next token is due", || {
        let is_admitted = gateway.ask(me().token("ann")).status == 200;
        assert!(!is_admitted || started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
        is_admitted
    });
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn nothing_passes_a_rate_of_zero_and_redis_is_not_asked() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway = few(kept_in(&redis), &origin, "5").env("RATE_LIMIT_RPS", "0").start();
    assert_eq!(statuses(&gateway, [me().token("ann"), me(), me().token("bob")]), [429, 429, 429]);
    assert_eq!(gateway.metric("redis_calls_total"), 0);
    assert_eq!(keys(&redis), [""; 0]);
    assert_eq!(origin.requests().len(), 0);
}

/// A route with a limit for each user that costs two, and one for everybody.
const SHOP: &str = "
[upstreams.auth]
url = 'http://nobody'
[[route]]
name = 'buy'
paths = ['/buy']
upstream = 'auth'
[[route.limit]]
rate = 0.01
burst = 5
per = 'user'
cost = 2
[[route.limit]]
rate = 0.01
burst = 3
per = 'none'
[[route.limit]]
rate = 0.01
burst = 50
per = 'ip'
";

#[test]
fn a_routes_limits_are_decided_together() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let gateway = few(kept_in(&redis), &origin, "9").config(SHOP).start();
    let buy = |user| Request::new("GET", "/buy").token(user);
    assert_eq!(statuses(&gateway, [buy("ann"), buy("ann")]), [200, 200]);
    let all = ["rl:route:buy:2", "rl:u:ann", "{rl:ip:127.0.0.1}:buy:3", "{rl:u:ann}:buy"];
    assert_eq!(keys(&redis), all);
    let kept = || all.map(|key| redis.cli(&["GET", key]));
    let before = kept();
    // One token of two that a third one costs; the other buckets would have let it pass.
    let refused = gateway.ask(buy("ann"));
    assert_eq!((refused.status, refused.field("ratelimit-limit")), (429, Some("5")));
    assert_eq!(kept(), before, "no bucket was charged");
    // The third one of everybody's, and no fourth; what was refused for that has cost eve nothing.
    assert_eq!(statuses(&gateway, [buy("bob"), buy("eve")]), [200, 429]);
    assert!(keys(&redis).iter().all(|key| !key.contains("eve")), "{:?}", keys(&redis));
    assert_eq!(gateway.metric("redis_calls_total"), 5, "one call for all buckets of a request");
}

#[test]
fn a_refusal_is_a_problem_with_the_time_to_come_back() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    let told = |response: &Response| {
        let names = ["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];
        names.map(|name| response.field(name).unwrap_or("none").to_owned()).join(" ")
    };
    let quiet = few(kept_in(&redis), &origin, "2").start();
    let responses = [(); 3].map(|()| quiet.ask(me().token("ann")));
    assert_eq!(responses.each_ref().map(told), ["none none none none", "none none none none", "100 2 0 200"]);
    assert_eq!((responses[2].status, responses[2].code().as_str()), (429, "rate_limited"));
    let all = few(kept_in(&redis), &origin, "2").env("RATE_LIMIT_HEADERS", "all").start();
    let responses = [(); 3].map(|()| all.ask(me().token("bob")));
    assert_eq!(responses.each_ref().map(told), ["none 2 1 100", "none 2 0 200", "100 2 0 200"]);
    // However soon the next token is due.
    let fast = few(kept_in(&redis), &origin, "1").env("RATE_LIMIT_RPS", "1.2").start();
    let responses = [(); 2].map(|()| fast.ask(me().token("eve")));
    assert_eq!(responses.each_ref().map(told), ["none none none none", "1 1 0 1"]);
}

#[test]
fn what_is_known_to_be_empty_is_not_asked_about_until_its_token_is_due() {
    let (redis, origin) = (Redis::start(), Origin::echo());
    // So slow that the questions below come before the next token on any machine.
    let gateway = few(kept_in(&redis), &origin, "1").env("RATE_LIMIT_RPS", "0.2").start();
    let (token, mut client) = (token("ann"), gateway.client());
    let mut ask = || client.send(me().bearer(&token).bytes()).read_response().status;
    let before = Instant::now();
    assert_eq!(ask(), 200);
    let after = Instant::now();
    assert_eq!(ask(), 429);
    let commands = || {
        redis.cli(&["INFO", "commandstats"]).lines().find_map(|line| {
            line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse::<u64>().ok()
        })
    };
    let (asked, calls) = (commands(), gateway.metric("redis_calls_total"));
    for _ in 0..20 {
        assert_eq!(ask(), 429);
    }
    assert_eq!((commands(), gateway.metric("redis_calls_total")), (asked, calls));
    assert_eq!(gateway.metric("limit_refused_locally_total"), 20);
    while ask() != 200 {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(before.elapsed() >= Duration::from_secs(5), "too early: {:?}", before.elapsed());
    assert!(after.elapsed() < SOON, "too late: {:?}", after.elapsed());
    // The first question may have come a moment before the token, by the clock's resolution.
    assert!((calls + 1..=calls + 2).contains(&gateway.metric("redis_calls_total")));
    // Another one's bucket is another matter.
    assert_eq!(gateway.ask(me().token("bob")).status, 200);
}

#[test]
fn a_restarted_redis_is_asked_again_about_what_was_known_to_be_empty() {
    let (origin, redis) = (Origin::echo(), Redis::start());
    let gateway = few(kept_in(&redis), &origin, "1").env("RATE_LIMIT_RPS", "0.001").start();
    assert_eq!(statuses(&gateway, (0..2).map(|_| me().token("ann"))), [200, 429]);
    let before = gateway.metric("redis_reconnects_total");
    redis.kill();
    redis.start_again(&[]);
    eventually("Redis is reached again", || {
        gateway.metric("redis_reconnects_total") > before && gateway.metric("redis_breaker_open") == 0
    });
    assert_eq!(gateway.ask(me().token("ann")).status, 200);
}

#[test]
fn a_key_of_a_foreign_type_is_a_full_bucket_and_becomes_ours() {
    let (origin, redis) = (Origin::echo(), Redis::start());
    let gateway = few(kept_in(&redis), &origin, "2").start();
    redis.cli(&["LPUSH", "rl:u:ann", "x"]);
    assert_eq!(statuses(&gateway, (0..3).map(|_| me().token("ann"))), [200, 200, 429]);
    assert!(redis.cli(&["TYPE", "rl:u:ann"]).contains("string"));
    assert_eq!(gateway.metric("redis_breaker_open"), 0);
}
