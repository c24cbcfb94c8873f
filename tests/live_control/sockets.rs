//! What becomes of open WebSockets.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_ban_closes_the_sockets_of_its_user_on_every_core_of_every_instance_and_no_other() {
    let redis = Redis::start();
    let (origin, told) = telling();
    let (banned, free) = (issued("ann", 60, ""), issued("bob", 60, ""));
    let gateways = [(); 2].map(|()| controlled(&redis, &origin).start());
    let mut of_ann: Vec<Socket> =
        gateways.iter().flat_map(|gateway| (0..25).map(|_| opened(gateway, &banned))).collect();
    let mut of_bob: Vec<Socket> = gateways.iter().map(|gateway| opened(gateway, &free)).collect();
    let since = Instant::now();
    ban(&redis, "ann");
    for socket in &mut of_ann {
        let close = socket.expect_goodbye(1008);
        assert_eq!(&close.payload[2..], b"revoked");
    }
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let heard = (0..100).map(|_| told.recv_timeout(PATIENCE).expect("the upstream hears of it"));
    let heard: Vec<_> = heard.collect();
    assert_eq!(heard.iter().flatten().filter(|frame| frame.code() == Some(1001)).count(), 50);
    assert_eq!(heard.iter().filter(|end| end.is_none()).count(), 50);
    for (gateway, socket) in gateways.iter().zip(&mut of_bob) {
        socket.send(Frame::text("still here"));
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Some(Frame::text("still here"))));
        eventually("all are counted", || gateway.metric("tunnels_closed_total{reason=\"revoked\"}") == 25);
        assert_eq!(gateway.metric("tunnels_open"), 1);
    }
}

/// From the entry in Redis to the Close frame at the client, with many sockets of many users.
#[test]
fn a_ban_is_soon_at_the_client() {
    let (redis, origin) = (Redis::start(), echoing());
    let gateways = [(); 2].map(|()| controlled(&redis, &origin).start());
    let names: Vec<String> = (0..100).map(|number| format!("user-{number}")).collect();
    let sockets = names.iter().flat_map(|name| gateways.iter().map(move |gateway| (name, gateway)));
    let mut sockets: Vec<(&str, Socket)> =
        sockets.map(|(name, gateway)| (name.as_str(), opened(gateway, &issued(name, 60, "")))).collect();
    let mut took: Vec<Duration> = Vec::new();
    while let Some((name, mut one)) = sockets.pop() {
        let (_, mut other) = sockets.pop().expect("a pair");
        let since = Instant::now();
        ban(&redis, name);
        for socket in [&mut one, &mut other] {
            assert_eq!(socket.read().code(), Some(1008));
            took.push(since.elapsed());
        }
    }
    took.sort_unstable();
    eprintln!("ban to Close: median {:?}, p99 {:?}", took[100], took[197]);
    assert!(took[197] < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_handshake_that_is_under_way_when_its_token_is_revoked_becomes_no_socket() {
    let redis = Redis::start();
    let (asked, has_asked) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let origin = Origin::new(move |exchange| {
        exchange.read_request();
        let _ = asked.send(());
        let _ = may_go.lock().expect("no panic").recv_timeout(PATIENCE);
        exchange.write(switching(""));
        ServerSide::switched(exchange).echo();
    });
    let gateway = controlled(&redis, &origin).cores("1").start();
    let (token, mut client) = (issued("ann", 60, ""), gateway.client());
    client.send(handshake().bearer(&token).bytes());
    has_asked.recv_timeout(PATIENCE).expect("the handshake arrives");
    ban(&redis, "ann");
    // Until then it is 404.
    let elsewhere = || gateway.ask(Request::new("GET", "/nothing/here").bearer(&token)).status;
    eventually("the core knows it", || elsewhere() == 401);
    go.send(()).expect("the origin waits");
    Socket::opened(client).expect_goodbye(1008);
}

#[test]
fn a_close_is_no_revocation_and_is_carried_out_once() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = controlled(&redis, &origin).start();
    let token = issued("ann", 60, "");
    let mut socket = opened(&gateway, &token);
    write(&redis, &["op", "close", "user", "ann", "code", "4409", "reason", "moved elsewhere"]);
    let close = socket.expect_goodbye(4409);
    assert_eq!(&close.payload[2..], b"moved elsewhere");
    let mut again = opened(&gateway, &token);
    // After a reconnect the last minute is read again.
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    gateway.wait_log("control stream: within reach again");
    ban(&redis, "bob");
    until_revoked(&gateway, &issued("bob", 60, ""));
    again.expect_echo("still here");
    assert_eq!(gateway.metric("tunnels_closed_total{reason=\"dismissed\"}"), 1);
    assert!(gateway.metric("control_entries_total") >= 3, "one of them twice");
}

#[test]
fn the_code_of_a_revoked_socket_is_the_operators_choice_and_a_reload_changes_it() {
    let (redis, origin) = (Redis::start(), echoing());
    let builder = controlled(&redis, &origin).without("WS_REVOKED_CODE");
    let gateway = builder.config("ws_revoked_code = 4401\n").start();
    let [mut ann, mut bob] = ["ann", "bob"].map(|user| opened(&gateway, &issued(user, 60, "")));
    ban(&redis, "ann");
    ann.expect_goodbye(4401);
    gateway.rewrite_config("ws_revoked_code = 4403\n");
    gateway.reload();
    write(&redis, &["op", "revoke", "all", "1"]);
    bob.expect_goodbye(4403);
}

#[test]
fn a_socket_of_a_public_route_belongs_to_nobody() {
    let (redis, origin) = (Redis::start(), echoing());
    let routes = format!(
        "[upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'p'\nkind = 'websocket'\npaths = ['/ws']\n\
         upstream = 'a'\naccess = 'public'\n",
        origin.address
    );
    let mut builder = controlled(&redis, &origin);
    for service in SERVICES {
        builder = builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()));
    }
    let gateway = builder.config(&routes).start();
    let mut socket = Socket::open_with(&gateway, &handshake());
    write(&redis, &["op", "revoke", "all", "1"]);
    eventually("it was read", || gateway.metric("revocations") == 1);
    socket.expect_echo("still here");
}
