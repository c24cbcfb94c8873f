//! Paths: the bytes that are matched are the bytes that are forwarded, and ambiguous ones are refused.

use crate::harness::*;

/// Each of these targets is refused, with a token and without.
#[track_caller]
fn refused(targets: impl IntoIterator<Item = impl AsRef<str>>) {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for target in targets {
        let target = target.as_ref();
        gateway.refuses(Request::new("GET", target).token("ann").bytes(), 400, None, Then::Either);
        gateway.refuses(Request::new("GET", target).bytes(), 400, None, Then::Either);
    }
    assert_eq!(origin.heads(), 0);
}

/// Each of these targets arrives as its neighbour says.
#[track_caller]
fn forwarded<'a>(targets: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for (sent, expected) in targets {
        let response = gateway.get(sent, "ann");
        assert_eq!(response.status, 200, "{sent}: {response:?}");
        assert_eq!(origin.last().target(), expected, "{sent}");
    }
}

#[test]
fn refuses_encoded_separators_and_nul() {
    refused(["%00", "%2f", "%2F", "%5c", "%5C"].map(|escape| format!("/api/v1/users/a{escape}b")));
}

#[test]
fn refuses_encoded_control_characters() {
    let c0 = (1..0x20).chain([0x7f]).map(|byte| format!("%{byte:02x}"));
    let more = ["%0D%0A", "%0d%0aX-A:%20b", "%C2%80", "%c2%85", "%C2%9F"].map(str::to_owned);
    let gateway = Gateway::builder().start();
    for escape in c0.chain(more) {
        for path in [format!("/api/v1/users/a{escape}b"), format!("/nowhere/{escape}")] {
            gateway.refuses(Request::new("GET", &path).bytes(), 400, Some("path_control"), Then::Closes);
        }
    }
    let no_controls = ["/api/v1/users/%C2%A0", "/api/v1/users/%20", "/api/v1/users/me?a=%0D%0A%00"];
    forwarded(no_controls.map(|path| (path, path)));
}

#[test]
fn refuses_a_raw_backslash() {
    refused(["/api/v1/users/a\\b", "/api\\v1\\users", "/api/v1/users/..\\b"]);
}

#[test]
fn refuses_dot_segments_raw_and_encoded() {
    let dots = ["..", ".", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "%2e", "%2E"];
    refused(dots.iter().flat_map(|dot| {
        [format!("/api/v1/users/{dot}/x"), format!("/api/v1/users/{dot}"), format!("/{dot}/healthz")]
    }));
}

#[test]
fn refuses_malformed_escapes() {
    refused(
        ["%", "%2", "%zz", "%2g", "%g2", "%u0041", "%%41", "% 2"]
            .map(|escape| format!("/api/v1/users/a{escape}")),
    );
}

#[test]
fn encodes_once_what_no_uri_has() {
    let visible = ["\"", "<", ">", "^", "`", "{", "|", "}", "[", "]"].map(|byte| {
        (format!("/api/v1/users/a{byte}b"), format!("/api/v1/users/a%{:02X}b", byte.as_bytes()[0]))
    });
    forwarded(visible.iter().map(|(sent, expected)| (sent.as_str(), expected.as_str())));
    forwarded([
        ("/api/v1/users/a[0]", "/api/v1/users/a%5B0%5D"),
        ("/api/v1/users/caf\u{e9}?q=\u{e9}&r=50%", "/api/v1/users/caf%C3%A9?q=%C3%A9&r=50%"),
        ("/api/v1/users/%61[%2d]?%61[]", "/api/v1/users/a%5B-%5D?%61[]"),
        ("/api/v1/users/\u{1f600}", "/api/v1/users/%F0%9F%98%80"),
    ]);
}

#[test]
fn what_is_encoded_is_judged_as_if_it_had_come_so() {
    refused(["/api/v1/users/[/../x", "/api/v1/[/..;/x", "/api/v1/users/[%2f", "/api/v1/users/|//x", "/[%zz"]);
    refused(["/api/v1/users/\u{85}", "/api/v1/users/\u{e9}%252f", "/api/v1/users/{\\"]);
    let gateway = Gateway::builder().start();
    for path in [&b"/api/v1/users/\xff"[..], b"/api/v1/users/\xc3", b"/api/v1/users/\xc0\xae"] {
        let head = [b"GET ".as_slice(), path, b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
        gateway.refuses(head, 400, Some("path_not_utf8"), Then::Closes);
    }
    // Encoded, each would be three times as long as the request line may be.
    for byte in ["[", "\u{e9}"] {
        let target = format!("/api/v1/users/{}", byte.repeat(4_000 / byte.len()));
        let request = Request::new("GET", &target).token("ann");
        gateway.refuses(request.bytes(), 414, Some("request_line_too_long"), Then::Closes);
    }
}

#[test]
fn refuses_empty_segments() {
    refused(["//", "//api/v1/users/me", "/api//v1/users/me", "/api/v1/users//me", "/api/v1/users/me//"]);
}

#[test]
fn refuses_a_fragment() {
    refused(["/api/v1/users/me#top", "/api/v1/users/me?a#top", "/#"]);
}

#[test]
fn refuses_double_encoding_that_hides_something() {
    refused(
        [
            "%252e%252e",
            "%252f",
            "%252F",
            "%255c",
            "%2500",
            "%250a",
            "%257f",
            "%25%32%65",
            "%25252f",
            "%252%2566",
            "%25c0%25af",
            "%25C2%2585",
            "..%253bx",
        ]
        .map(|escape| format!("/api/v1/users/{escape}")),
    );
}

#[test]
fn an_encoded_percent_sign_passes() {
    let paths =
        ["/api/v1/users/100%2541.txt", "/api/v1/users/100%25", "/api/v1/users/%25ff", "/api/v1/users/5%2525"];
    forwarded(paths.map(|path| (path, path)));
}

#[test]
fn refuses_escapes_that_are_not_utf_8() {
    // A lone byte, a cut sequence, overlong forms of `/` and `.`, a surrogate, beyond the last code point.
    let escapes =
        ["%ff", "%80", "%c3", "%c3%28", "%c0%af", "%c0%ae", "%e0%80%af", "%ed%a0%80", "%f4%90%80%80"];
    refused(escapes.map(|escape| format!("/api/v1/users/{escape}")));
}

#[test]
fn refuses_parameters_on_protected_routes() {
    let gateway = Gateway::builder().start();
    for target in ["/api/v1/users/me;a=b", "/api/v1/users;/me", "/api/v1/users/;", "/api/v1/auth/login;/../x"]
    {
        gateway.refuses(Request::new("GET", target).token("ann").bytes(), 400, None, Then::Either);
    }
}

#[test]
fn decodes_unreserved_characters_once() {
    forwarded([
        ("/api/v1/users/%61nn", "/api/v1/users/ann"),
        ("/api/v1/users/%7Eann", "/api/v1/users/~ann"),
        ("/api/v1/%75sers/a%2Db%5fc", "/api/v1/users/a-b_c"),
        ("/%61pi/v1/users/%30", "/api/v1/users/0"),
        ("/api/v1/users/a%2eb", "/api/v1/users/a.b"),
    ]);
}

#[test]
fn an_encoded_public_path_is_the_public_path() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    assert_eq!(gateway.ask(Request::new("POST", "/api/v1/auth/%6Cogin")).status, 200);
    assert_eq!(origin.last().target(), "/api/v1/auth/login");
}

#[test]
fn keeps_what_is_not_ambiguous() {
    let paths = [
        "/api/v1/users/a..b",
        "/api/v1/users/...",
        "/api/v1/users/.b",
        "/api/v1/users/a%20b",
        "/api/v1/users/a%3Fb",
        "/api/v1/users/a!$&'()*+,=:@b",
        "/api/v1/users/%C3%A9",
        "/api/v1/users/%E2%82%AC",
        "/api/v1/users/me/",
    ];
    forwarded(paths.map(|path| (path, path)));
}

#[test]
fn leaves_the_query_as_it_is() {
    let targets = [
        "/api/v1/users/me?a=%2f&b=../..//&c=%61;d",
        "/api/v1/users/me?",
        "/api/v1/users/me?a?b",
        "/api/v1/users/me?a=50%",
        "/api/v1/users/me?a=%zz&%u0041&\"<>\\^`{|}[]'%",
    ];
    forwarded(targets.map(|target| (target, target)));
}

#[test]
fn refuses_what_could_end_a_query() {
    let gateway = Gateway::builder().start();
    for (query, code) in [
        ("a#b", "fragment"),
        ("a\tb", "query_byte"),
        ("a b", "invalid_request_line"),
        ("a\0b", "control_byte"),
        ("a\x7fb", "control_byte"),
    ] {
        let target = format!("/api/v1/users/me?{query}");
        gateway.refuses(Request::new("GET", &target).bytes(), 400, Some(code), Then::Closes);
    }
}

#[test]
fn an_unknown_path_is_protected() {
    let gateway = Gateway::builder().start();
    for target in ["/", "/api", "/api/v1/nothing", "/api/v2/users/me", "/metrics", "/API/v1/users/me"] {
        gateway.refuses(Request::new("GET", target).bytes(), 401, Some("token_missing"), Then::StaysOpen);
        gateway.refuses(
            Request::new("GET", target).token("ann").bytes(),
            404,
            Some("no_route"),
            Then::StaysOpen,
        );
    }
}

#[test]
fn each_path_goes_to_its_service() {
    let origins = ["auth", "message", "profile", "conversation"].map(|name| (name, Origin::echo()));
    let builder =
        origins.iter().fold(Gateway::builder(), |builder, (name, origin)| builder.upstream(name, origin));
    let gateway = builder.start();
    let cases = [
        ("auth", "POST", "/api/v1/auth/login"),
        ("auth", "POST", "/api/v1/auth/register"),
        ("auth", "GET", "/api/v1/auth/me"),
        ("profile", "GET", "/api/v1/users/me"),
        ("conversation", "GET", "/api/v1/conversations"),
        ("conversation", "POST", "/api/v1/conversations/7/members"),
        ("message", "POST", "/api/v1/messages"),
        ("message", "DELETE", "/api/v1/messages/7"),
    ];
    for (service, method, target) in cases {
        assert_eq!(gateway.ask(Request::new(method, target).token("ann")).status, 200, "{method} {target}");
        let (_, origin) = origins.iter().find(|(name, _)| *name == service).expect("a service");
        assert_eq!((origin.last().method(), origin.last().target()), (method, target));
    }
}

// --- What a route takes all the same

/// A gateway before this origin, with routes of these names, paths and keys, all of them public unless a key says so.
fn with_routes(origin: &Origin, routes: &[(&str, &str, &str)]) -> Builder {
    let upstream = format!("[upstreams.a]\nurl = 'http://{}'\n", origin.address);
    let route = |(name, paths, keys): &(&str, &str, &str)| {
        let access = if keys.contains("access") { "" } else { "access = 'public'\n" };
        format!("[[route]]\nname = '{name}'\npaths = {paths}\nupstream = 'a'\n{access}{keys}\n")
    };
    Gateway::builder().config(&(upstream + &routes.iter().map(route).collect::<String>()))
}

/// Each of these targets arrives as its neighbour says, without a token.
#[track_caller]
fn arrives<'a>(gateway: &Gateway, origin: &Origin, targets: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (sent, expected) in targets {
        let response = gateway.ask(Request::new("GET", sent));
        assert_eq!(response.status, 200, "{sent}: {response:?}");
        assert_eq!(origin.last().target(), expected, "{sent}");
    }
}

#[track_caller]
fn refuses_each<'a>(gateway: &Gateway, code: &str, targets: impl IntoIterator<Item = &'a str>) {
    for target in targets {
        gateway.refuses(Request::new("GET", target).bytes(), 400, Some(code), Then::Either);
    }
}

#[test]
fn merges_empty_segments_where_a_route_says_so() {
    let origin = Origin::echo();
    let routes = [
        ("api", "['/api', '/api/*']", "empty_segments = 'merge'"),
        ("get", "['/get/*']", "empty_segments = 'merge'\nmethods = ['GET']"),
        ("strict", "['/strict/*']", ""),
    ];
    let gateway = with_routes(&origin, &routes).env("ACCESS_LOG", "stdout").start();
    arrives(
        &gateway,
        &origin,
        [
            ("//api//v1///me?a//b", "/api/v1/me?a//b"),
            ("/api/me//", "/api/me/"),
            ("///api", "/api"),
            ("/api//%61[]", "/api/a%5B%5D"),
            ("http://chat.test//api//x", "/api/x"),
        ],
    );
    // The others, those without a route and the gateway's own are strict.
    let strict = ["//strict/x", "/strict//x", "//nowhere", "//", "//healthz"];
    refuses_each(&gateway, "path_empty_segment", strict);
    refuses_each(&gateway, "path_dot_segment", ["//api/../strict/x", "/api//..//x", "/api//%2e/x"]);
    let post = gateway.ask(Request::new("POST", "//get/x"));
    assert_eq!(post.code(), "method_not_allowed");
    gateway.wait_stdout("path_empty_segment");
    assert_eq!(gateway.ask(Request::new("GET", "/healthz")).status, 200);
}

#[test]
fn merges_empty_segments_everywhere_if_the_gateway_says_so() {
    let origin = Origin::echo();
    let routes = [
        ("open", "['/*']", ""),
        ("admin", "['/admin/*']", "access = 'protected'"),
        ("strict", "['/strict/*']", "empty_segments = 'refuse'"),
    ];
    let gateway = with_routes(&origin, &routes).env("EMPTY_SEGMENTS", "merge").start();
    arrives(&gateway, &origin, [("//a//b", "/a/b"), ("//", "/")]);
    // What is matched is what is forwarded.
    for path in ["//admin/x", "/admin//x", "///admin///x"] {
        assert_eq!(gateway.ask(Request::new("GET", path)).code(), "token_missing", "{path}");
    }
    assert_eq!(gateway.get("//admin//x", "ann").status, 200);
    assert_eq!(origin.last().target(), "/admin/x");
    refuses_each(&gateway, "path_empty_segment", ["//strict/x", "/strict/x//y"]);
    assert_eq!(gateway.ask(Request::new("GET", "//healthz")).text(), "ok");

    let gateway = Gateway::builder().everywhere(&origin).env("EMPTY_SEGMENTS", "merge").start();
    assert_eq!(gateway.get("//api/v1//users/me", "ann").status, 200);
    assert_eq!(origin.last().target(), "/api/v1/users/me");
    assert_eq!(gateway.get("//nowhere", "ann").code(), "no_route");
}

#[test]
fn keeps_encoded_slashes_where_a_route_says_so() {
    let origin = Origin::echo();
    let routes = [
        ("projects", "['/projects/{id}/issues']", "encoded_slash = 'keep'"),
        ("files", "['/files/*']", "encoded_slash = 'keep'"),
        ("strict", "['/strict/*']", ""),
    ];
    let gateway = with_routes(&origin, &routes).start();
    arrives(
        &gateway,
        &origin,
        [
            ("/projects/group%2fproject/issues", "/projects/group%2Fproject/issues"),
            ("/projects/a%2Fb%2fc%252/issues?%2f", "/projects/a%2Fb%2Fc%252/issues?%2f"),
            ("/files/a%2f%2Fb/c[", "/files/a%2F%2Fb/c%5B"),
        ],
    );
    refuses_each(
        &gateway,
        "path_encoded_slash",
        ["/strict/a%2fb", "/nowhere%2Fx", "/projects%2Fa/issues", "/projects/a%2Fissues", "/healthz%2F"],
    );
    refuses_each(
        &gateway,
        "path_dot_segment",
        ["/files/..%2fstrict", "/files/a%2f..%2F..%2fb", "/files/a%2F%2e%2e", "/files/a%2f..;x%2fb"],
    );
    refuses_each(&gateway, "path_encoded_backslash", ["/files/a%5cb", "/files/a%2f%5C"]);
    refuses_each(&gateway, "path_double_encoding", ["/files/a%252fb", "/files/a%2f%252f"]);
    refuses_each(&gateway, "path_parameters", ["/files/a%2fb;c"]);
}

#[test]
fn an_encoded_slash_leads_past_no_other_route() {
    let origin = Origin::echo();
    let keep = "encoded_slash = 'keep'\n";
    let routes = [
        ("open", "['/*']", keep),
        ("admin", "['/admin/*']", "access = 'protected'"),
        ("kept", "['/kept/*']", &format!("{keep}access = 'protected'")),
        ("limited", "['/limited/*']", &format!("{keep}[[route.limit]]\nrate = 0\nburst = 1\n")),
        ("post", "['/post/{id}']", &format!("{keep}methods = ['POST']")),
        ("fields", "['/fields/{id}']", &format!("{keep}headers = {{ X-A = '1' }}\n")),
        ("same", "['/same/{id}']", keep),
    ];
    let gateway = with_routes(&origin, &routes).start();
    // A service that decodes would serve the path of another route, without what that asks for.
    refuses_each(
        &gateway,
        "path_encoded_slash",
        [
            "/admin%2Fx",
            "/%2Fadmin%2Fx",
            "/%2fadmin/x",
            "/kept%2Fx",
            "/limited%2Fx",
            "/post%2Fx",
            "/fields%2Fx",
        ],
    );
    arrives(
        &gateway,
        &origin,
        [("/a%2Fb", "/a%2Fb"), ("/x%2Fadmin%2Fx", "/x%2Fadmin%2Fx"), ("/same%2Fx", "/same%2Fx")],
    );
    assert_eq!(gateway.ask(Request::new("GET", "/kept/a%2Fb")).code(), "token_missing");
    assert_eq!(gateway.get("/kept/a%2Fb", "ann").status, 200);
}

#[test]
fn keeps_parameters_where_a_route_says_so_and_lets_them_cross_no_route() {
    let origin = Origin::echo();
    let (keep, both) = ("path_parameters = 'keep'", "path_parameters = 'keep'\nencoded_slash = 'keep'");
    let routes = [
        ("open", "['/*']", both),
        ("admin", "['/admin', '/admin/*']", "access = 'protected'"),
        ("rooms", "['/rooms/{id}/{key}']", both),
        ("maps", "['/maps/*']", keep),
        ("strict", "['/strict/*']", ""),
    ];
    let gateway = with_routes(&origin, &routes).start();
    arrives(
        &gateway,
        &origin,
        [
            ("/maps/7;v=1/a;x,y=2", "/maps/7;v=1/a;x,y=2"),
            ("/a;v=1/7;x,y=2", "/a;v=1/7;x,y=2"),
            ("/a%3bb", "/a%3Bb"),
            ("/rooms/%21a;b%2fc/k%3b1", "/rooms/%21a;b%2Fc/k%3B1"),
        ],
    );
    refuses_each(
        &gateway,
        "path_parameters",
        [
            "/admin;x",
            "/admin;x/y",
            "/admin%3Bx/y",
            "/;x/admin/y",
            "/admin;/..x",
            "/strict/a;x",
            "/strict;x/a",
            "/admin;x%2Fy",
            "/rooms;x/a/b",
            "/maps;v=1/7",
        ],
    );
    refuses_each(&gateway, "path_encoded_slash", ["/admin%2Fy;x", "/maps/a;b%2Fc"]);
    refuses_each(&gateway, "path_dot_segment", ["/a;x/../admin", "/a/..;x/admin", "/rooms/a%2F..;x%2Fb/c"]);
    assert_eq!(gateway.get("/admin;x", "ann").code(), "path_parameters");
}

#[test]
fn a_reload_changes_what_a_path_may_have() {
    let origin = Origin::echo();
    let file = |keys: &str| {
        format!(
            "[upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'r'\npaths = ['/*']\nupstream = 'a'\n{keys}\n",
            origin.address
        )
    };
    let gateway = Gateway::builder().config(&file("")).start();
    let mut client = gateway.client();
    client.expect_open();
    gateway
        .rewrite_config(&file("encoded_slash = 'keep'\nempty_segments = 'merge'\npath_parameters = 'keep'"));
    let log = gateway.reload();
    let told = "empty segments merged, %2F kept, parameters kept";
    assert!(log.iter().any(|line| line.contains(told)), "{log:#?}");
    let request = Request::new("GET", "//a%2fb;c").token("ann");
    assert_eq!(client.send(request.bytes()).read_response().status, 200);
    assert_eq!(origin.last().target(), "/a%2Fb;c");
}
