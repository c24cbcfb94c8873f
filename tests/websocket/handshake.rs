//! Handshakes: which are taken, what goes upstream, what comes back.

use std::time::{Duration, Instant};

use crate::harness::*;

/// The field that the upstream got, of the last request.
fn upstream_field(origin: &Origin, name: &str) -> Option<String> {
    origin.last().head.field(name).map(str::to_owned)
}

#[test]
fn a_tunnel_echoes_and_the_upstream_knows_who_it_is() {
    for driver in ["auto", "epoll"] {
        let origin = echoing();
        let gateway = Gateway::builder().everywhere(&origin).env("IO_DRIVER", driver).start();
        let mut socket = Socket::open(&gateway, "ann");
        for text in ["hello", "", "W\u{f6}rld \u{1f600}"] {
            socket.expect_echo(text);
        }
        assert_eq!(upstream_field(&origin, "x-internal-user-id").as_deref(), Some("ann"));
        assert_eq!(upstream_field(&origin, "sec-websocket-key").as_deref(), Some(KEY));
        assert!(origin.last().head.lists("connection", "upgrade"));
        assert_eq!(socket.head.field("x-request-id").map(str::len), Some(32));
        assert_eq!((gateway.metric("tunnels_open"), gateway.metric("requests_in_flight")), (1, 0));
    }
}

#[test]
fn a_token_may_come_as_a_subprotocol_or_in_the_query_and_goes_no_further() {
    let origin = Origin::new(|exchange| {
        let Some(request) = exchange.read_request() else { return };
        let chosen = request.head.field("sec-websocket-protocol").unwrap_or_default().rsplit(", ").next();
        exchange.write(switching(&format!("Sec-WebSocket-Protocol: {}\r\n", chosen.unwrap_or_default())));
        ServerSide::switched(exchange).echo();
    });
    let gateway = Gateway::before(&origin);
    let offer = format!("chat.v1, bearer.{}, chat.v2", token("ann"));
    let mut socket = Socket::open_with(&gateway, &handshake().field("Sec-WebSocket-Protocol", &offer));
    socket.expect_echo("hi");
    assert_eq!(socket.head.field("sec-websocket-protocol"), Some("chat.v2"));
    assert_eq!(upstream_field(&origin, "sec-websocket-protocol").as_deref(), Some("chat.v1, chat.v2"));
    assert_eq!(upstream_field(&origin, "x-internal-user-id").as_deref(), Some("ann"));

    let target = format!("/ws?room=1&access_token={}&x=%20", token("bob"));
    Socket::open_with(&gateway, &handshake_on(&target)).expect_echo("hi");
    assert_eq!(origin.last().target(), "/ws?room=1&x=%20");
    assert_eq!(upstream_field(&origin, "sec-websocket-protocol"), None);
    assert_eq!(upstream_field(&origin, "x-internal-user-id").as_deref(), Some("bob"));
    assert!(!gateway.log().iter().any(|line| line.contains(&token("bob"))));
}

#[test]
fn each_source_of_tokens_can_be_switched_off() {
    let origin = echoing();
    let token = token("ann");
    let ways = [
        ("header", handshake_on("/live").bearer(&token)),
        ("subprotocol", handshake_on("/live").field("Sec-WebSocket-Protocol", &format!("bearer.{token}"))),
        ("query", handshake_on(&format!("/live?access_token={token}"))),
    ];
    for (on, _) in &ways {
        let config = format!(
            "[upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'live'\npaths = ['/live']\nupstream = 'a'\n\
             kind = 'websocket'\ntokens_from = ['{on}']\n",
            origin.address
        );
        let gateway = SERVICES.iter().fold(Gateway::builder(), |builder, service| {
            builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
        });
        let gateway = gateway.config(&config).start();
        for (way, request) in &ways {
            if way == on {
                Socket::open_with(&gateway, request).expect_echo("hi");
            } else {
                assert_eq!(gateway.ask(request.clone()).code(), "token_missing", "{way} where {on} is on");
            }
        }
    }
}

#[test]
fn without_a_valid_token_there_is_no_tunnel_and_no_word_about_handshakes() {
    let origin = echoing();
    let gateway = Gateway::before(&origin);
    let forged = token_with(r#"{"sub":"ann","exp":1}"#, r#"{"alg":"HS256"}"#, SECRET);
    for (request, code) in [
        (handshake(), "token_missing"),
        (Request::new("GET", "/ws"), "token_missing"),
        (handshake().bearer("a.b.c"), "token_invalid"),
        (handshake().bearer(&forged), "token_expired"),
        (handshake_on(&format!("/ws?access_token={}", token("a"))).token("a"), "token_invalid"),
    ] {
        let response = gateway.ask(request);
        assert_eq!((response.status, response.code().as_str()), (401, code));
    }
    assert_eq!(origin.heads(), 0);
}

#[test]
fn what_is_no_handshake_is_told_what_is_wrong() {
    let origin = echoing();
    let gateway =
        Gateway::builder().everywhere(&origin).env("WS_ALLOWED_ORIGINS", "https://chat.example").start();
    let fields = |lines: &str| Request::new("GET", "/ws").raw(lines).token("ann");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let version = "Sec-WebSocket-Version: 13\r\n";
    for (request, status, code) in [
        (fields(""), 426, "upgrade_required"),
        (fields("Connection: Upgrade\r\nUpgrade: h2c\r\n"), 426, "upgrade_required"),
        (fields(&format!("Upgrade: websocket\r\n{key}{version}")), 426, "upgrade_required"),
        (fields(&format!("{upgrade}{key}")), 426, "websocket_version"),
        (fields(&format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n")), 426, "websocket_version"),
        (fields(&format!("{upgrade}{version}")), 400, "websocket_key"),
        (fields(&format!("{upgrade}{version}Sec-WebSocket-Key: c2hvcnQ=\r\n")), 400, "websocket_key"),
        (fields(&format!("{upgrade}{version}{key}{key}")), 400, "websocket_key"),
        (fields(&format!("{upgrade}{version}{key}")).body("x"), 400, "websocket_body"),
        (
            fields(&format!("{upgrade}{version}{key}Sec-WebSocket-Protocol: a b\r\n")),
            400,
            "websocket_subprotocols",
        ),
        (
            fields(&format!("{upgrade}{version}{key}Origin: https://evil.example\r\n")),
            403,
            "origin_not_allowed",
        ),
    ] {
        let response = gateway.ask(request);
        assert_eq!((response.status, response.code().as_str()), (status, code));
        assert_eq!(response.field("upgrade"), (status == 426).then_some("websocket"), "{code}");
        let version = (code == "websocket_version").then_some("13");
        assert_eq!(response.field("sec-websocket-version"), version, "{code}");
    }
    assert_eq!(gateway.ask(Request::new("POST", "/ws").token("ann").body("")).status, 405);
    assert_eq!((origin.heads(), gateway.metric("handshakes_refused_total")), (0, 11));
    let page = handshake().field("Origin", "https://Chat.example").token("ann");
    Socket::open_with(&gateway, &page).expect_echo("hi");
}

#[test]
fn handshakes_are_limited_like_any_request() {
    let origin = echoing();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("RATE_LIMIT_STORE", "memory")
        .env("RATE_LIMIT_RPS", "0.001")
        .env("RATE_LIMIT_BURST", "2")
        .start();
    let _tunnels: Vec<Socket> = (0..2).map(|_| Socket::open(&gateway, "ann")).collect();
    assert_eq!(gateway.ask(handshake().token("ann")).code(), "rate_limited");
    Socket::open(&gateway, "bob").expect_echo("hi");
}

#[test]
fn nothing_behind_the_handshake_goes_upstream_before_the_101() {
    let origin = Origin::new(|exchange| {
        let Some(_) = exchange.read_request() else { return };
        exchange.stream().set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        assert!(exchange.read_some().is_empty(), "bytes before the 101");
        exchange.stream().set_read_timeout(None).expect("no timeout");
        // Its own first frame comes in one write with the head.
        exchange.write([switching("").as_bytes(), &Frame::text("welcome").plain()].concat());
        ServerSide::switched(exchange).echo();
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    let early = [handshake().token("ann").bytes(), Frame::text("early").masked(), vec![0x81]].concat();
    client.send(early);
    let mut socket = Socket::opened(client);
    assert_eq!(socket.read(), Frame::text("welcome"));
    assert_eq!(socket.read(), Frame::text("early"));
    socket.send_raw(&Frame::text("rest").masked()[1..]);
    assert_eq!(socket.read(), Frame::text("rest"));
}

#[test]
fn an_upstream_that_does_not_switch_is_relayed_as_plain_http() {
    let origin = Origin::each(|request| match request.target() {
        "/ws?no" => b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nX-Why: banned\r\n\r\nno!\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec(),
    });
    let gateway = Gateway::before(&origin);
    let mut client = gateway.client();
    for (target, status, body) in [("/ws?no", 403, "no!\n"), ("/ws", 200, "ok"), ("/ws?no", 403, "no!\n")] {
        let response = client.send(handshake_on(target).token("ann").bytes()).read_response();
        assert_eq!((response.status, response.text().as_str()), (status, body));
        assert_eq!(response.field("x-why"), (status == 403).then_some("banned"));
    }
    // Bytes that were meant for a tunnel are the next request, and no good one.
    let mut early = handshake_on("/ws?no").token("ann").bytes();
    early.extend(Frame::text("GET / HTTP/1.1").masked());
    let mut client = gateway.client();
    assert_eq!(client.send(early).read_response().status, 403);
    assert_eq!(client.read_response().status, 400);
    assert_eq!(gateway.metric("tunnels_open"), 0);
}

#[test]
fn a_101_that_does_not_answer_the_handshake_is_an_upstreams_mistake() {
    for answer in [
        switching("").replace("s3p", "S3p"),
        switching("").replace("Sec-WebSocket-Accept", "X-Accept"),
        switching("").replace("Upgrade: websocket", "Upgrade: h2c"),
        switching("").replace("Connection: Upgrade\r\n", ""),
        switching(&format!("Sec-WebSocket-Accept: {KEY}\r\n")),
        "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
    ] {
        let origin = Origin::once(&answer);
        let gateway = Gateway::before(&origin);
        let response = gateway.ask(handshake().token("ann"));
        assert_eq!((response.status, response.code().as_str()), (502, "upstream_protocol_error"), "{answer}");
        eventually("the connection is dropped", || origin.open() == 0);
    }
}

#[test]
fn an_upstream_that_cannot_be_asked_has_its_answers() {
    let gateway = Gateway::builder().start();
    assert_eq!(gateway.ask(handshake().token("ann")).code(), "upstream_unreachable");
    let silent = Origin::new(|exchange| exchange.wait_closed());
    let gateway = Gateway::builder().everywhere(&silent).env("WS_HANDSHAKE_TIMEOUT", "300ms").start();
    let since = Instant::now();
    assert_eq!(gateway.ask(handshake().token("ann")).code(), "upstream_timeout");
    // The default is 10 s.
    assert!(since.elapsed() < Duration::from_millis(9_900), "{:?}", since.elapsed());
    let gone = Origin::new(|exchange| drop(exchange.read_request()));
    let gateway = Gateway::before(&gone);
    assert_eq!(gateway.ask(handshake().token("ann")).code(), "upstream_protocol_error");
    assert_eq!((gateway.metric("handshakes_pending"), gateway.metric("tunnels_opened_total")), (0, 0));
}

#[test]
fn there_are_no_more_tunnels_than_a_core_and_a_user_may_have() {
    let origin = echoing();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("WS_MAX_CONNECTIONS", "4")
        .env("WS_MAX_PER_USER", "2")
        .start();
    let mut tunnels: Vec<Socket> = ["ann", "ann", "bob"].map(|user| Socket::open(&gateway, user)).into();
    let refused = gateway.ask(handshake().token("ann"));
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_websockets"));
    assert!(refused.field("retry-after").is_some());
    tunnels.push(Socket::open(&gateway, "bob"));
    let full = gateway.ask(handshake().token("cid"));
    assert_eq!((full.status, full.code().as_str()), (503, "overloaded"));
    assert!(full.field("retry-after").is_some());
    // A request is no tunnel.
    assert_eq!(gateway.ask(Request::new("GET", "/healthz")).status, 200);
    drop(tunnels.remove(0));
    eventually("there is room again", || gateway.metric("tunnels_open") == 3);
    Socket::open(&gateway, "ann").expect_echo("hi");
}

#[test]
fn handshakes_at_the_same_time_do_not_pass_the_bound_of_tunnels() {
    let origin = Origin::new(|exchange| {
        let Some(_) = exchange.read_request() else { return };
        exchange.sleep_ms(300);
        exchange.write(switching(""));
        ServerSide::switched(exchange).echo();
    });
    let gateway = Gateway::builder().cores("2").everywhere(&origin).env("WS_MAX_CONNECTIONS", "20").start();
    let mut clients: Vec<Client> = (0..80).map(|_| gateway.client()).collect();
    let asked = handshake().token("ann").bytes();
    for client in &mut clients {
        client.send(&asked);
    }
    let mut tunnels = Vec::new();
    for mut client in clients {
        let head = client.read_head();
        match head.start.split(' ').nth(1) {
            Some("101") => tunnels.push(client),
            status => assert_eq!(status, Some("503"), "{head:?}"),
        }
    }
    assert_eq!(tunnels.len(), 40);
    for core in ["0", "1"] {
        eventually("they are spread", || gateway.metric(&format!("tunnels_open{{core=\"{core}\"}}")) == 20);
    }
    drop(tunnels);
    eventually("they end", || gateway.metric("tunnels_open") == 0);
    Socket::open(&gateway, "ann").expect_echo("hi");
}

#[test]
fn a_pool_of_upstream_connections_is_left_alone() {
    let origin = Origin::new(|exchange| {
        while let Some(request) = exchange.read_request() {
            if request.target() == "/ws" {
                exchange.write(switching(""));
                return ServerSide::switched(exchange).echo();
            }
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let gateway = Gateway::before(&origin);
    assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
    let mut socket = Socket::open(&gateway, "ann");
    assert_eq!(gateway.get("/api/v1/users/me", "ann").status, 200);
    socket.expect_echo("hi");
    assert_eq!((origin.connections(), gateway.metric("upstream_reuses_total")), (2, 1));
}

#[test]
fn an_authorization_that_was_not_verified_goes_no_further() {
    let origin = echoing();
    let token = token("ann");
    let config = |sources: &str| {
        format!(
            "[upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'live'\npaths = ['/live']\nupstream = 'a'\n\
             kind = 'websocket'\ntokens_from = [{sources}]\n",
            origin.address
        )
    };
    let builder = SERVICES.iter().fold(Gateway::builder(), |builder, service| {
        builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
    });
    let in_query = handshake_on(&format!("/live?access_token={token}&access-token=y&x=1"));
    let in_query_once = handshake_on(&format!("/live?access_token={token}"));
    let gateway = builder.clone().config(&config("'query'")).start();
    for beside in ["Bearer forged", "Basic cm9vdDpyb290", "Bearer"] {
        Socket::open_with(&gateway, &in_query_once.clone().field("Authorization", beside)).expect_echo("hi");
        assert_eq!(upstream_field(&origin, "authorization"), None, "{beside}");
    }
    assert_eq!(gateway.ask(in_query).code(), "token_invalid", "two tokens, in two spellings");
    let gateway = builder.config(&config("'header', 'query'")).start();
    Socket::open_with(&gateway, &in_query_once.field("Authorization", "Basic cm9vdDpyb290"))
        .expect_echo("hi");
    assert_eq!(upstream_field(&origin, "authorization"), None);
    Socket::open_with(&gateway, &handshake_on("/live").bearer(&token)).expect_echo("hi");
    assert_eq!(upstream_field(&origin, "authorization"), Some(format!("Bearer {token}")));
}
