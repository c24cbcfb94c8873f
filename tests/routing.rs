//! What a route may say of itself beside paths and methods: hosts, prefixes, answers of its own, networks.

use crate::harness::*;

/// A gateway with the upstream `a`, which is this origin, and these routes.
fn before(origin: &Origin, routes: &str) -> Builder {
    Gateway::builder().config(&file(origin, routes)).env("ACCESS_LOG", "stdout")
}

fn file(origin: &Origin, routes: &str) -> String {
    format!("[upstreams.a]\nurl = 'http://{}'\n{routes}", origin.address)
}

/// A route to the upstream `a` with these paths and keys.
fn route(name: &str, paths: &str, keys: &str) -> String {
    format!("[[route]]\nname = '{name}'\npaths = {paths}\nupstream = 'a'\n{keys}\n")
}

/// A request without a token to this host.
fn to(host: &str, method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn told(gateway: &Gateway, raw: &str) -> (u16, String) {
    let response = gateway.client().send(raw).read_response();
    let code = if response.status < 400 { String::new() } else { response.code() };
    (response.status, code)
}

// --- `hosts`

#[test]
fn a_host_has_routes_of_its_own_before_those_for_every_host() {
    let origin = Origin::echo();
    let routes = [
        route("open", "['/api/{id}', '/site']", "access = 'public'"),
        route("admin", "['/api/*']", "hosts = ['Admin.example']\nmethods = ['GET']"),
        route("team", "['/team']", "hosts = ['*.example']\naccess = 'public'"),
    ]
    .concat();
    let gateway = before(&origin, &routes).start();
    for (host, method, path, status, code) in [
        ("other.test", "GET", "/api/7", 200, ""),
        ("admin.example", "GET", "/api/7", 401, "token_missing"),
        ("ADMIN.example.:8080", "GET", "/api/7", 401, "token_missing"),
        // The public route for every host has the method, and does not get the request.
        ("admin.example", "POST", "/api/7", 401, "token_missing"),
        ("admin.example", "GET", "/site", 200, ""),
        ("admin.example", "GET", "/none", 401, "token_missing"),
        ("b.example", "GET", "/team", 200, ""),
        ("b.c.example", "GET", "/team", 401, "token_missing"),
        ("other.test", "GET", "/team", 401, "token_missing"),
    ] {
        assert_eq!(
            told(&gateway, &to(host, method, path)),
            (status, code.to_owned()),
            "{host} {method} {path}"
        );
    }
    let absolute = "GET http://admin.example/api/7 HTTP/1.1\r\nHost: admin.example\r\n\r\n";
    assert_eq!(told(&gateway, absolute).0, 401, "the authority of the target is the host");
    let nameless = "GET /api/7 HTTP/1.0\r\n\r\n";
    assert_eq!(told(&gateway, nameless).0, 200, "without a host only the routes for every host are there");
    let known = gateway.ask(Request::new("POST", "/api/7").token("ann"));
    assert_eq!(known.status, 200);
    let raw = format!(
        "POST /api/7 HTTP/1.1\r\nHost: admin.example\r\nAuthorization: Bearer {}\r\n\r\n",
        token("ann")
    );
    let known = gateway.client().send(raw).read_response();
    assert_eq!((known.status, known.field("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn a_forwarded_host_chooses_no_route() {
    let origin = Origin::echo();
    let routes =
        [route("open", "['/x']", "access = 'public'\nhosts = ['open.example']"), route("shut", "['/x']", "")]
            .concat();
    let gateway = before(&origin, &routes).env("TRUSTED_PROXIES", "127.0.0.0/8").start();
    for field in ["X-Forwarded-Host", "X-Host", "Forwarded"] {
        let response = gateway.ask(Request::new("GET", "/x").field(field, "open.example"));
        assert_eq!(response.status, 401, "{field}");
    }
}

#[test]
fn two_routes_for_one_host_and_path_are_a_mistake_with_both_places() {
    let origin = Origin::echo();
    let routes = [
        route("one", "['/x']", "hosts = ['a.example', 'b.example']"),
        route("two", "['/x']", "hosts = ['b.example:80']"),
        route("three", "['/x']", "hosts = ['B.example']"),
    ]
    .concat();
    let (code, _, stderr) = before(&origin, &routes).run(&["check"]);
    assert_eq!(code, Some(2));
    let is_told = |parts: &[&str]| stderr.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(is_told(&["route \"two\" (", ".toml:8)", "has a port"]), "{stderr}");
    let both = [
        "route \"three\" (",
        ".toml:13)",
        "with any method on b.example is taken by route \"one\" (",
        ".toml:3)",
    ];
    assert!(is_told(&both), "{stderr}");
}

#[test]
fn check_explain_and_a_reload_speak_of_hosts() {
    let origin = Origin::echo();
    let at = |host: &str| route("r", "['/x']", &format!("access = 'public'\nhosts = ['{host}']"));
    let (_, stdout, _) = before(&origin, &at("a.example")).run(&["check"]);
    assert!(stdout.contains("hosts a.example"), "{stdout}");
    let (_, stdout, _) =
        before(&origin, &at("a.example")).run(&["explain", "GET", "https://A.example:8443/x"]);
    assert!(
        stdout.contains("route           r (upstream a") && stdout.contains("hosts a.example"),
        "{stdout}"
    );
    let (_, stdout, _) = before(&origin, &at("a.example")).run(&["explain", "GET", "https://b.example/x"]);
    assert!(stdout.contains("404 no_route"), "{stdout}");
    let gateway = before(&origin, &at("a.example")).start();
    assert_eq!(told(&gateway, &to("b.example", "GET", "/x")).0, 401);
    gateway.rewrite_config(&file(&origin, &at("b.example")));
    let log = gateway.reload();
    assert!(log.iter().any(|line| line.contains("hosts b.example")), "{log:?}");
    assert_eq!(told(&gateway, &to("b.example", "GET", "/x")).0, 200);
    assert_eq!(told(&gateway, &to("a.example", "GET", "/x")).0, 401);
}

// --- `strip_prefix` and `add_prefix`

#[test]
fn a_path_goes_upstream_without_and_with_prefixes_and_is_the_clients_everywhere_else() {
    let origin = either();
    let keys = "access = 'public'\nstrip_prefix = '/api'\nadd_prefix = '/v2/x'\n";
    let limit = "[[route.limit]]\nrate = 0.001\nburst = 9\nper = 'ip'\n";
    let routes = [
        route("both", "['/api', '/api/*']", &format!("{keys}{limit}")),
        route(
            "strip",
            "['/shop', '/shop/*']",
            "access = 'public'\nstrip_prefix = '/shop'\npath_case = 'exact'",
        ),
        route("live", "['/live/ws']", "kind = 'websocket'\nstrip_prefix = '/live'"),
        route(
            "any",
            "['/Case/a']",
            "access = 'public'\nstrip_prefix = '/Case'\npath_case = 'any'\ntrailing_slash = 'either'",
        ),
    ]
    .concat();
    let gateway = before(&origin, &routes).env("RATE_LIMIT_STORE", "memory").start();
    for (target, sent) in [
        ("/api", "/v2/x"),
        ("/api/", "/v2/x/"),
        ("/api?a=/../b", "/v2/x?a=/../b"),
        ("/api/a%2db/%c3%a9", "/v2/x/a-b/%C3%A9"),
        ("/shop", "/"),
        ("/shop/", "/"),
        ("/shop?q", "/?q"),
        ("/shop/shop/1", "/shop/1"),
        ("/cASE/A", "/A"),
        ("/case/a/", "/a/"),
    ] {
        let response = gateway.ask(Request::new("GET", target));
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(origin.last().head.word(1), sent, "{target}");
        let line = gateway.wait_stdout(response.field("x-request-id").expect("an id"));
        let record: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let path = record["path"].as_str().expect("a path").to_lowercase();
        assert!(target.to_lowercase().starts_with(&path) || path.contains("a-b"), "{target}: {line}");
    }
    for target in ["/shop/../api", "/shop//evil", "/shop/%2e%2e/x", "/shop%2f..", "/shop/;/x"] {
        assert_eq!(gateway.ask(Request::new("GET", target)).status, 400, "{target}");
    }
    let upgrade = String::from_utf8(handshake().token("ann").bytes()).expect("text");
    let upgrade = upgrade.replacen("GET /ws", "GET /live/ws", 1);
    assert!(upgrade.starts_with("GET /live/ws HTTP/1.1"), "{upgrade}");
    assert_eq!(gateway.client().send(upgrade).read_head().word(1), "101");
    assert_eq!(origin.last().head.word(1), "/ws");
    let (_, stdout, _) = before(&origin, &routes).run(&["explain", "GET", "/api/x"]);
    assert!(
        stdout.contains("path            /api/x\n") && stdout.contains("upstream path   /v2/x/x\n"),
        "{stdout}"
    );
    let (_, stdout, _) = before(&origin, &routes).run(&["check"]);
    assert!(stdout.contains("path without /api, below /v2/x"), "{stdout}");
}

// --- `redirect` and `respond`

/// A route without an upstream.
fn own(name: &str, paths: &str, keys: &str) -> String {
    format!("[[route]]\nname = '{name}'\npaths = {paths}\naccess = 'public'\n{keys}\n")
}

#[test]
fn a_redirect_keeps_path_and_query_and_never_the_host_of_another() {
    let origin = Origin::echo();
    let routes = [
        own(
            "old",
            "['/old', '/old/*']",
            "strip_prefix = '/old'\nredirect = { status = 308, to = '/new{path}{query}' }",
        ),
        own("out", "['/out/*']", "redirect = { status = 302, to = 'https://a.example{path}' }"),
        own(
            "fixed",
            "['/fixed']",
            "methods = ['GET']\nredirect = { status = 301, to = 'https://b.example/x?y' }",
        ),
    ]
    .concat();
    let gateway = before(&origin, &routes).start();
    for (target, status, location) in [
        ("/old/a%2db?x=1&y", 308, "/new/a-b?x=1&y"),
        ("/old", 308, "/new/"),
        ("/old?next=//evil", 308, "/new/?next=//evil"),
        ("/out/@evil.example", 302, "https://a.example/out/@evil.example"),
        ("/out/x%0d", 400, ""),
        ("/old//evil", 400, ""),
        ("/old/%2fevil", 400, ""),
        ("/old/\\evil", 400, ""),
        ("/fixed?z", 301, "https://b.example/x?y"),
    ] {
        let response = gateway.ask(Request::new("GET", target));
        assert_eq!(
            (response.status, response.field("location").unwrap_or_default()),
            (status, location),
            "{target}"
        );
        assert!(status == 400 || response.body.is_empty(), "{target}");
    }
    let other = gateway.ask(Request::new("POST", "/fixed"));
    assert_eq!((other.status, other.field("allow")), (405, Some("GET, HEAD")));
    assert_eq!(origin.heads(), 0);
}

#[test]
fn an_answer_of_a_route_is_a_whole_message_whatever_comes_with_the_request() {
    let file = TempFile::new("robots.txt", "User-agent: *\nDisallow: /\n");
    let keys = format!("respond = {{ body_file = '{}' }}", file.path());
    let large = "x".repeat(65_536);
    let routes = [
        own("robots", "['/robots.txt']", &keys),
        own(
            "closed",
            "['/*']",
            "respond = { status = 503, body = '<p>back soon', content_type = 'text/html' }",
        ),
        own("none", "['/none']", "respond = { status = 204 }"),
        own("large", "['/large']", &format!("respond = {{ body = '{large}' }}")),
        "[[route]]\nname = 'mine'\npaths = ['/mine']\nrespond = { body = 'mine' }\n".to_owned(),
    ]
    .concat();
    let gateway = Gateway::builder().config(&routes).env("ACCESS_LOG", "stdout").start();
    let mut client = gateway.client();
    for round in 0..2 {
        let robots = client.send(Request::new("GET", "/robots.txt").bytes()).read_response();
        assert_eq!((robots.status, robots.text().as_str()), (200, "User-agent: *\nDisallow: /\n"), "{round}");
        assert_eq!(robots.field("content-type"), Some("text/plain; charset=utf-8"));
        // A body is not the next request.
        let inner = "GET /robots.txt HTTP/1.1\r\nHost: chat.test\r\n\r\n";
        let closed = client.send(Request::new("POST", "/any/where").body(inner).bytes()).read_response();
        assert_eq!((closed.status, closed.text().as_str()), (503, "<p>back soon"));
        assert_eq!(closed.field("content-type"), Some("text/html"));
        let none = client.send(Request::new("DELETE", "/none").bytes()).read_response();
        assert_eq!(
            (none.status, none.field("content-length"), none.field("content-type")),
            (204, None, None)
        );
        assert_eq!(
            client.send(Request::new("GET", "/large").bytes()).read_response().body.len(),
            large.len()
        );
    }
    client.send("HEAD /robots.txt HTTP/1.1\r\nHost: h\r\n\r\nHEAD /any HTTP/1.1\r\nHost: h\r\n\r\n");
    let (first, second) = (client.read_head(), client.read_head());
    assert_eq!((first.word(1), first.field("content-length")), ("200", Some("26")));
    assert_eq!((second.word(1), second.field("content-length")), ("503", Some("12")));
    let chunked =
        Request::new("POST", "/x").field("Transfer-Encoding", "chunked").raw_body("2\r\nab\r\n0\r\n\r\n");
    assert_eq!(gateway.ask(chunked).status, 503);
    let waiting = Request::new("PUT", "/x").field("Expect", "100-continue").field("Content-Length", "5");
    let answer = gateway.ask(waiting);
    assert_eq!((answer.status, answer.interim.len()), (503, 0));
    assert_eq!(gateway.ask(Request::new("GET", "/mine")).code(), "token_missing");
    assert_eq!(gateway.get("/mine", "ann").text(), "mine");
    let (code, stdout, _) = Gateway::builder().config(&routes).run(&["check"]);
    assert!(code == Some(0) && stdout.contains("respond 503 with 12 bytes of text/html, sum "), "{stdout}");
    let (_, stdout, _) = Gateway::builder().config(&routes).run(&["explain", "GET", "/any"]);
    assert!(stdout.contains("route           closed (respond 503 with 12 bytes"), "{stdout}");
    // The file is read at a reload, and only then.
    std::fs::write(&file.0, "new\n").expect("our file");
    assert_eq!(gateway.ask(Request::new("GET", "/robots.txt")).body.len(), 26);
    let log = gateway.reload();
    assert!(log.iter().any(|line| line.contains("route robots: from")), "{log:?}");
    assert_eq!(gateway.ask(Request::new("GET", "/robots.txt")).text(), "new\n");
    std::fs::write(&file.0, "x".repeat(65_537)).expect("our file");
    let log = gateway.reload();
    assert!(log.iter().any(|line| line.contains("over 65536")), "{log:?}");
    assert_eq!(gateway.ask(Request::new("GET", "/robots.txt")).text(), "new\n");
}

#[test]
fn an_answer_of_a_route_is_limited() {
    let limit = "respond = { body = 'x' }\n[[route.limit]]\nrate = 0.001\nburst = 2\n";
    let gateway =
        Gateway::builder().config(&own("r", "['/r']", limit)).env("RATE_LIMIT_STORE", "memory").start();
    let statuses: Vec<u16> = (0..4).map(|_| gateway.ask(Request::new("GET", "/r")).status).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

// --- `allow` and `deny`

#[test]
fn a_route_takes_clients_of_its_networks_alone_and_probing_is_limited() {
    let origin = Origin::echo();
    let routes = [
        route("office", "['/office']", "access = 'public'\nallow = ['192.0.2.0/24']\ndeny = ['192.0.2.66']"),
        route("mine", "['/mine']", "deny = ['192.0.2.66']"),
    ]
    .concat();
    let gateway = before(&origin, &routes)
        .env("TRUSTED_PROXIES", "127.0.0.0/8")
        .env("RATE_LIMIT_STORE", "memory")
        .env("RATE_LIMIT_RPS", "0.001")
        .env("RATE_LIMIT_BURST", "3")
        .start();
    let ask = |address: &str, path: &str| {
        let response = gateway.ask(Request::new("GET", path).field("X-Forwarded-For", address).token("ann"));
        let code = if response.status < 400 { String::new() } else { response.code() };
        (response.status, code)
    };
    let (refused, limited) = ((403, "address_not_allowed".to_owned()), (429, "rate_limited".to_owned()));
    assert_eq!(ask("192.0.2.1", "/office").0, 200);
    assert_eq!(ask("::ffff:192.0.2.1", "/office").0, 200);
    // What stands further left is the client's own word.
    assert_eq!(ask("192.0.2.1, 192.0.2.66", "/office"), refused);
    assert_eq!(ask("192.0.2.66", "/mine"), refused);
    assert_eq!(ask("::ffff:192.0.2.66", "/mine"), refused);
    assert_eq!(ask("192.0.2.66", "/office"), limited);
    assert_eq!(ask("192.0.2.66", "/mine"), limited, "a valid token pays for nothing");
    assert_eq!(ask("198.51.100.1", "/office"), refused);
    assert_eq!(ask("198.51.100.1", "/mine").0, 200, "the user's bucket is full");
    assert_eq!(origin.heads(), 3);
    assert_eq!(gateway.metric("requests_forbidden_total"), 4);
    let (_, stdout, _) = before(&origin, &routes).run(&["explain", "GET", "/office"]);
    assert!(
        stdout.contains("clients         allow 192.0.2.0/24, deny 192.0.2.66/32; others 403"),
        "{stdout}"
    );
    let (_, stdout, _) = before(&origin, &routes).run(&["check"]);
    assert!(stdout.contains("deny 192.0.2.66/32"), "{stdout}");
    gateway.rewrite_config(&file(&origin, &route("mine", "['/mine']", "allow = ['192.0.2.66']")));
    gateway.reload();
    assert_eq!(ask("198.51.100.2", "/mine"), refused);
}
