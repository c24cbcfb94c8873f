//! Instances that die, a Redis that is away, and one that has lost everything.

use rustix::process::Signal;

use super::*;

#[test]
fn the_places_of_an_instance_that_was_killed_are_free_after_the_lease() {
    let (origin, redis) = (echoing(), Redis::start());
    let capped = || telling_redis(&origin, &redis).env("WS_MAX_PER_USER_GLOBAL", "2");
    let (doomed, gateway) = (capped().start(), capped().start());
    let _sockets = [(); 2].map(|()| Socket::open(&doomed, "ann"));
    let _eve = Socket::open(&doomed, "eve");
    let _bob = Socket::open(&gateway, "bob");
    wait_events(&redis, "online", 3);
    doomed.signal(Signal::KILL);
    assert_eq!(attempt(&gateway, "ann").0, 429, "nobody knows yet");
    eventually("the leases are over", || attempt(&gateway, "ann").0 == 101);
    // Whoever had no other socket is told of by another instance.
    eventually("eve is off line", || {
        of_kind(&redis, "offline").iter().any(|event| event.user == "eve" && event.reason == "lapsed")
    });
    assert_eq!(redis.cli(&["ZSCORE", "{rc}:online", "eve"]), "(nil)");
    assert_eq!(count(&redis, "bob"), 1);
}

#[test]
fn a_redis_that_has_lost_everything_knows_all_of_it_again() {
    let (origin, redis) = (echoing(), Redis::start());
    let gateway = telling_redis(&origin, &redis).env("WS_MAX_PER_USER_GLOBAL", "3").start();
    let mut sockets = [(); 3].map(|()| Socket::open(&gateway, "ann"));
    eventually("all are known", || count(&redis, "ann") == 3);
    redis.flush();
    eventually("all are known again", || count(&redis, "ann") == 3);
    assert_eq!(attempt(&gateway, "ann").0, 429);
    assert_eq!(wait_events(&redis, "online", 1)[0].user, "ann");
    eventually("ann is in the set", || redis.cli(&["ZSCORE", "{rc}:online", "ann"]) != "(nil)");
    sockets.iter_mut().for_each(|socket| socket.expect_echo("hi"));
}

#[test]
fn without_redis_the_bound_of_the_process_holds_and_events_wait() {
    let (origin, redis) = (echoing(), Redis::start());
    let gateway =
        telling_redis(&origin, &redis).env("WS_MAX_PER_USER_GLOBAL", "1").env("WS_MAX_PER_USER", "2").start();
    let mut first = Socket::open(&gateway, "ann");
    wait_events(&redis, "online", 1);
    redis.kill();
    gateway.wait_log("Redis is out of reach");
    let mut second = Socket::open(&gateway, "ann");
    assert_eq!(gateway.ask(handshake().bearer(&token("ann"))).code(), "too_many_websockets");
    assert_eq!(gateway.metric("handshakes_unasked_total"), 1);
    first.send(Frame::close(1000, "")).read();
    redis.start_again(&[]);
    // What has happened meanwhile is told late, and nothing of it is missing.
    assert_eq!(wait_events(&redis, "close", 1)[0].reason, "client_closed");
    wait_events(&redis, "open", 1);
    eventually("the second has a place", || count(&redis, "ann") == 1);
    assert_eq!((of_kind(&redis, "gap").len(), attempt(&gateway, "ann").0), (0, 429));
    second.expect_echo("hi");
}

#[test]
fn too_many_events_for_a_redis_that_is_away_leave_a_gap() {
    let (origin, redis) = (echoing(), Redis::start());
    let gateway = telling_redis(&origin, &redis).start();
    drop(Socket::open(&gateway, "ann"));
    wait_events(&redis, "close", 1);
    redis.kill();
    gateway.wait_log("Redis is out of reach");
    // Each makes two: the queue has room for 8,192.
    for nth in 0..4_110 {
        let mut socket = Socket::open(&gateway, &format!("user-{}", nth % 10));
        socket.send(Frame::close(1000, "")).read();
    }
    eventually("some are dropped", || gateway.metric("online_events_dropped_total") > 0);
    redis.start_again(&[]);
    let gap = wait_events(&redis, "gap", 1).remove(0);
    assert!(!gap.instance.is_empty() && gap.user.is_empty());
    eventually("every missing event is counted in a gap", || {
        // First the metric: to read the whole stream takes a while.
        gateway.metric("online_events_queued") == 0 && {
            let gaps = of_kind(&redis, "gap").into_iter().map(|gap| gap.reason);
            let missing: u64 = gaps.map(|count| count.parse::<u64>().expect("a number")).sum();
            missing == gateway.metric("online_events_dropped_total")
        }
    });
    let mut opened: Vec<_> = of_kind(&redis, "open").into_iter().map(|event| event.conn).collect();
    let count = opened.len();
    opened.sort_unstable();
    opened.dedup();
    assert!(opened.len() == count && count > 4_000, "{count}, of them {} different", opened.len());
}

#[test]
fn an_access_list_without_the_keys_costs_no_request_its_limit() {
    let user = "--user gw on >word +evalsha +script|load +time +get +set ~rl:* ~{rl:*".split(' ');
    let (origin, redis) = (either(), Redis::start_with(&user.collect::<Vec<_>>()));
    let gateway = telling_redis(&origin, &redis)
        .env("RATE_LIMIT_STORE", "redis")
        .env("RATE_LIMIT_BURST", "5")
        .env("RATE_LIMIT_RPS", "0.001")
        .env("WS_MAX_PER_USER_GLOBAL", "1")
        .env("REDIS_USERNAME", "gw")
        .env("REDIS_PASSWORD", "word")
        .start();
    let _sockets = [(); 2].map(|()| Socket::open(&gateway, "ann"));
    gateway.wait_log("Redis refuses what it is told of WebSockets");
    assert_eq!((0..3).map(|_| attempt(&gateway, "ann").0).collect::<Vec<_>>(), [101; 3]);
    assert_eq!(gateway.ask(handshake().bearer(&token("ann"))).code(), "rate_limited");
    assert_eq!((gateway.metric("redis_breaker_open"), gateway.metric("redis_reconnects_total")), (0, 1));
}

#[test]
fn the_rights_of_the_manual_are_enough() {
    let manual = include_str!("../../docs/live-control.md");
    let rights = manual.lines().find(|line| line.starts_with("~{rc:u:*")).expect("the rights");
    let user = format!("--user gw on >word ~rl:* ~{{rl:* +evalsha +script|load +time +get +set {rights}");
    let (origin, redis) = (echoing(), Redis::start_with(&user.split(' ').collect::<Vec<_>>()));
    let gateway = telling_redis(&origin, &redis)
        .env("WS_MAX_PER_USER_GLOBAL", "1")
        .env("WS_MAX_PER_USER_GLOBAL_ACTION", "close_oldest")
        .env("REDIS_USERNAME", "gw")
        .env("REDIS_PASSWORD", "word")
        .start();
    let mut old = Socket::open(&gateway, "ann");
    let mut new = Socket::open(&gateway, "ann");
    old.expect_goodbye(4409);
    new.send(Frame::close(1000, "")).read();
    assert_eq!(wait_events(&redis, "offline", 1)[0].user, "ann");
    assert_eq!(gateway.metric("online_failures_total"), 0);
}

#[test]
fn a_drain_tells_of_the_last_sockets() {
    let (origin, redis) = (echoing(), Redis::start());
    let mut gateway = telling_redis(&origin, &redis).env("SHUTDOWN_TIMEOUT", "5s").start();
    let mut socket = Socket::open(&gateway, "ann");
    wait_events(&redis, "online", 1);
    gateway.signal(Signal::TERM);
    socket.expect_goodbye(1012);
    assert!(gateway.wait().success());
    assert_eq!(of_kind(&redis, "close")[0].reason, "drained");
    assert_eq!((of_kind(&redis, "offline").len(), count(&redis, "ann")), (1, 0));
}
