//! Where a request carries its token, who may use a cookie, and what of it a service sees.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::*;

/// A route `/api/*` and a WebSocket `/ws` with these keys each.
fn routes(origin: &Origin, api: &str, live: &str) -> String {
    format!(
        "ws_allowed_origins = ['https://chat.example']\ncors_allowed_origins = ['https://app.example']\n\
         [upstreams.a]\nurl = 'http://{}'\n\
         [[route]]\nname = 'api'\npaths = ['/api/*']\nupstream = 'a'\n{api}\n\
         [[route]]\nname = 'plain'\npaths = ['/plain']\nupstream = 'a'\n\
         [[route]]\nname = 'live'\npaths = ['/ws']\nupstream = 'a'\nkind = 'websocket'\n{live}\n",
        origin.address
    )
}

fn before(origin: &Origin, api: &str, live: &str) -> Builder {
    Gateway::builder().config(&routes(origin, api, live)).env("ACCESS_LOG", "stdout")
}

fn cookie(value: &str) -> String {
    format!("Cookie: {value}\r\n")
}

const COOKIES: &str = "tokens_from = ['header', 'cookie:session']";

// --- `access = "optional"`

#[test]
fn an_optional_route_knows_a_user_by_a_token_and_takes_anybody_without_one() {
    let origin = either();
    let keys = "access = 'optional'\nclaims_to_headers = { X-Internal-Tenant = 'tenant' }";
    let gateway = before(&origin, keys, keys).start();
    let expired = token_with(r#"{"sub":"ann","exp":1}"#, r#"{"alg":"HS256"}"#, SECRET);
    let ask = |request: Request| gateway.ask(request);
    for fields in
        ["", "Authorization: Basic YTpi\r\n", "X-Internal-User-Id: eve\r\nX-Internal-Tenant: eve\r\n"]
    {
        assert_eq!(ask(Request::new("GET", "/api/x").raw(fields)).status, 200, "{fields}");
        let last = origin.last();
        for name in ["x-internal-user-id", "x-internal-tenant", "authorization"] {
            assert_eq!(last.head.field(name), None, "{fields}");
        }
        Socket::open_with(&gateway, &handshake().raw(fields)).expect_echo("hi");
        assert_eq!(origin.last().head.field("x-internal-user-id"), None, "{fields}");
    }
    assert_eq!(ask(Request::new("GET", "/api/x").token("ann")).status, 200);
    assert_eq!(origin.last().field("x-internal-user-id"), Some("ann"));
    Socket::open(&gateway, "bob").expect_echo("hi");
    assert_eq!(origin.last().head.field("x-internal-user-id"), Some("bob"));
    let so_far = origin.heads();
    for (token, code) in
        [("a.b.c", "token_invalid"), (expired.as_str(), "token_expired"), ("x", "token_invalid")]
    {
        for request in [Request::new("GET", "/api/x"), handshake()] {
            let response = ask(request.bearer(token));
            assert_eq!((response.status, response.code().as_str()), (401, code), "{token}");
        }
    }
    let twice = Request::new("GET", "/api/x").token("ann").token("ann");
    assert_eq!(ask(twice).code(), "token_invalid");
    assert_eq!(origin.heads(), so_far);
}

#[test]
fn who_shows_no_token_on_an_optional_route_is_limited_by_address_and_a_user_as_a_user() {
    let origin = either();
    let gateway = before(&origin, "access = 'optional'", "")
        .env("RATE_LIMIT_STORE", "memory")
        .env("RATE_LIMIT_RPS", "0.001")
        .env("RATE_LIMIT_BURST", "2")
        .start();
    let nobody = || gateway.ask(Request::new("GET", "/api/x")).status;
    let user = |user: &str| gateway.get("/api/x", user).status;
    let bad = || gateway.ask(Request::new("GET", "/api/x").bearer("a.b.c")).status;
    assert_eq!([nobody(), nobody(), nobody()], [200, 200, 429]);
    assert_eq!([user("ann"), user("ann"), user("ann")], [200, 200, 429]);
    assert_eq!(user("bob"), 200);
    assert_eq!([bad(), bad(), bad()], [401, 401, 429]);
}

#[test]
fn a_path_whose_routes_are_optional_tells_its_methods_to_anybody() {
    let origin = either();
    let gateway = before(&origin, "access = 'optional'\nmethods = ['GET']", "").start();
    let response = gateway.ask(Request::new("POST", "/api/x").body(""));
    assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD")));
    assert_eq!(gateway.ask(Request::new("POST", "/api/x").bearer("a.b.c").body("")).status, 401);
    assert_eq!(gateway.ask(Request::new("GET", "/nowhere")).status, 401);
}

// --- Cookies

#[test]
fn a_cookie_identifies_and_is_cut_out_and_the_others_stay_as_they_are() {
    let origin = either();
    let gateway = before(&origin, COOKIES, COOKIES).start();
    let t = token("ann");
    for (sent, left) in [
        (format!("session={t}"), None),
        (format!("session={t}; a=1"), Some("a=1")),
        (format!("a=1; session={t}; b=2"), Some("a=1; b=2")),
        (format!("a=1; session={t}"), Some("a=1")),
        (format!("a=1;session={t};"), Some("a=1;")),
        (format!("session=\"{t}\"; q=\"x y\"; =; ;z"), Some("q=\"x y\"; =; ;z")),
        (format!(" a = \"1\" ;  session = {t} ;\tb=2"), Some("a = \"1\" ;\tb=2")),
        (
            format!("Session=x; xsession=y; session={t}; session2=z"),
            Some("Session=x; xsession=y; session2=z"),
        ),
        (format!("session={t}; ; "), None),
    ] {
        assert_eq!(gateway.ask(Request::new("GET", "/api/x").raw(&cookie(&sent))).status, 200, "{sent}");
        let origin_of = handshake().field("Origin", "https://chat.example").raw(&cookie(&sent));
        let (http, socket) = (origin.last(), Socket::open_with(&gateway, &origin_of));
        for received in [http, origin.last()] {
            assert_eq!(received.head.field("cookie"), left, "{sent}");
            assert_eq!(received.head.field("x-internal-user-id"), Some("ann"));
            assert!(!format!("{:?}", received.head).contains(&t), "{sent}");
        }
        drop(socket);
    }
    // Several fields, as from a proxy of HTTP/2.
    let request =
        Request::new("GET", "/api/x").raw(&format!("Cookie: a=1\r\nCookie: session={t}\r\nCookie: b=2\r\n"));
    assert_eq!(gateway.ask(request).status, 200);
    assert_eq!(origin.last().head.all("cookie"), ["a=1", "b=2"]);
    assert!(!gateway.log().concat().contains(&t) && !gateway.stdout().concat().contains(&t));
    // Elsewhere the cookie is the service's.
    let elsewhere = Request::new("GET", "/plain").token("ann").raw(&cookie(&format!("session={t}")));
    assert_eq!(gateway.ask(elsewhere).status, 200);
    assert_eq!(origin.last().head.field("cookie"), Some(format!("session={t}").as_str()));
}

#[test]
fn a_cookie_that_is_there_twice_or_not_valid_is_refused() {
    let origin = either();
    let gateway = before(&origin, COOKIES, COOKIES).start();
    let (t, expired) = (token("ann"), token_with(r#"{"sub":"ann","exp":1}"#, r#"{"alg":"HS256"}"#, SECRET));
    // The third is what any other path tells, where the first credential may well be valid.
    for (lines, code, elsewhere) in [
        (cookie(&format!("session={t}; session={t}")), "token_invalid", "token_missing"),
        (cookie(&format!("session={t}; a=1; session =x")), "token_invalid", "token_missing"),
        (format!("Cookie: session={t}\r\nCookie: session={t}\r\n"), "token_invalid", "token_missing"),
        (cookie(&format!("session=\"{t}")), "token_invalid", "token_invalid"),
        (cookie(&format!("session={t}\"")), "token_invalid", "token_invalid"),
        (cookie("session="), "token_invalid", "token_invalid"),
        (cookie(&format!("session={expired}")), "token_expired", "token_expired"),
        (cookie(&format!("Session={t}")), "token_missing", "token_missing"),
        (cookie(&format!("a={t}")), "token_missing", "token_missing"),
        (cookie("session"), "token_missing", "token_missing"),
    ] {
        for request in [Request::new("GET", "/api/x"), handshake().field("Origin", "https://chat.example")] {
            let response = gateway.ask(request.raw(&lines));
            assert_eq!((response.status, response.code().as_str()), (401, code), "{lines}");
        }
        for path in ["/nowhere", "/plain"] {
            assert_eq!(
                gateway.ask(Request::new("GET", path).raw(&lines)).code(),
                elsewhere,
                "{lines} {path}"
            );
        }
    }
    assert_eq!(origin.heads(), 0);
}

#[test]
fn with_a_token_in_the_header_the_cookie_is_not_looked_at_and_goes_no_further() {
    let origin = either();
    let gateway = before(&origin, COOKIES, COOKIES).start();
    for value in [format!("session={}", token("eve")), "session=garbage; session=twice".to_owned()] {
        // No page can set the header on another site's request, so it needs no `Origin`.
        let request = Request::new("POST", "/api/x").token("ann").raw(&cookie(&value)).body("");
        assert_eq!(gateway.ask(request).status, 200, "{value}");
        assert_eq!(origin.last().field("x-internal-user-id"), Some("ann"));
        assert_eq!(origin.last().field("cookie"), None);
        Socket::open_with(&gateway, &handshake().token("ann").raw(&cookie(&value))).expect_echo("hi");
        assert_eq!(
            (origin.last().field("x-internal-user-id"), origin.last().field("cookie")),
            (Some("ann"), None)
        );
    }
    // A field that is no token is nobody's credential, and stays here.
    let basic = Request::new("GET", "/api/x").field("Authorization", "Basic YTpi");
    let basic = basic.raw(&cookie(&format!("session={}", token("ann"))));
    assert_eq!(gateway.ask(basic).status, 200);
    let last = origin.last();
    assert_eq!((last.field("x-internal-user-id"), last.field("authorization")), (Some("ann"), None));
}

#[test]
fn another_sites_page_cannot_use_a_cookie_for_more_than_reading() {
    let origin = either();
    let gateway = before(&origin, COOKIES, COOKIES).start();
    let session = cookie(&format!("session={}", token("ann")));
    let ask = |method: &str, lines: &str| {
        let mut request = Request::new(method, "/api/x").raw(&session).raw(lines);
        if method != "GET" && method != "HEAD" {
            request = request.body("");
        }
        let mut client = gateway.client();
        client.send(request.bytes());
        match method {
            "HEAD" => client.read_bodiless_response(),
            _ => client.read_response(),
        }
    };
    let own = format!("Origin: {}://chat.test\r\n", scheme());
    let fetch = |site: &str| format!("Sec-Fetch-Site: {site}\r\n");
    let origins = [
        (String::new(), false),
        ("Origin: https://evil.example\r\n".to_owned(), false),
        ("Origin: null\r\n".to_owned(), false),
        ("Origin: ftp://chat.test\r\n".to_owned(), false),
        ("Origin: https://chat.test:8443\r\n".to_owned(), false),
        ("Origin: https://chat.example\r\n".to_owned(), false),
        ("Origin: https://app.example.evil\r\n".to_owned(), false),
        ("Origin: https://app.example\r\nOrigin: https://app.example\r\n".to_owned(), false),
        ("Origin: https://app.example\r\n".to_owned(), true),
        (own, true),
    ];
    let sites = [
        (String::new(), false),
        (fetch("cross-site"), false),
        (fetch("same-site"), false),
        (fetch("none"), false),
        (fetch("same-origin"), true),
    ];
    for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
        for (origin_line, is_own_origin) in &origins {
            for (site_line, is_own_site) in &sites {
                let response = ask(method, &format!("{origin_line}{site_line}"));
                let expected = if *is_own_origin || *is_own_site { 200 } else { 403 };
                assert_eq!(response.status, expected, "{method} {origin_line}{site_line}");
                if expected == 403 {
                    assert_eq!(response.code(), "cross_site");
                }
            }
        }
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        for (origin_line, _) in &origins {
            assert_eq!(ask(method, &format!("{origin_line}{}", fetch("cross-site"))).status, 200, "{method}");
        }
    }
    assert!(gateway.metric("requests_forbidden_total") > 0);
}

#[test]
fn a_handshake_with_a_cookie_needs_a_listed_origin() {
    let origin = either();
    let gateway = before(&origin, COOKIES, COOKIES).start();
    let session = cookie(&format!("session={}", token("ann")));
    let own = format!("Origin: {}://chat.test\r\n", scheme());
    for (lines, code) in [
        ("", "cross_site"),
        ("Origin: https://evil.example\r\n", "cross_site"),
        ("Origin: null\r\n", "cross_site"),
        ("Origin: https://app.example\r\n", "cross_site"),
        ("Sec-Fetch-Site: cross-site\r\n", "cross_site"),
        // Its own host, which the list of pages does not have.
        (own.as_str(), "origin_not_allowed"),
    ] {
        let response = gateway.ask(handshake().raw(&session).raw(lines));
        assert_eq!((response.status, response.code().as_str()), (403, code), "{lines}");
    }
    assert_eq!(origin.heads(), 0);
    let listed = handshake().raw(&session).field("Origin", "https://CHAT.example");
    Socket::open_with(&gateway, &listed).expect_echo("hi");
    // A token that a page has to add is no cookie.
    Socket::open(&gateway, "bob").expect_echo("hi");
}

#[test]
fn another_sites_page_cannot_empty_the_bucket_of_its_visitor() {
    let origin = either();
    let gateway = before(&origin, COOKIES, COOKIES)
        .env("RATE_LIMIT_STORE", "memory")
        .env("RATE_LIMIT_RPS", "0.001")
        .env("RATE_LIMIT_BURST", "2")
        .start();
    let session = cookie(&format!("session={}", token("ann")));
    let evil = || {
        let request =
            Request::new("POST", "/api/x").raw(&session).field("Origin", "https://evil.example").body("");
        gateway.ask(request).status
    };
    assert_eq!([evil(), evil(), evil()], [403, 403, 429]);
    assert_eq!(gateway.ask(Request::new("GET", "/api/x").raw(&session)).status, 200);
}

#[test]
fn a_cookie_on_a_websocket_of_any_page_is_a_mistake_at_the_start() {
    let origin = either();
    let builder = before(&origin, "", COOKIES).config(
        &routes(&origin, "", COOKIES)
            .replace("ws_allowed_origins = ['https://chat.example']", "ws_allowed_origins = '*'"),
    );
    let (code, _, log) = builder.run(&["run"]);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("WS_ALLOWED_ORIGINS has to say which pages may use it, and not *"), "{log}");
}

// --- The query

#[test]
fn a_token_in_the_query_of_a_request_goes_no_further() {
    let origin = either();
    let keys = "tokens_from = ['header', 'query:token']";
    let gateway = before(&origin, keys, keys).start();
    let t = token("ann");
    for (query, left) in [
        (format!("?token={t}"), ""),
        (format!("?a=1&token={t}&b=%20&&"), "?a=1&b=%20&&"),
        (format!("?%74oken={t}"), ""),
        (format!("?a&%74%6F%6ben={t}"), "?a"),
        (format!("?TOKEN={t};x"), "?x"),
        (format!("?token[]={t}&tokens=1"), "?tokens=1"),
    ] {
        assert_eq!(gateway.ask(Request::new("GET", &format!("/api/x{query}"))).status, 200, "{query}");
        assert_eq!(origin.last().target(), format!("/api/x{left}"), "{query}");
        assert_eq!(origin.last().field("x-internal-user-id"), Some("ann"));
        Socket::open_with(&gateway, &handshake_on(&format!("/ws{query}"))).expect_echo("hi");
        assert_eq!(origin.last().target(), format!("/ws{left}"), "{query}");
    }
    for target in [
        format!("/api/x?token={t}&token={t}"),
        format!("/api/x?token={t}&%74oken=x"),
        format!("/ws?token={t}&TOKEN={t}"),
    ] {
        assert_eq!(gateway.ask(handshake_on(&target)).code(), "token_invalid", "{target}");
    }
    let both = Request::new("GET", &format!("/api/x?token={t}")).token("ann");
    assert_eq!(gateway.ask(both).code(), "token_invalid");
    // Of a handshake no `access_token` goes upstream, whether it counts or not; of a request it is the service's.
    Socket::open_with(&gateway, &handshake_on(&format!("/ws?access_token=x&token={t}&y"))).expect_echo("hi");
    assert_eq!(origin.last().target(), "/ws?y");
    assert_eq!(gateway.ask(Request::new("GET", &format!("/api/x?access_token=x&token={t}"))).status, 200);
    assert_eq!(origin.last().target(), "/api/x?access_token=x");
    // Where a route does not name it, a token there is none.
    assert_eq!(gateway.ask(Request::new("GET", &format!("/plain?token={t}"))).code(), "token_missing");
    assert!(!gateway.log().concat().contains(&t) && !gateway.stdout().concat().contains(&t));
}

#[test]
fn a_request_whose_query_loses_its_token_is_repeated_without_it_too() {
    let origin =
        Origin::each(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n".to_vec());
    let gateway = before(&origin, "tokens_from = ['query:token']", "").start();
    let t = token("ann");
    for n in 0..3 {
        let target = format!("/api/{n}?a=1&token={t}&b");
        assert_eq!(gateway.ask(Request::new("GET", &target)).status, 200);
    }
    let targets: Vec<String> = origin.requests().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/api/0?a=1&b", "/api/1?a=1&b", "/api/2?a=1&b"]);
}

// --- Subprotocols

#[test]
fn phoenix_offers_its_token_in_base64url() {
    let origin = Origin::new(|exchange| {
        let Some(_) = exchange.read_request() else { return };
        exchange.write(switching("Sec-WebSocket-Protocol: phoenix\r\n"));
        ServerSide::switched(exchange).echo();
    });
    let keys = "tokens_from = ['subprotocol-base64url:base64url.bearer.phx.']";
    let gateway = before(&origin, "", keys).start();
    let encoded = URL_SAFE_NO_PAD.encode(token("ann"));
    let offer = format!("phoenix, base64url.bearer.phx.{encoded}");
    let mut socket = Socket::open_with(&gateway, &handshake().field("Sec-WebSocket-Protocol", &offer));
    socket.expect_echo("hi");
    assert_eq!(socket.head.field("sec-websocket-protocol"), Some("phoenix"));
    let last = origin.last();
    assert_eq!(last.head.field("sec-websocket-protocol"), Some("phoenix"));
    assert_eq!(last.head.field("x-internal-user-id"), Some("ann"));
    for (offer, code) in [
        (format!("phoenix, base64url.bearer.phx.{encoded}="), "websocket_subprotocols"),
        (format!("phoenix, base64url.bearer.phx.{}", token("ann")), "token_invalid"),
        (format!("phoenix, bearer.{}", token("ann")), "token_missing"),
        ("phoenix".to_owned(), "token_missing"),
        (format!("base64url.bearer.phx.{encoded}, base64url.bearer.phx.{encoded}"), "token_invalid"),
    ] {
        let response = gateway.ask(handshake().field("Sec-WebSocket-Protocol", &offer));
        if code != "websocket_subprotocols" {
            assert_eq!((response.status, response.code().as_str()), (401, code), "{offer}");
        } else {
            assert!(response.status == 401 || response.status == 400, "{offer}: {response:?}");
        }
    }
}

#[test]
fn a_browser_gets_the_marker_that_it_has_offered_where_the_service_chooses_nothing() {
    let t = token("ann");
    let chosen = |answer: &'static str, request: Request| {
        let origin = Origin::new(move |exchange| {
            let Some(_) = exchange.read_request() else { return };
            exchange.write(switching(answer));
            ServerSide::switched(exchange).echo();
        });
        let gateway = before(&origin, "", "").start();
        let mut socket = Socket::open_with(&gateway, &request);
        socket.expect_echo("hi");
        socket.head.all("sec-websocket-protocol").iter().map(|value| (*value).to_owned()).collect::<Vec<_>>()
    };
    let offering = |offer: &str| handshake().field("Sec-WebSocket-Protocol", offer);
    let token_and_marker = || offering(&format!("realchat.v1, bearer.{t}"));
    assert_eq!(chosen("", token_and_marker()), ["realchat.v1"]);
    assert_eq!(chosen("", offering(&format!("bearer.{t},chat.v2 , realchat.v1"))), ["realchat.v1"]);
    assert_eq!(chosen("Sec-WebSocket-Protocol: realchat.v1\r\n", token_and_marker()), ["realchat.v1"]);
    let three = offering(&format!("chat.v2, realchat.v1, bearer.{t}"));
    assert_eq!(chosen("Sec-WebSocket-Protocol: chat.v2\r\n", three), ["chat.v2"]);
    // Nothing was offered that the gateway may answer for.
    assert_eq!(chosen("", offering(&format!("chat.v2, bearer.{t}"))), [""; 0]);
    assert_eq!(chosen("", offering("realchat.v1").bearer(&t)), [""; 0]);
    assert_eq!(chosen("", handshake().bearer(&t)), [""; 0]);
}

// --- Handshakes and requests on one path

#[test]
fn only_websocket_goes_upstream_of_several_protocols() {
    let origin = either();
    let gateway = before(&origin, "kind = 'both'", "").start();
    for upgrade in ["websocket, h2c", "h2c, WebSocket", "websocket"] {
        for target in ["/ws", "/api/x"] {
            let request = Request::new("GET", target)
                .field("Connection", "Upgrade, HTTP2-Settings")
                .field("Upgrade", upgrade)
                .field("HTTP2-Settings", "AAMAAABkAAQAAP__")
                .field("Sec-WebSocket-Version", "13")
                .field("Sec-WebSocket-Key", KEY)
                .token("ann");
            Socket::open_with(&gateway, &request).expect_echo("hi");
            let last = origin.last();
            assert_eq!(last.head.all("upgrade"), ["websocket"], "{upgrade}");
            assert_eq!(last.head.field("http2-settings"), None);
        }
    }
}

#[test]
fn on_a_route_of_both_kinds_each_request_decides() {
    let origin = either();
    let keys = "kind = 'both'\ntokens_from = ['header', 'query:token', 'subprotocol']";
    let gateway = before(&origin, keys, "").start();
    let t = token("ann");
    let target = format!("/api/socket.io/?EIO=4&token={t}&transport=polling");
    for request in [
        Request::new("GET", &target),
        Request::new("POST", &target).body("40"),
        Request::new("GET", &target).field("Connection", "Upgrade").field("Upgrade", "h2c"),
        Request::new("POST", &target).field("Connection", "Upgrade").field("Upgrade", "websocket").body("x"),
        Request::new("GET", &target).field("Upgrade", "websocket"),
    ] {
        let response = gateway.ask(request);
        assert_eq!(response.status, 200, "{response:?}");
        let last = origin.last();
        assert_eq!(last.target(), "/api/socket.io/?EIO=4&transport=polling");
        assert_eq!((last.field("upgrade"), last.field("x-internal-user-id")), (None, Some("ann")));
    }
    Socket::open_with(&gateway, &handshake_on(&target)).expect_echo("hi");
    assert_eq!(origin.last().target(), "/api/socket.io/?EIO=4&transport=polling");
    let offer = format!("bearer.{t}, chat.v1");
    Socket::open_with(&gateway, &handshake_on("/api/x").field("Sec-WebSocket-Protocol", &offer))
        .expect_echo("hi");
    // Without a handshake the field means nothing, and its token goes no further.
    let request = Request::new("GET", "/api/x").field("Sec-WebSocket-Protocol", &offer);
    assert_eq!(gateway.ask(request).status, 200);
    assert_eq!(origin.last().field("sec-websocket-protocol"), None);
    // A handshake that is none is told so; a wrong one is not forwarded as a request.
    let wrong = handshake_on("/api/x").token("ann").field("Sec-WebSocket-Version", "8");
    assert_eq!(gateway.ask(wrong).code(), "websocket_version");
    assert_eq!(gateway.ask(handshake_on("/api/x")).code(), "token_missing");
}

#[test]
fn a_route_of_both_kinds_has_to_take_get() {
    let origin = either();
    let (code, _, log) = before(&origin, "kind = 'both'\nmethods = ['POST']", "").run(&["run"]);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("kind is both, and a handshake is a GET"), "{log}");
}

// --- What an operator sees

#[test]
fn check_and_explain_tell_where_tokens_stand() {
    let origin = either();
    let keys = "access = 'optional'\nkind = 'both'\n\
                tokens_from = ['header', 'cookie:session', 'query:token', 'subprotocol-base64url:phx.']";
    let (code, shown, _) = before(&origin, keys, "").run(&["check"]);
    assert_eq!(code, Some(0));
    let sources = "header, subprotocol-base64url:phx., query:token, cookie:session";
    assert!(shown.contains(&format!("tokens from {sources}")), "{shown}");
    assert!(
        shown.lines().any(|line| line.split_whitespace().take(3).eq(["api", "optional", "both"])),
        "{shown}"
    );
    let explaining = before(&origin, keys, "").env("RATE_LIMIT_STORE", "memory");
    let (code, told, _) = explaining.run(&["explain", "GET", "/api/x"]);
    assert_eq!(code, Some(0));
    for line in [
        "a handshake becomes a WebSocket, any other request is forwarded\n",
        &format!(
            "authentication  token of default, from {sources}; without one anonymous, with an invalid one 401\n"
        ),
        "a handshake or a method that may change something, from another site: 403 cross_site\n",
        "rl:ip:<client address>: 10/s, burst 20, takes 1 (without a token)\n",
        "rl:bad:<client address>: 10/s, burst 20, takes 1 (with an invalid token)\n",
        "taken out       token in the query, session in Cookie, subprotocols phx.…\n",
        "X-Internal-User-Id (with a token), ",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[test]
fn the_log_names_a_cross_site_request_and_neither_its_cookie_nor_its_user() {
    let origin = either();
    let gateway = before(&origin, COOKIES, "").start();
    let t = token("ann");
    let request = Request::new("DELETE", "/api/x").raw(&cookie(&format!("session={t}")));
    let response = gateway.ask(request);
    assert_eq!(response.code(), "cross_site");
    let line = gateway.wait_stdout(response.field("x-request-id").expect("a request id"));
    let record: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&record["code"], &record["status"]), (&"cross_site".into(), &403.into()));
    assert!(record.get("user").is_none() && !line.contains(&t), "{line}");
}

// --- `header:NAME`

#[test]
fn a_token_may_stand_in_a_field_of_its_own_and_stays_here_under_every_spelling() {
    let origin = either();
    let keys = "tokens_from = ['header', 'header:X-Phoenix-AuthToken']";
    let gateway = before(&origin, keys, keys).start();
    let field = |name: &str| format!("{name}: {}\r\n", token("ann"));
    for is_handshake in [false, true] {
        let request = |lines: &str| {
            let asked = if is_handshake { handshake() } else { Request::new("GET", "/api/x") };
            asked.raw(lines)
        };
        let with = |lines: &str| {
            if is_handshake {
                Socket::open_with(&gateway, &request(lines)).expect_echo("hi");
            } else {
                assert_eq!(gateway.ask(request(lines)).status, 200);
            }
            let last = origin.last().head;
            assert_eq!(last.field("x-internal-user-id"), Some("ann"));
            for name in ["x-phoenix-authtoken", "x_phoenix_authtoken", "authorization"] {
                assert_eq!(last.field(name), None, "{name}");
            }
        };
        with(&field("X-Phoenix-AuthToken"));
        with(&field("x-phoenix-authtoken"));
        with(&format!("{}X_Phoenix_AuthToken: other\r\n", field("X-Phoenix-AuthToken")));
        let refused = |lines: &str| gateway.ask(request(lines)).code();
        assert_eq!(refused(&field("X_Phoenix_AuthToken")), "token_missing");
        assert_eq!(refused("X-Phoenix-AuthToken: a.b.c\r\n"), "token_invalid");
        assert_eq!(refused(&field("X-Phoenix-AuthToken").repeat(2)), "token_invalid");
        let both = format!("{}Authorization: Bearer {}\r\n", field("X-Phoenix-AuthToken"), token("ann"));
        assert_eq!(refused(&both), "token_invalid");
    }
    // Elsewhere the field is the service's.
    let elsewhere = Request::new("GET", "/plain").raw(&field("X-Phoenix-AuthToken"));
    assert_eq!(gateway.ask(elsewhere).code(), "token_missing");
    assert_eq!(
        gateway.ask(Request::new("GET", "/plain").raw("X-Phoenix-AuthToken: x\r\n").token("bob")).status,
        200
    );
    assert_eq!(origin.last().field("x-phoenix-authtoken"), Some("x"));
    assert!(gateway.stdout().iter().all(|line| !line.contains(&token("ann"))));
}

#[test]
fn a_preflight_may_ask_for_the_field_of_a_token() {
    let origin = Origin::echo();
    let gateway = before(&origin, "tokens_from = ['header:X-Auth-Token']", "").start();
    let answer = gateway.ask(
        Request::new("OPTIONS", "/api/x")
            .field("Origin", "https://app.example")
            .field("Access-Control-Request-Method", "GET")
            .field("Access-Control-Request-Headers", "x-auth-token"),
    );
    assert_eq!((answer.status, answer.field("access-control-allow-headers")), (204, Some("x-auth-token")));
}

#[test]
fn a_field_with_a_meaning_of_its_own_holds_no_token() {
    let origin = Origin::echo();
    for (keys, told) in [
        ("tokens_from = ['header:Authorization']", "(write \"header\")"),
        ("tokens_from = ['header:X-Internal-Token']", "has a meaning of its own"),
        ("tokens_from = ['header:X_Token']", "is not a name of up to 64"),
        ("tokens_from = ['header:X-T']\nrequest_headers = { set = { X-T = 'a' } }", "holds credentials"),
        ("tokens_from = ['header:X-T']\nheaders = { X-T = 'a' }", "may be a credential"),
    ] {
        let (code, _, stderr) = before(&origin, keys, "").run(&["check"]);
        assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
        assert!(stderr.contains(told) && stderr.contains(".toml:5)"), "{stderr}");
    }
}
