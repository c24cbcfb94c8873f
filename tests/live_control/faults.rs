//! Redis that is away, comes back empty, is slow to start, or wants a password.

use super::*;

#[test]
fn what_is_known_stays_in_force_without_redis_and_what_is_new_comes_with_it() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = controlled(&redis, &origin).start();
    let [ann, bob] = ["ann", "bob"].map(|user| issued(user, 60, ""));
    let mut socket = opened(&gateway, &bob);
    ban(&redis, "ann");
    until_revoked(&gateway, &ann);
    redis.kill();
    gateway.wait_log("control stream: ");
    assert_eq!((asked(&gateway, &ann), asked(&gateway, &bob)), (revoked(), fine()));
    // It comes back, and everything in it is gone.
    redis.start_again(&[]);
    ban(&redis, "bob");
    socket.expect_goodbye(1008);
    until_revoked(&gateway, &bob);
    assert_eq!(asked(&gateway, &ann), revoked(), "also what Redis has forgotten");
    gateway.wait_log("control stream: within reach again");
}

#[test]
fn nothing_is_lost_while_the_connection_breaks_again_and_again() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = controlled(&redis, &origin).start();
    for number in 0..50 {
        ban(&redis, &format!("user-{number}"));
        if number % 5 == 0 {
            redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
    }
    eventually("all of them are known", || gateway.metric("revocations") == 50);
    for number in 0..50 {
        assert_eq!(asked(&gateway, &issued(&format!("user-{number}"), 60, "")), revoked(), "{number}");
    }
}

#[test]
fn where_it_is_asked_for_nobody_enters_until_the_list_is_there() {
    let origin = either();
    let redis = Redis::start();
    ban(&redis, "ann");
    redis.pause();
    let gateway = controlled(&redis, &origin).env("REVOCATION_ON_REDIS_FAILURE", "closed").start();
    let [ann, bob] = ["ann", "bob"].map(|user| issued(user, 60, ""));
    let response = gateway.ask(Request::new("GET", "/api/v1/users/me").bearer(&bob));
    assert_eq!((response.status, response.code().as_str()), (503, "revocation_unavailable"));
    assert_eq!(response.head.field("retry-after"), Some("5"));
    assert_eq!(gateway.ask(handshake().bearer(&bob)).status, 503);
    eventually("the process gets no traffic", || gateway.admin("/readyz").status == 503);
    assert!(gateway.admin("/readyz").text().starts_with("revocations_stale\n"));
    redis.resume();
    eventually("the list is there", || asked(&gateway, &bob) == fine());
    assert_eq!(asked(&gateway, &ann), revoked());
    eventually("the process is ready", || gateway.admin("/readyz").text().starts_with("ready\n"));
}

#[test]
fn entries_that_are_deleted_before_they_were_read_are_told() {
    let (redis, origin) = (Redis::start(), either());
    let id = ban(&redis, "ann");
    redis.cli(&["XDEL", STREAM, &id]);
    let gateway = controlled(&redis, &origin).start();
    gateway.wait_log("were deleted before they were read");
    assert_eq!(gateway.metric("control_entries_missed_total"), 1);
}

#[test]
fn a_user_of_redis_needs_few_rights_and_a_unix_socket_does() {
    let (redis, origin) = (Redis::start(), either());
    let rules = ["ACL", "SETUSER", "gate", "on", ">hunter2", "resetkeys", "~{rc}:*", "-@all", "+xread"];
    assert_eq!(redis.cli(&rules), "OK");
    redis.cli(&["SELECT", "0"]);
    let gateway = controlled_at(&format!("unix:{}", redis.socket().display()), &origin)
        .env("REDIS_USERNAME", "gate")
        .env("REDIS_PASSWORD", "hunter2")
        .start();
    ban(&redis, "ann");
    until_revoked(&gateway, &issued("ann", 60, ""));
    assert_eq!(redis.cli(&["ACL", "SETUSER", "gate", "-xread"]), "OK");
    redis.cli(&["CLIENT", "KILL", "USER", "gate"]);
    gateway.wait_log("NOPERM");
    assert!(gateway.log().iter().all(|line| !line.contains("hunter2")));
}

#[test]
fn a_stream_whose_ids_go_back_is_read_from_its_beginning() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = controlled(&redis, &origin).start();
    let [ann, bob, carl] = ["ann", "bob", "carl"].map(|user| issued(user, 60, ""));
    // As by a Redis whose clock was ahead.
    let ahead = format!("{}-0", (now() + 600) * 1_000);
    redis.cli(&["XADD", STREAM, &ahead, "op", "revoke", "user", "ann", "before", &now().to_string()]);
    until_revoked(&gateway, &ann);
    redis.kill();
    redis.start_again(&[]);
    ban(&redis, "bob");
    until_revoked(&gateway, &bob);
    gateway.wait_log("older than those that were read");
    // The same over a connection that lasts.
    redis.cli(&["XADD", STREAM, &ahead, "op", "revoke", "user", "ann", "before", &now().to_string()]);
    eventually("it is read", || gateway.metric("control_entries_total") >= 3);
    redis.cli(&["DEL", STREAM]);
    ban(&redis, "carl");
    until_revoked(&gateway, &carl);
    assert_eq!(asked(&gateway, &ann), revoked());
}

#[test]
fn an_entry_that_is_too_long_is_said_and_closes_where_that_is_asked_for() {
    let (redis, origin) = (Redis::start(), either());
    let builder = controlled(&redis, &origin).env("REVOCATION_ON_REDIS_FAILURE", "closed");
    let gateway = builder.env("REVOCATION_MAX_STALE", "10s").start();
    let ann = issued("ann", 60, "");
    assert_eq!(asked(&gateway, &ann), fine());
    ban(&redis, "somebody");
    let long = "x".repeat(17 << 20);
    redis.cli(&["XADD", STREAM, "*", "op", "close", "user", "nobody", "more", &long]);
    ban(&redis, "ann");
    gateway.wait_log("is too long");
    // That is said again after ten seconds.
    gateway.wait_log("still out of reach");
    eventually("the list is too old", || asked(&gateway, &ann) == (503, "revocation_unavailable".to_owned()));
    redis.cli(&["XTRIM", STREAM, "MAXLEN", "1"]);
    until_revoked(&gateway, &ann);
    // Many that are long together are read one by one.
    let long = "x".repeat(20 << 10);
    for _ in 0..900 {
        redis.cli(&["XADD", STREAM, "*", "op", "close", "user", "nobody", "more", &long]);
    }
    let bob = issued("bob", 60, "");
    ban(&redis, "bob");
    until_revoked(&gateway, &bob);
}
