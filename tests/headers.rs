//! The head that goes upstream: what is taken out of the client's, and what is set.

use crate::harness::*;

const ME: &str = "/api/v1/users/me";

/// The head that the origin gets for a request of ann's with these field lines.
#[track_caller]
fn upstream_of(fields: &str) -> Received {
    upstream_of_with(Gateway::builder(), fields)
}

#[track_caller]
fn upstream_of_with(builder: Builder, fields: &str) -> Received {
    let origin = Origin::echo();
    let gateway = builder.everywhere(&origin).start();
    let response = gateway.ask(Request::new("GET", ME).token("ann").raw(fields));
    assert_eq!(response.status, 200, "{response:?}");
    origin.last()
}

/// Behind a load balancer on loopback.
fn behind_a_proxy() -> Builder {
    Gateway::builder().env("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8, ::1/128")
}

// --- Hop by hop

#[test]
fn takes_out_hop_by_hop_fields() {
    let received = upstream_of(
        "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
         Proxy-Authorization: Basic YTpi\r\nTrailer: X-Sum\r\nUpgrade: foo\r\n",
    );
    for name in [
        "keep-alive",
        "proxy-connection",
        "te",
        "proxy-authorization",
        "trailer",
        "upgrade",
        "transfer-encoding",
    ] {
        assert!(received.all(name).is_empty(), "{name}: {received:?}");
    }
    assert!(!received.lists("connection", "close"), "{received:?}");
}

#[test]
fn takes_out_what_connection_nominates() {
    for connection in [
        "Connection: X-Hop, X-Other\r\n",
        "Connection: close, x-hop\r\nconnection: X-OTHER\r\n",
        "Connection: ,,X-Hop ,\tX-Other,\r\n",
    ] {
        let received =
            upstream_of(&format!("{connection}X-Hop: 1\r\nX-Other: 2\r\nX-Kept: 3\r\nx-hop: 4\r\n"));
        assert!(received.all("x-hop").is_empty() && received.all("x-other").is_empty(), "{received:?}");
        assert_eq!(received.field("x-kept"), Some("3"));
    }
}

#[test]
fn ignores_nominations_of_protected_names() {
    let received = upstream_of(
        "Connection: X-Internal-User-Id, X-Request-Id, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Via, \
         Host, traceparent, Authorization, X_Internal_User_Id\r\n",
    );
    assert_eq!(received.field("x-internal-user-id"), Some("ann"));
    for name in [
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "via",
        "host",
        "traceparent",
        "authorization",
    ] {
        assert!(received.field(name).is_some_and(|value| !value.is_empty()), "{name}: {received:?}");
    }
}

#[test]
fn a_nominated_content_length_still_frames_the_body() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for (framing, body) in
        [("Content-Length: 5\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")]
    {
        let nominated = format!("Connection: Content-Length, Transfer-Encoding\r\n{framing}");
        let request = Request::new("POST", "/api/v1/auth/login").raw(&nominated).raw_body(body);
        assert_eq!(gateway.ask(request).status, 200);
        assert_eq!(origin.last().body, b"hello");
    }
}

// --- Identity

#[test]
fn takes_out_internal_fields_under_every_spelling() {
    let spellings = [
        "X-Internal-User-Id",
        "x-internal-user-id",
        "X-INTERNAL-USER-ID",
        "X_Internal_User_Id",
        "X-Internal_User_Id",
        "X.Internal.User.Id",
        "x_internal-user.id",
        "X-Internal-Role",
        "X_INTERNAL_ROLE",
        "x-internal-",
    ];
    for name in spellings {
        let received = upstream_of(&format!("{name}: root\r\n{name}: admin\r\n"));
        let folded = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
        let internal: Vec<_> =
            received.fields.iter().filter(|(n, _)| folded(n).starts_with("x-internal-")).collect();
        assert_eq!(internal.len(), 1, "{name}: {internal:?}");
        assert_eq!(received.field("x-internal-user-id"), Some("ann"));
    }
}

#[test]
fn a_public_route_names_no_user() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    let request = Request::new("POST", "/api/v1/auth/login").field("X-Internal-User-Id", "root");
    assert_eq!(gateway.ask(request).status, 200);
    assert!(origin.last().all("x-internal-user-id").is_empty());
}

#[test]
fn keeps_names_that_only_look_internal() {
    let received = upstream_of("X-Internals: 1\r\nXX-Internal-A: 2\r\nX-Interna: 3\r\n");
    assert_eq!(received.field("x-internals"), Some("1"));
    assert_eq!((received.field("xx-internal-a"), received.field("x-interna")), (Some("2"), Some("3")));
}

#[test]
fn forwards_authorization_unless_the_route_says_no() {
    let received = upstream_of("");
    assert!(received.field("authorization").is_some_and(|value| value.starts_with("Bearer ")));
}

// --- Fields that name another method, path or client than the gateway's

#[test]
fn takes_out_fields_that_override_what_was_decided() {
    let names = [
        "Proxy",
        "PROXY",
        "X-HTTP-Method-Override",
        "X_HTTP_Method_Override",
        "x-http-method",
        "X-Method.Override",
        "X-Original-Method",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Envoy-Original-Path",
        "X-Sendfile-Type",
        "X-Accel-Mapping",
        "Script-Name",
        "Path_Info",
        "Client-IP",
        "Remote-User",
        "X-Remote-User",
        "X-Scheme",
        "Front-End-Https",
    ];
    let fields: String = names.iter().map(|name| format!("{name}: spoofed\r\n")).collect();
    let received = upstream_of(&(fields + "X-Proxy: kept\r\nProxy-Status: kept\r\n"));
    let with = |value: &str| received.fields.iter().filter(|(_, found)| found == value).count();
    assert_eq!((with("spoofed"), with("kept")), (0, 2), "{:?}", received.fields);
}

#[test]
fn a_route_may_keep_method_overrides() {
    let origin = Origin::echo();
    let config = format!(
        "[upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'a'\npaths = ['/a']\nupstream = 'a'\naccess = 'public'\n\
         forward_method_override = true\n",
        origin.address
    );
    let builder = SERVICES.iter().fold(Gateway::builder(), |builder, service| {
        builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
    });
    let gateway = builder.config(&config).start();
    let fields = "X-HTTP-Method-Override: PUT\r\nX_HTTP_Method_Override: DELETE\r\nProxy: x\r\n";
    assert_eq!(gateway.ask(Request::new("POST", "/a").raw(fields)).status, 200);
    let received = origin.last();
    assert_eq!(received.field("x-http-method-override"), Some("PUT"));
    assert_eq!((received.field("x_http_method_override"), received.field("proxy")), (None, None));
}

// --- Host

/// A gateway with three routes to the origin, whose upstream has these keys; `/client` and `/named` have a `host`.
fn with_hosts(origin: &Origin, keys: &str) -> Gateway {
    let route = |path: &str, keys: &str| {
        format!(
            "[[route]]\nname = '{path}'\npaths = ['/{path}']\nupstream = 'a'\naccess = 'public'\n\
             kind = 'both'\n{keys}\n"
        )
    };
    let config = format!(
        "[upstreams.a]\nurl = 'http://{}'\n{keys}\n{}{}{}{}",
        origin.address,
        route("plain", ""),
        route("client", "host = 'client'"),
        route("own", "host = 'upstream'"),
        route("named", "host = 'Shop.example:81'"),
    );
    let builder = SERVICES.iter().fold(Gateway::builder(), |builder, service| {
        builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()))
    });
    builder.config(&config).start()
}

#[test]
fn host_is_the_upstream_s_the_client_s_or_another() {
    let origin = Origin::echo();
    let own = origin.address.to_string();
    for (keys, plain) in [("", own.as_str()), ("host = 'upstream'", &own), ("host = 'client'", "chat.test")] {
        let gateway = with_hosts(&origin, keys);
        for (path, expected) in
            [("/plain", plain), ("/client", "chat.test"), ("/own", &own), ("/named", "shop.example:81")]
        {
            assert_eq!(gateway.ask(Request::new("GET", path)).status, 200, "{keys} {path}");
            assert_eq!(origin.last().all("host"), [expected], "{keys} {path}");
            let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://chat.test\r\n";
            assert_eq!(gateway.ask(Request::new("GET", path).raw(upgrade)).status, 200, "{keys} {path}");
            assert_eq!(origin.last().all("host"), [expected], "a handshake: {keys} {path}");
        }
    }
}

#[test]
fn the_client_s_host_is_the_one_of_its_target_and_never_empty() {
    let origin = Origin::echo();
    let gateway = with_hosts(&origin, "host = 'client'");
    let ask = |head: &str| {
        let response = gateway.client().send(head.as_bytes()).read_response();
        assert_eq!(response.status, 200, "{head}");
        origin.last().all("host").join(" | ")
    };
    assert_eq!(ask("GET http://chat.test/plain HTTP/1.1\r\nHost: chat.test\r\n\r\n"), "chat.test");
    assert_eq!(
        ask("GET /plain HTTP/1.1\r\nHost: chat.test:8443\r\nX-Forwarded-Host: b\r\n\r\n"),
        "chat.test:8443"
    );
    assert_eq!(ask("GET /plain HTTP/1.0\r\n\r\n"), origin.address.to_string());
}

// --- Forwarding fields

#[test]
fn takes_out_forwarding_fields_under_every_spelling() {
    let names = [
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "X.Real.Ip",
        "X-Forwarded-Prefix",
        "X_Forwarded_For",
        "X.Forwarded.Host",
        "x-forwarded_proto",
        "X_Request_Id",
        "X-Request.Id",
    ];
    let fields: String = names.iter().map(|name| format!("{name}: spoofed\r\n")).collect();
    let received = upstream_of(&fields);
    let spoofed: Vec<_> = received.fields.iter().filter(|(_, value)| value.contains("spoofed")).collect();
    assert!(spoofed.is_empty(), "{spoofed:?}");
}

#[test]
fn sets_forwarding_fields() {
    let received = upstream_of("");
    assert_eq!(received.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(received.field("x-forwarded-proto"), Some(scheme()));
    assert_eq!(received.field("x-forwarded-host"), Some("chat.test"));
    assert!(received.field("via").is_some_and(|via| via.ends_with("1.1 realchat-gateway")));
    let host = received.field("host").expect("a host");
    assert!(host.starts_with("127.0.0.1:"), "the upstream's own authority, not {host}");
}

#[test]
fn sets_a_trace_parent() {
    let received = upstream_of("");
    let parent = received.field("traceparent").expect("a traceparent");
    let parts: Vec<_> = parent.split('-').map(str::len).collect();
    assert_eq!(parts, [2, 32, 16, 2], "{parent}");
    assert!(parent.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-')), "{parent}");
}

#[test]
fn believes_no_forwarding_field_of_a_stranger() {
    let spoofed = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: wss\r\nX-Forwarded-Host: evil.test\r\n";
    let other = if scheme() == "http" { "https" } else { "http" };
    let received = upstream_of(&spoofed.replace("wss", other));
    assert_eq!(received.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(received.field("x-forwarded-proto"), Some(scheme()));
    assert_eq!(received.field("x-forwarded-host"), Some("chat.test"));
}

#[test]
fn a_trusted_proxy_s_scheme_is_never_turned_into_the_opposite() {
    for (said, told) in [
        ("wss", "https"),
        ("HTTPS", "https"),
        ("ws", "http"),
        ("http", "http"),
        ("wss, https", "https"),
        ("https\r\nX-Forwarded-Proto: https", "https"),
        ("https, http", "https, http"),
        ("https\r\nX-Forwarded-Proto: http", "https, http"),
        ("h2c", "h2c"),
    ] {
        let received = upstream_of_with(behind_a_proxy(), &format!("X-Forwarded-Proto: {said}\r\n"));
        assert_eq!(received.all("x-forwarded-proto"), [told], "{said}");
    }
    for silent in ["", "X-Forwarded-Proto: \r\n", "X-Forwarded-Proto: ,\r\n"] {
        let received = upstream_of_with(behind_a_proxy(), silent);
        assert_eq!(received.all("x-forwarded-proto"), [scheme()], "{silent}");
    }
}

#[test]
fn the_gateway_has_the_name_in_via_that_it_is_given_or_none() {
    let via = |setting: &str| {
        let received = upstream_of_with(behind_a_proxy().env("VIA", setting), "Via: 1.0 edge\r\n");
        received.all("via").join(" | ")
    };
    assert_eq!(via("on"), "1.0 edge, 1.1 realchat-gateway");
    assert_eq!(via("edge-2"), "1.0 edge, 1.1 edge-2");
    assert_eq!(via("off"), "");
}

#[test]
fn the_client_is_the_first_untrusted_address_from_the_right() {
    let cases = [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("6.6.6.6,203.0.113.9,10.1.2.3 , 127.0.0.5", "203.0.113.9"),
        ("2001:db8::7", "2001:db8::7"),
        ("6.6.6.6\r\nX-Forwarded-For: 203.0.113.9", "203.0.113.9"),
    ];
    for (chain, client) in cases {
        let origin = Origin::echo();
        let gateway = behind_a_proxy().everywhere(&origin).env("ACCESS_LOG", "stdout").start();
        let request = Request::new("GET", ME).token("ann").raw(&format!("X-Forwarded-For: {chain}\r\n"));
        assert_eq!(gateway.ask(request).status, 200);
        let line: serde_json::Value = serde_json::from_str(&gateway.wait_stdout(ME)).expect("a JSON line");
        assert_eq!(line["client"], client, "{chain}: {line}");
        assert!(origin.last().all("x-forwarded-for").join(",").contains(client), "{:?}", origin.last());
    }
}

#[test]
fn a_forwarding_field_that_is_no_address_ends_the_search() {
    let received = upstream_of_with(behind_a_proxy(), "X-Forwarded-For: 203.0.113.9, nonsense\r\n");
    let last = received.all("x-forwarded-for").join(",");
    assert!(last.ends_with("127.0.0.1"), "{last}");
}

// --- Request ids

#[test]
fn a_strangers_request_id_is_replaced() {
    let received = upstream_of("X-Request-Id: spoofed\r\n");
    let id = received.field("x-request-id").expect("a request id");
    assert!(id != "spoofed" && (1..=128).contains(&id.len()), "{id}");
}

#[test]
fn request_ids_differ() {
    let origin = Origin::echo();
    let gateway = Gateway::before(&origin);
    for _ in 0..20 {
        assert_eq!(gateway.get(ME, "ann").status, 200);
    }
    let ids: std::collections::BTreeSet<_> = origin
        .requests()
        .iter()
        .filter_map(|request| request.field("x-request-id").map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn a_trusted_proxys_request_id_is_kept() {
    for id in ["abc-123", "!", &"a".repeat(128)] {
        let received = upstream_of_with(behind_a_proxy(), &format!("X-Request-Id: {id}\r\n"));
        assert_eq!(received.field("x-request-id"), Some(id));
    }
}

#[test]
fn a_request_id_that_is_not_visible_ascii_or_too_long_is_replaced() {
    for id in ["", "a b", "a\tb", "é", &"a".repeat(129)] {
        let received = upstream_of_with(behind_a_proxy(), &format!("X-Request-Id: {id}\r\n"));
        let sent = received.field("x-request-id").expect("a request id");
        assert!(sent != id && !sent.is_empty() && sent.bytes().all(|b| b.is_ascii_graphic()), "{sent:?}");
    }
}

// --- The rest

#[test]
fn keeps_everything_else_in_order() {
    let received = upstream_of(
        "Accept: */*\r\nCookie: a=b\r\nX-B: 2\r\nX-A: 1\r\nX-B: 3\r\nX-Empty:\r\nX-Latin: caf\u{e9}\r\n",
    );
    let mine = ["accept", "cookie", "x-b", "x-a", "x-empty"];
    let kept: Vec<_> = received
        .fields
        .iter()
        .filter(|(name, _)| mine.contains(&name.to_ascii_lowercase().as_str()))
        .map(|(_, v)| v.as_str())
        .collect();
    assert_eq!(kept, ["*/*", "a=b", "2", "1", "3", ""]);
    assert_eq!(received.all("x-latin").len(), 1);
}
