//! The bound of a user's sockets over all instances.

use std::thread;

use super::*;

fn capped(origin: &Origin, redis: &Redis, most: &str, action: &str) -> Builder {
    telling_redis(origin, redis)
        .env("WS_MAX_PER_USER_GLOBAL", most)
        .env("WS_MAX_PER_USER_GLOBAL_ACTION", action)
}

#[test]
fn two_hundred_who_race_over_two_instances_get_exactly_as_many_as_there_may_be() {
    let (origin, redis) = (echoing(), Redis::start());
    let gateways = [(); 2].map(|()| capped(&origin, &redis, "7", "refuse").cores("2").start());
    let got: Vec<(u16, Client)> = thread::scope(|scope| {
        let racers: Vec<_> = (0..20)
            .map(|nth| {
                let gateway = &gateways[nth % 2];
                scope.spawn(move || (0..10).map(|_| attempt(gateway, "ann")).collect::<Vec<_>>())
            })
            .collect();
        racers.into_iter().flat_map(|racer| racer.join().expect("no panic")).collect()
    });
    assert_eq!(got.iter().filter(|(status, _)| *status == 101).count(), 7);
    assert_eq!(got.iter().filter(|(status, _)| *status == 429).count(), 193);
    assert_eq!(count(&redis, "ann"), 7);
    let refused = |gateway: &Gateway| gateway.metric("handshakes_refused_for_all_instances_total");
    assert_eq!(refused(&gateways[0]) + refused(&gateways[1]), 193);
    let response = gateways[0].ask(handshake().bearer(&token("ann")));
    assert_eq!(
        (response.code().as_str(), response.head.field("retry-after")),
        ("too_many_websockets", Some("10"))
    );
    assert_eq!(attempt(&gateways[0], "bob").0, 101, "everybody else has places of their own");
    drop(got);
    eventually("all places are free", || count(&redis, "ann") == 0);
    assert_eq!(attempt(&gateways[1], "ann").0, 101);
}

#[test]
fn a_handshake_that_fails_gives_its_place_back() {
    let (redis, origin) =
        (Redis::start(), Origin::fixed("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    let gateway = capped(&origin, &redis, "1", "refuse").start();
    for _ in 0..3 {
        eventually("the place is free", || attempt(&gateway, "ann").0 == 403);
    }
    eventually("nobody has a place", || count(&redis, "ann") == 0);
}

#[test]
fn the_oldest_gives_way_on_its_own_instance_at_once() {
    let (origin, redis) = (echoing(), Redis::start());
    let gateway = capped(&origin, &redis, "2", "close_oldest").cores("2").start();
    let mut sockets: Vec<Socket> = (0..4)
        .map(|_| {
            // So that no two have the same millisecond.
            thread::sleep(std::time::Duration::from_millis(3));
            Socket::open(&gateway, "ann")
        })
        .collect();
    for socket in &mut sockets[..2] {
        let farewell = socket.expect_goodbye(4409);
        assert_eq!(&farewell.payload[2..], b"replaced");
    }
    for socket in &mut sockets[2..] {
        socket.expect_echo("the newer ones go on");
    }
    let closed = wait_events(&redis, "close", 2);
    assert!(closed.iter().all(|event| event.reason == "replaced"), "{closed:?}");
    assert_eq!(gateway.metric("tunnels_closed_total{reason=\"replaced\"}"), 2);
    assert_eq!((count(&redis, "ann"), of_kind(&redis, "offline").len()), (2, 0));
}

#[test]
fn the_oldest_gives_way_on_another_instance_when_it_renews_its_lease() {
    let (origin, redis) = (echoing(), Redis::start());
    let [first, second] = [(); 2].map(|()| capped(&origin, &redis, "1", "close_oldest").start());
    let mut old = Socket::open(&first, "ann");
    let mut new = Socket::open(&second, "ann");
    old.expect_goodbye(4409);
    new.expect_echo("hi");
    eventually("it has renewed its lease since", || second.metric("online_sockets") == 1);
    assert_eq!(count(&redis, "ann"), 1);
    // The one that had to go does not take the place of the other with it.
    new.expect_echo("hi");
    assert_eq!(wait_events(&redis, "close", 1)[0].reason, "replaced");
    assert_eq!(of_kind(&redis, "offline"), []);
}

#[test]
fn no_name_of_a_user_leads_to_the_sockets_of_another() {
    let (origin, redis) = (echoing(), Redis::start());
    let gateway = capped(&origin, &redis, "1", "refuse").start();
    let users = ["ann", "ann}", "{ann}", "rc:u:ann", "ann:x", "%7Bann%7D", "a b"];
    let opened: Vec<_> = users.iter().map(|user| attempt(&gateway, user)).collect();
    let valid: Vec<_> = opened.iter().filter(|(status, _)| *status != 401).collect();
    assert!(valid.len() >= 6 && valid.iter().all(|(status, _)| *status == 101));
    assert_eq!(redis.cli(&["KEYS", "{rc:u:*"]).lines().count(), valid.len());
}
