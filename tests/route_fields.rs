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
    let lies = route("one", "['/x']", "a", "headers = { X-Forwarded-For = '10.0.0.1' }");
    is_mistake(&lies, &["headers \"x-forwarded-for\": is not taken from a client", ".toml:5)"]);
    is_mistake(
        &route("one", "['/x']", "a", "headers = { Authorization = 'Bearer x' }"),
        &["may be a credential"],
    );
    is_mistake(&route("one", "['/x']", "a", "headers = { x-a = false }"), &[".toml:9): ", "true (the field"]);
}

#[test]
fn check_and_explain_show_the_fields_and_a_reload_changes_them() {
    let (a, b) = (Origin::echo(), Origin::echo());
    let both = |value: &str| {
        let keys = format!("access = 'public'\nheaders = {{ X-V = '{value}', x-beta = true }}");
        [route("plain", "['/x']", "a", PUBLIC), route("new", "['/x']", "b", &keys)].concat()
    };
    let shown = before(&a, &b, &both("2")).run(&["check"]).1;
    assert!(shown.contains("with x-v: 2 and x-beta"), "{shown}");
    let gateway = before(&a, &b, &both("2")).start();
    let ask = || gateway.ask(Request::new("GET", "/x").raw("X-V: 2\r\nX-Beta: 1\r\n")).status;
    assert_eq!((ask(), b.heads()), (200, 1));
    gateway.rewrite_config(&file(&a, &b, &both("3")));
    let told = gateway.reload();
    assert!(told.iter().any(|line| line.contains("with x-v: 3 and x-beta")), "{told:?}");
    assert_eq!((ask(), a.heads(), b.heads()), (200, 1, 1));
    gateway.rewrite_config(&file(&a, &b, &both("")));
    gateway.reload();
    assert_eq!((ask(), a.heads(), b.heads()), (200, 2, 1), "a reload with a mistake changes nothing");
}

// --- `request_headers` and `response_headers`

const TALKATIVE: &str = "HTTP/1.1 200 OK\r\nServer: app/1\r\nX_Powered.By: magic\r\nX-Frame-Options: ALLOW\r\n\
                         Vary: Accept\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok";

const FRAMES: &str = "response_headers = { set = { X-Frame-Options = 'DENY', Cache-Control = 'max-age=60' }, \
                      add = { Vary = 'X-Beta' }, remove = ['Server', 'X-Powered-By'] }";

#[test]
fn a_route_sets_adds_and_removes_fields_of_a_response() {
    let origin = Origin::fixed(TALKATIVE);
    let routes = [
        route("plain", "['/plain']", "a", PUBLIC),
        route("edited", "['/edited']", "a", &format!("{PUBLIC}\n{FRAMES}")),
    ]
    .concat();
    let gateway = before(&origin, &origin, &routes).start();
    let plain = gateway.ask(Request::new("GET", "/plain"));
    assert_eq!((plain.field("server"), plain.field("x-frame-options")), (Some("app/1"), Some("ALLOW")));
    for method in ["GET", "POST"] {
        let edited = gateway.ask(Request::new(method, "/edited"));
        assert_eq!(edited.status, 200);
        assert_eq!(edited.head.all("x-frame-options"), ["DENY"]);
        assert_eq!(edited.head.all("cache-control"), ["max-age=60"]);
        assert_eq!(edited.head.all("vary"), ["Accept", "X-Beta"]);
        for name in ["server", "x_powered.by"] {
            assert_eq!(edited.field(name), None, "{name}");
        }
        assert_eq!(edited.text(), "ok");
    }
}

#[test]
fn a_route_sets_adds_and_removes_fields_of_a_request() {
    let origin = either();
    let keys = "kind = 'both'\nrequest_headers = { set = { X-Gateway = 'edge 1', X-Forwarded-Prefix = '/shop' }, \
                add = { Accept = 'text/x' }, remove = ['X-Debug'] }";
    let gateway = before(&origin, &origin, &route("shop", "['/shop']", "a", keys)).start();
    let lies = "x-gateway: mine\r\nX_Gateway: mine\r\nX-Forwarded-Prefix: /lie\r\nAccept: text/y\r\nx_debug: 1\r\n\
                X-Debug: 1\r\nX-Kept: 1\r\n";
    let check = |head: &dyn Fn(&str) -> Vec<String>| {
        assert_eq!(head("x-gateway"), ["edge 1"]);
        assert_eq!(head("x-forwarded-prefix"), ["/shop"]);
        assert_eq!(head("accept"), ["text/y", "text/x"]);
        assert_eq!(head("x-kept"), ["1"]);
        for name in ["x_gateway", "x_debug", "x-debug"] {
            assert_eq!(head(name), Vec::<String>::new(), "{name}");
        }
    };
    let all = |name: &str| origin.last().head.all(name).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(gateway.ask(Request::new("GET", "/shop").raw(lies).token("ann")).status, 200);
    check(&all);
    Socket::open_with(&gateway, &handshake_on("/shop").raw(lies).token("ann")).expect_echo("hi");
    check(&all);
}

#[test]
fn the_gateways_own_answers_have_the_fields_of_a_route_once_a_client_may_know_it() {
    let origin = Origin::fixed(TALKATIVE);
    let itself = |name: &str, keys: &str| {
        format!("[[route]]\nname = '{name}'\npaths = ['/{name}']\n{PUBLIC}\n{keys}\n{FRAMES}\n")
    };
    let routes = [
        route("open", "['/open']", "b", &format!("{PUBLIC}\n{FRAMES}")),
        route("shut", "['/shut']", "b", FRAMES),
        route("admin", "['/admin']", "a", &format!("require = {{ role = 'admin' }}\n{FRAMES}")),
        itself("gone", "respond = { status = 410 }"),
        itself("old", "redirect = { status = 308, to = '/new' }"),
    ]
    .concat();
    let config = format!(
        "[upstreams.a]\nurl = 'http://{}'\n[upstreams.b]\nurl = 'http://{NOBODY}'\n{routes}",
        origin.address
    );
    let gateway = Gateway::builder().config(&config).start();
    let told = |request: Request| {
        let answer = gateway.ask(request);
        let field = |name: &str| answer.field(name).map(str::to_owned);
        (answer.status, field("x-frame-options"), field("cache-control"))
    };
    let (deny, keep) = (Some("DENY".to_owned()), Some("max-age=60".to_owned()));
    let get = |path: &str| Request::new("GET", path);
    assert_eq!(told(get("/gone")), (410, deny.clone(), keep.clone()));
    assert_eq!(told(get("/old")), (308, deny.clone(), keep));
    // What nobody shall keep: failures.
    assert_eq!(told(get("/open")), (502, deny.clone(), None));
    assert_eq!(told(get("/shut").token("ann")), (502, deny.clone(), None));
    assert_eq!(told(get("/admin").token("ann")), (403, deny, None));
    // To a stranger every path looks the same, whether it has a route or not.
    for path in ["/shut", "/admin", "/none"] {
        assert_eq!(told(get(path)), (401, None, None), "{path}");
        assert_eq!(told(get(path).bearer("a.b.c")), (401, None, None), "{path}");
    }
}

#[test]
fn a_101_has_the_fields_of_its_route_too() {
    let origin = Origin::new(|exchange| {
        if exchange.read_head().is_some() {
            exchange.write(switching("Server: app/1\r\nX-Frame-Options: ALLOW\r\n"));
            exchange.wait_closed();
        }
    });
    let keys = format!("kind = 'websocket'\n{FRAMES}");
    let gateway = before(&origin, &origin, &route("ws", "['/ws']", "a", &keys)).start();
    let socket = Socket::open(&gateway, "ann");
    assert_eq!((socket.head.field("server"), socket.head.all("x-frame-options")), (None, vec!["DENY"]));
}

#[test]
fn what_the_gateway_says_itself_no_route_can_change() {
    for (key, edit, why) in [
        ("request_headers", "set = { X-Internal-User-Id = 'root' }", "removes or sets itself"),
        ("request_headers", "add = { x-forwarded-for = '10.0.0.1' }", "removes or sets itself"),
        ("request_headers", "remove = ['Via']", "removes or sets itself"),
        ("request_headers", "set = { Host = 'a' }", "is what the key host says"),
        ("request_headers", "set = { Connection = 'close' }", "belongs to the connection"),
        ("request_headers", "set = { Content-Length = '0' }", "belongs to the connection"),
        ("request_headers", "set = { Authorization = 'Basic eA==' }", "holds credentials"),
        ("response_headers", "set = { Transfer-Encoding = 'chunked' }", "belongs to the connection"),
        ("response_headers", "add = { Set-Cookie = 'a=b' }", "is for one client"),
        ("response_headers", "add = { Access-Control-Allow-Origin = '*' }", "CORS_ALLOWED_ORIGINS"),
        ("response_headers", "set = { Strict-Transport-Security = 'max-age=0' }", "HSTS"),
        ("response_headers", "set = { Vary = 'X-A' }", "can only be added to"),
        ("response_headers", "set = { Content-Type = 'text/html' }", "says what the body is"),
    ] {
        let routes = route("one", "['/x']", "a", &format!("{key} = {{ {edit} }}"));
        is_mistake(&routes, &["route \"one\" (", ".toml:5): ", key, why]);
    }
    let split = "response_headers = { set = { X-A = \"a\\r\\nSet-Cookie: b\" } }";
    is_mistake(&route("one", "['/x']", "a", split), &[".toml:5): ", "its value is not visible ASCII"]);
}

#[test]
fn the_fields_of_a_route_are_shown_and_changed_by_a_reload() {
    let origin = Origin::fixed(TALKATIVE);
    let routes = |value: &str| {
        let keys = format!("{PUBLIC}\nresponse_headers = {{ set = {{ X-A = '{value}' }} }}");
        route("one", "['/x']", "a", &keys)
    };
    let run = |arguments: &[&str]| before(&origin, &origin, &routes("1")).run(arguments).1;
    assert!(run(&["check"]).contains("response headers: set X-A: 1"));
    assert!(run(&["explain", "GET", "/x"]).contains("response fields set X-A: 1"));
    let gateway = before(&origin, &origin, &routes("1")).start();
    let told = || gateway.ask(Request::new("GET", "/x")).field("x-a").map(str::to_owned);
    assert_eq!(told().as_deref(), Some("1"));
    gateway.rewrite_config(&file(&origin, &origin, &routes("2")));
    let log = gateway.reload();
    assert!(log.iter().any(|line| line.contains("set X-A: 2")), "{log:?}");
    assert_eq!(told().as_deref(), Some("2"));
}
