//! What a route may say of itself beside paths and methods: hosts.

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
