//! What the stream says, and who is online.

use super::*;

#[test]
fn a_socket_is_told_of_when_it_opens_and_closes_and_its_user_goes_on_and_off_line() {
    let (origin, redis) = (echoing(), Redis::start());
    let gateway = telling_redis(&origin, &redis).start();
    let mut socket = Socket::open(&gateway, "ann");
    let open = wait_events(&redis, "open", 1).remove(0);
    assert_eq!((open.user.as_str(), open.route.as_str(), open.core.as_str()), ("ann", "ws", "0"));
    let online = wait_events(&redis, "online", 1).remove(0);
    assert_eq!((online.user.as_str(), online.conn.as_str()), ("ann", ""));
    assert_eq!(count(&redis, "ann"), 1);
    assert_eq!(redis.cli(&["ZRANGE", &sockets_of("ann"), "0", "-1"]), open.conn, "one name everywhere");
    let till: u64 = redis.cli(&["ZSCORE", "{rc}:online", "ann"]).parse().expect("a time");
    assert!(till > online.at && till <= online.at + 6_000_000, "{till}, {online:?}");

    let mut second = Socket::open(&gateway, "ann");
    eventually("both are known", || count(&redis, "ann") == 2);
    second.send(Frame::close(1000, "")).read();
    let close = wait_events(&redis, "close", 1).remove(0);
    assert_eq!((close.user.as_str(), close.reason.as_str()), ("ann", "client_closed"));
    assert!(close.conn != open.conn && close.instance == open.instance && close.at > open.at);
    eventually("one is left", || count(&redis, "ann") == 1);
    assert_eq!(of_kind(&redis, "offline"), []);

    socket.send(Frame::close(1000, "")).read();
    let offline = wait_events(&redis, "offline", 1).remove(0);
    assert_eq!((offline.user.as_str(), offline.reason.as_str()), ("ann", "client_closed"));
    eventually("ann is off line", || redis.cli(&["ZSCORE", "{rc}:online", "ann"]) == "(nil)");
    assert_eq!(redis.cli(&["EXISTS", &sockets_of("ann")]), "0");
    assert_eq!((of_kind(&redis, "online").len(), of_kind(&redis, "open").len()), (1, 2));
}

#[test]
fn two_hundred_sockets_over_two_instances_are_told_of_exactly() {
    let (origin, redis) = (echoing(), Redis::start());
    let gateways = [(); 2].map(|()| telling_redis(&origin, &redis).cores("2").start());
    let mut sockets: Vec<Socket> =
        (0..200).map(|nth| Socket::open(&gateways[nth % 2], &format!("user-{}", nth % 50))).collect();
    assert_eq!(wait_events(&redis, "open", 200).len(), 200);
    assert_eq!(wait_events(&redis, "online", 50).len(), 50);
    assert_eq!(redis.cli(&["ZCARD", "{rc}:online"]), "50");
    for socket in &mut sockets {
        socket.send(Frame::close(1000, "")).read();
    }
    let closed = wait_events(&redis, "close", 200);
    assert_eq!(wait_events(&redis, "offline", 50).len(), 50);
    let mut names: Vec<_> = closed.iter().map(|event| event.conn.clone()).collect();
    let mut opened: Vec<_> = of_kind(&redis, "open").into_iter().map(|event| event.conn).collect();
    names.sort_unstable();
    opened.sort_unstable();
    assert!(names == opened && names.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(redis.cli(&["ZCARD", "{rc}:online"]), "0");
    assert_eq!((of_kind(&redis, "gap").len(), gateways[0].metric("online_events_dropped_total")), (0, 0));
    let instances: std::collections::BTreeSet<_> = closed.iter().map(|event| &event.instance).collect();
    assert_eq!(instances.len(), 2);
}

#[test]
fn a_socket_without_a_user_is_told_of_and_nobody_is_online() {
    let (origin, redis) = (echoing(), Redis::start());
    let config = format!(
        "[upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'live'\npaths = ['/live']\nupstream = 'a'\n\
         kind = 'websocket'\naccess = 'public'\n",
        origin.address
    );
    let builder = SERVICES.iter().fold(telling_redis(&origin, &redis), |builder, service| {
        builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
    });
    let gateway = builder.env("WS_MAX_PER_USER_GLOBAL", "1").config(&config).start();
    let _sockets = [(); 3].map(|()| Socket::open_with(&gateway, &handshake_on("/live")));
    let opened = wait_events(&redis, "open", 3);
    assert!(opened.iter().all(|event| event.user.is_empty() && event.route == "live"), "{opened:?}");
    assert_eq!((of_kind(&redis, "online").len(), redis.cli(&["KEYS", "*:online"])), (0, String::new()));
}

#[test]
fn the_stream_has_a_bound() {
    let (origin, redis) = (echoing(), Redis::start());
    let gateway = telling_redis(&origin, &redis).env("WS_EVENTS_MAX", "1000").start();
    for nth in 0..1_200 {
        redis.cli(&["XADD", "{rc}:events", "*", "event", "open", "at", &nth.to_string()]);
    }
    let _socket = Socket::open(&gateway, "ann");
    eventually("the oldest are removed", || {
        let length: u64 = redis.cli(&["XLEN", "{rc}:events"]).parse().expect("a number");
        (1_000..1_150).contains(&length)
    });
}

#[test]
fn a_reload_switches_events_on_and_off() {
    let (origin, redis) = (echoing(), Redis::start());
    let toml = |events: &str| format!("ws_events = '{events}'\n");
    let builder = telling_redis(&origin, &redis).without("WS_EVENTS");
    let gateway = builder.config(&toml("off")).start();
    let _before = Socket::open(&gateway, "ann");
    gateway.rewrite_config(&toml("redis:{rc}:events"));
    gateway.reload();
    let mut told = Socket::open(&gateway, "bob");
    assert_eq!(wait_events(&redis, "open", 1)[0].user, "bob");
    gateway.rewrite_config(&toml("off"));
    gateway.reload();
    told.send(Frame::close(1000, "")).read();
    let _after = Socket::open(&gateway, "eve");
    eventually("the socket has closed", || gateway.metric("tunnels_closed_total") == 1);
    assert_eq!((of_kind(&redis, "close").len(), of_kind(&redis, "open").len()), (0, 1));
}
