//! Browsers: preflights without a token, and what every response says about who may read it.

use crate::harness::*;

const CHAT: &str = "https://chat.example";

fn named(origin: &Origin) -> Gateway {
    Gateway::builder()
        .everywhere(origin)
        .env("CORS_ALLOWED_ORIGINS", "https://chat.example,http://localhost:3000")
        .start()
}

fn preflight(origin: &str) -> Request {
    Request::new("OPTIONS", "/api/v1/messages")
        .field("Origin", origin)
        .field("Access-Control-Request-Method", "POST")
        .field("Access-Control-Request-Headers", "authorization, content-type, x-custom")
}

#[track_caller]
fn says_nothing_about_origins(response: &Response) {
    let told =
        response.head.fields.iter().find(|(name, _)| name.to_lowercase().starts_with("access-control-"));
    assert_eq!(told, None, "{response:?}");
}

#[test]
fn a_preflight_is_answered_without_a_token_and_goes_nowhere() {
    let origin = Origin::echo();
    let gateway = named(&origin);
    let mut client = gateway.client();
    let response = client.send(preflight(CHAT).bytes()).read_response();
    assert_eq!((response.status, response.body.len()), (204, 0));
    assert_eq!(response.field("access-control-allow-origin"), Some(CHAT));
    assert_eq!(response.field("access-control-allow-credentials"), Some("true"));
    assert!(response.head.lists("access-control-allow-methods", "POST"));
    for name in ["authorization", "content-type", "x-custom"] {
        assert!(response.head.lists("access-control-allow-headers", name), "{name}");
    }
    assert!(response.field("access-control-max-age").is_some());
    assert!(response.head.lists("vary", "Origin"));
    assert_eq!(response.field("content-length"), None);
    client.expect_open();
    assert_eq!(origin.heads(), 0);
}

#[test]
fn a_preflight_of_a_stranger_gets_no_permission() {
    let origin = Origin::echo();
    let gateway = named(&origin);
    for stranger in ["https://evil.example", "https://chat.example.evil", "http://chat.example", "null"] {
        let response = gateway.ask(preflight(stranger));
        assert_eq!(response.status, 204, "{stranger}");
        says_nothing_about_origins(&response);
        assert!(response.head.lists("vary", "Origin"));
    }
    assert_eq!(origin.heads(), 0);
}

#[test]
fn options_without_the_fields_of_a_preflight_is_an_ordinary_request() {
    let origin = Origin::echo();
    let gateway = named(&origin);
    let request = || Request::new("OPTIONS", "/api/v1/messages");
    assert_eq!(gateway.ask(request().field("Origin", CHAT)).status, 401);
    assert_eq!(gateway.ask(request().field("Access-Control-Request-Method", "GET")).status, 401);
    assert_eq!(gateway.ask(request().field("Origin", CHAT).token("ann")).status, 200);
    assert_eq!(origin.last().method(), "OPTIONS");
}

#[test]
fn a_named_origin_may_read_every_answer_errors_too() {
    let origin = Origin::echo();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("CORS_ALLOWED_ORIGINS", CHAT)
        .env("RATE_LIMIT_STORE", "memory")
        .env("RATE_LIMIT_RPS", "0.01")
        .env("RATE_LIMIT_BURST", "2")
        .start();
    let from_chat = |request: Request| gateway.ask(request.field("Origin", CHAT));
    let me = || Request::new("GET", "/api/v1/users/me");
    let mut statuses = Vec::new();
    let requests = [me(), me().token("ann"), Request::new("GET", "/nowhere").token("ann"), me().token("ann")];
    for request in requests {
        let response = from_chat(request);
        statuses.push(response.status);
        assert_eq!(response.field("access-control-allow-origin"), Some(CHAT), "{response:?}");
        assert_eq!(response.field("access-control-allow-credentials"), Some("true"));
        assert!(response.head.lists("vary", "Origin"));
        assert!(response.head.lists("access-control-expose-headers", "Retry-After"));
    }
    assert_eq!(statuses, [401, 200, 404, 429]);
    let refused = from_chat(me().raw("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"));
    assert_eq!(refused.status, 400);
}

#[test]
fn a_named_origin_may_read_that_its_head_is_refused() {
    let gateway = named(&Origin::echo());
    let long = "a".repeat(40_000);
    for (line, fields, status) in [
        ("GET /a//b", String::new(), 400),
        ("GET /%zz", String::new(), 400),
        ("GET /a\\b", "Host: b\r\n".to_owned(), 400),
        ("GET /", "Bad Name: x\r\n".to_owned(), 400),
        ("TRACE /", String::new(), 405),
        ("POST /", "Transfer-Encoding: gzip\r\n".to_owned(), 501),
        ("GET /", "Expect: x\r\n".to_owned(), 417),
        ("GET /", "X: y\r\n".repeat(120), 431),
        ("GET /", format!("Cookie: {long}\r\n"), 431),
        (&format!("GET /{}", &long[..10_000]), String::new(), 414),
    ] {
        for (origin, allowed) in [(CHAT, Some(CHAT)), ("https://evil.example", None)] {
            let head = format!("{line} HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n{fields}\r\n");
            let response = gateway.client().send(head).read_response();
            assert_eq!(response.status, status, "{line:.20}");
            assert_eq!(response.field("access-control-allow-origin"), allowed, "{line:.20} {response:?}");
        }
    }
    let twice = format!("GET // HTTP/1.1\r\nHost: h\r\nOrigin: {CHAT}\r\nOrigin: {CHAT}\r\n\r\n");
    says_nothing_about_origins(&gateway.client().send(twice).read_response());
}

#[test]
fn a_stranger_gets_its_answer_and_no_permission() {
    let origin = Origin::echo();
    let gateway = named(&origin);
    let me = || Request::new("GET", "/api/v1/users/me").token("ann");
    for request in [me().field("Origin", "https://evil.example"), me()] {
        let response = gateway.ask(request);
        assert_eq!(response.status, 200);
        says_nothing_about_origins(&response);
        assert!(response.head.lists("vary", "Origin"), "a cache must not hand it to another origin");
    }
}

#[test]
fn any_origin_means_no_credentials() {
    let origin = Origin::echo();
    let gateway = Gateway::builder().everywhere(&origin).env("CORS_ALLOWED_ORIGINS", "*").start();
    let me = Request::new("GET", "/api/v1/users/me").token("ann").field("Origin", "https://any.example");
    for response in [gateway.ask(me), gateway.ask(preflight("https://any.example"))] {
        assert_eq!(response.field("access-control-allow-origin"), Some("*"), "{response:?}");
        assert_eq!(response.field("access-control-allow-credentials"), None);
    }
}

#[test]
fn what_a_service_exposes_is_exposed_beside_what_the_gateway_does() {
    let origin = Origin::fixed(
        "HTTP/1.1 201 Created\r\nAccess-Control-Expose-Headers: Upload-Offset, Location, retry-after\r\n\
         access-control-expose-headers: Tus-Version, location\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = named(&origin);
    let response = gateway.ask(Request::new("GET", "/api/v1/users/me").token("ann").field("Origin", CHAT));
    let exposed = response.head.all("access-control-expose-headers");
    assert_eq!(
        exposed,
        ["RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-Id, \
             Upload-Offset, Location, Tus-Version"]
    );
}

#[test]
fn every_name_below_a_wildcard_may_call_and_open_websockets() {
    let origin = Origin::echo();
    let gateway = Gateway::builder()
        .everywhere(&origin)
        .env("CORS_ALLOWED_ORIGINS", "https://*.chat.example")
        .env("WS_ALLOWED_ORIGINS", "https://*.chat.example")
        .start();
    let me = |page: &str| Request::new("GET", "/api/v1/users/me").token("ann").field("Origin", page);
    let handshake = |page: &str| {
        let key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        gateway.ask(Request::new("GET", "/ws").raw(key).token("ann").field("Origin", page))
    };
    for page in ["https://a.chat.example", "https://b.a.chat.example"] {
        let response = gateway.ask(me(page));
        assert_eq!(response.field("access-control-allow-origin"), Some(page));
        assert_eq!(response.field("access-control-allow-credentials"), Some("true"));
        assert!(response.head.lists("vary", "Origin"));
        assert_eq!(handshake(page).status, 200, "the echo switches no protocol");
    }
    for page in [
        "https://chat.example",
        "https://evil-chat.example",
        "https://a.chat.example.evil",
        "https://a.chat.example:8443",
        "http://a.chat.example",
    ] {
        says_nothing_about_origins(&gateway.ask(me(page)));
        assert_eq!(handshake(page).code(), "origin_not_allowed", "{page}");
    }
}

#[test]
fn what_an_upstream_says_about_origins_is_replaced() {
    let origin = Origin::fixed(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
         access-control-expose-headers: X-Secret\r\nAccess-Control-Max-Age: 9\r\nVary: Accept\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let gateway = named(&origin);
    let me = || Request::new("GET", "/api/v1/users/me").token("ann");
    let response = gateway.ask(me().field("Origin", CHAT));
    assert_eq!(response.field("access-control-allow-origin"), Some(CHAT));
    assert_eq!(response.field("access-control-max-age"), None);
    assert!(response.head.lists("vary", "Accept") && response.head.lists("vary", "Origin"));
    says_nothing_about_origins(&gateway.ask(me().field("Origin", "https://evil.example")));

    // Off, the gateway has no opinion: the upstream's stands.
    let gateway = Gateway::before(&origin);
    let response = gateway.ask(me().field("Origin", CHAT));
    assert_eq!(response.field("access-control-allow-origin"), Some("*"));
}

#[test]
fn off_a_preflight_is_an_ordinary_request() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let response = gateway.ask(preflight(CHAT));
    assert_eq!((response.status, response.code().as_str()), (401, "token_missing"));
    says_nothing_about_origins(&response);
    assert_eq!(gateway.ask(preflight(CHAT).token("ann")).status, 200);
}
