//! What a route asks of the fields of a request, and what it changes in them.

use crate::harness::*;

/// A gateway with the upstreams `a` and `b`, which are these origins, and these routes.
fn before(a: &Origin, b: &Origin, routes: &str) -> Builder {
    Gateway::builder().config(&file(a, b, routes)).env("ACCESS_LOG", "stdout")
}

fn file(a: &Origin, b: &Origin, routes: &str) -> String {
    format!(
        "[upstreams.a]\nurl = 'http://{}'\n[upstreams.b]\nurl = 'http://{}'\n{routes}",
        a.address, b.address
    )
}

/// A route with these paths, this upstream and these keys.
fn route(name: &str, paths: &str, upstream: &str, keys: &str) -> String {
    format!("[[route]]\nname = '{name}'\npaths = {paths}\nupstream = '{upstream}'\n{keys}\n")
}

/// Checks that `check` tells of this alone, with its place.
#[track_caller]
fn is_mistake(routes: &str, told: &[&str]) {
    let origin = Origin::echo();
    let (code, _, stderr) = before(&origin, &origin, routes).run(&["check"]);
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
    for part in told {
        assert!(stderr.contains(part), "{part} is missing in {stderr}");
    }
}

// --- `headers`

const PUBLIC: &str = "access = 'public'";

#[test]
fn a_request_finds_the_route_that_asks_for_the_most_of_its_fields() {
    let (a, b) = (Origin::echo(), Origin::echo());
    let routes = [
        route("one", "['/v/*']", "a", PUBLIC),
        route("two", "['/v/*']", "b", "access = 'public'\nheaders = { X-Api-Version = 2 }"),
        route("beta", "['/v/*']", "b", "headers = { X-Api-Version = '2', X-Beta = true }"),
    ]
    .concat();
    let gateway = before(&a, &b, &routes).start();
    for (fields, status, name) in [
        ("", 200, "one"),
        ("X-API-VERSION: 2\r\n", 200, "two"),
        ("X-Api-Version: 1\r\n", 200, "one"),
        ("X-Api-Version: 2\r\nx-beta:\r\n", 401, "beta"),
        ("X-Beta: 1\r\n", 200, "one"),
        // None of these is the one value that counts.
        ("X-Api-Version: 2\r\nX-Api-Version: 2\r\n", 200, "one"),
        ("X-Api-Version: 2\r\nX_Api_Version: 1\r\n", 200, "one"),
        ("X_Api_Version: 2\r\n", 200, "one"),
        ("Connection: X-Api-Version\r\nX-Api-Version: 2\r\n", 200, "one"),
    ] {
        let before = (a.heads(), b.heads());
        let response = gateway.ask(Request::new("GET", "/v/x").raw(fields));
        assert_eq!(response.status, status, "{fields}");
        let served = (a.heads() - before.0, b.heads() - before.1);
        let expected = (usize::from(name == "one"), usize::from(name == "two"));
        assert_eq!(served, expected, "{fields}");
        gateway.wait_stdout(&format!("\"route\":\"{name}\""));
    }
    let known =
        gateway.ask(Request::new("POST", "/v/x").raw("X-Api-Version: 2\r\nX-Beta: 1\r\n").token("ann"));
    assert_eq!((known.status, b.last().field("x-internal-user-id")), (200, Some("ann")));
    assert_eq!(b.last().field("x-beta"), Some("1"), "what was asked for goes on");
}

#[test]
fn without_its_fields_a_path_has_no_route_and_no_wider_one_gets_the_request() {
    let (a, b) = (Origin::echo(), Origin::echo());
    let routes = [
        route("wide", "['/*']", "a", PUBLIC),
        route("narrow", "['/x']", "b", "headers = { X-Tenant = 'acme' }\nmethods = ['GET']"),
    ]
    .concat();
    let gateway = before(&a, &b, &routes).start();
    gateway.wait_log("a request of /x without its headers has no route");
    assert_eq!(gateway.ask(Request::new("GET", "/x")).code(), "token_missing");
    let ask = |method: &str, fields: &str| gateway.ask(Request::new(method, "/x").raw(fields).token("ann"));
    assert_eq!(ask("GET", "").code(), "no_route");
    assert_eq!(ask("GET", "X-Tenant: other\r\n").code(), "no_route");
    assert_eq!(ask("POST", "").code(), "method_not_allowed");
    assert_eq!((a.heads(), b.heads()), (0, 0));
    assert_eq!(ask("GET", "X-Tenant: acme\r\n").status, 200);
    assert_eq!((a.heads(), b.heads()), (0, 1));
}

#[test]
fn a_handshake_finds_its_route_by_its_fields_too() {
    let (a, b) = (echoing(), echoing());
    let routes = [
        route("old", "['/ws']", "a", "kind = 'websocket'"),
        route("new", "['/ws']", "b", "kind = 'websocket'\nheaders = { X-Client = '9' }"),
    ]
    .concat();
    let gateway = before(&a, &b, &routes).start();
    Socket::open_with(&gateway, &handshake().token("ann").field("X-Client", "9")).expect_echo("hi");
    assert_eq!((a.heads(), b.heads()), (0, 1));
    Socket::open_with(&gateway, &handshake().token("ann").field("X-Client", "8")).expect_echo("hi");
    assert_eq!((a.heads(), b.heads()), (1, 1));
}

#[test]
fn a_preflight_needs_no_field_where_the_gateway_answers_it_and_finds_the_plain_route_where_not() {
    let (a, b) = (Origin::echo(), Origin::echo());
    let routes = [
        route("plain", "['/x']", "a", PUBLIC),
        route("beta", "['/x']", "b", "access = 'public'\nheaders = { X-Beta = '1' }"),
    ]
    .concat();
    let asked = || {
        Request::new("OPTIONS", "/x")
            .field("Origin", "https://app.example")
            .field("Access-Control-Request-Method", "GET")
            .field("Access-Control-Request-Headers", "x-beta")
    };
    let gateway = before(&a, &b, &routes).env("CORS_ALLOWED_ORIGINS", "https://app.example").start();
    let answer = gateway.ask(asked());
    assert_eq!((answer.status, answer.field("access-control-allow-headers")), (204, Some("x-beta")));
    assert_eq!((a.heads(), b.heads()), (0, 0));
    let gateway = before(&a, &b, &routes).start();
    assert_eq!(gateway.ask(asked()).status, 200);
    assert_eq!((a.heads(), b.heads()), (1, 0));
}

#[test]
fn routes_between_which_no_field_decides_are_a_mistake_with_both_places() {
    let two = |one: &str, two: &str| {
        [
            route("one", "['/x']", "a", &format!("headers = {{ {one} }}")),
            route("two", "['/x']", "a", &format!("headers = {{ {two} }}")),
        ]
        .concat()
    };
    let told =
        ["route \"two\" (", ".toml:10)", "is taken by route \"one\" (", ".toml:5)", "headers do not decide"];
    is_mistake(&two("x-a = '1'", "x-b = '1'"), &told);
    is_mistake(&two("x-a = '1'", "X-A = true"), &told);
    is_mistake(
        &two("x-a = '1'", "x-forwarded-for = '10.0.0.1'"),
        &["x-forwarded-for", ".toml:10)", "not taken"],
    );
    is_mistake(
        &route("one", "['/x']", "a", "headers = { Authorization = 'Bearer x' }"),
        &["may be a credential"],
    );
    is_mistake(&route("one", "['/x']", "a", "headers = { x-a = false }"), &[".toml:9:", "true (the field"]);
}

#[test]
fn check_and_explain_show_the_fields_and_a_reload_changes_them() {
    let (a, b) = (Origin::echo(), Origin::echo());
    let both = |value: &str| {
        let keys = format!("access = 'public'\nheaders = {{ X-V = '{value}', x-beta = true }}");
        [route("plain", "['/x']", "a", PUBLIC), route("new", "['/x']", "b", &keys)].concat()
    };
    let shown = before(&a, &b, &both("2")).run(&["check"]).1;
    assert!(shown.contains("with x-beta and x-v = \"2\""), "{shown}");
    let gateway = before(&a, &b, &both("2")).start();
    let ask = || gateway.ask(Request::new("GET", "/x").raw("X-V: 2\r\nX-Beta: 1\r\n")).status;
    assert_eq!((ask(), b.heads()), (200, 1));
    gateway.rewrite_config(&file(&a, &b, &both("3")));
    let told = gateway.reload();
    assert!(told.iter().any(|line| line.contains("with x-beta and x-v = \"3\"")), "{told:?}");
    assert_eq!((ask(), a.heads(), b.heads()), (200, 1, 1));
    gateway.rewrite_config(&file(&a, &b, &both("")));
    gateway.reload();
    assert_eq!((ask(), a.heads(), b.heads()), (200, 2, 1), "a reload with a mistake changes nothing");
}
