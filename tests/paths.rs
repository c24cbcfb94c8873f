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
