//! Rules by the claims of a token: who may use a route, and what its service learns.

use serde_json::{Value, json};

use crate::harness::*;

/// A token of ann's with these claims besides.
fn ann_with(mut claims: Value) -> String {
    claims["sub"] = json!("ann");
    claims["exp"] = json!(now() + 3600);
    token_with(claims.to_string(), r#"{"alg":"HS256","typ":"JWT"}"#, SECRET)
}

/// Two routes to the origin, `/api/*` and the WebSocket `/ws`, with these keys.
fn routes(origin: &Origin, keys: &str) -> String {
    format!(
        "[upstreams.a]\nurl = 'http://{}'\n\
         [[route]]\nname = 'api'\npaths = ['/api/*']\nupstream = 'a'\n{keys}\n\
         [[route]]\nname = 'live'\npaths = ['/ws']\nupstream = 'a'\nkind = 'websocket'\n{keys}\n",
        origin.address
    )
}

fn before(origin: &Origin, keys: &str) -> Builder {
    Gateway::builder().config(&routes(origin, keys)).env("ACCESS_LOG", "stdout")
}

/// What the service reads of the last request.
fn upstream_field(origin: &Origin, name: &str) -> Option<String> {
    let last = origin.last();
    assert!(last.head.all(name).len() <= 1, "{name} twice: {:?}", last.head);
    last.head.field(name).map(str::to_owned)
}

#[track_caller]
fn record_of(gateway: &Gateway, response: &Response) -> Value {
    let line = gateway.wait_stdout(response.field("x-request-id").expect("a request id"));
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

// --- `require`

#[test]
fn a_route_takes_only_users_with_every_claim_that_it_requires() {
    let keys =
        "require = { role = ['editor', 'admin'], 'realm_access.roles' = 'chat', scope = 'chat:write' }";
    let origin = echoing();
    let gateway = before(&origin, keys).start();
    let all =
        || json!({ "role": "editor", "realm_access": { "roles": ["x", "chat"] }, "scope": "a chat:write" });
    let with = |name: &str, value: Value| {
        let mut claims = all();
        claims[name] = value;
        claims
    };
    for claims in [all(), with("role", json!(["guest", "admin"])), with("scope", json!(["chat:write"]))] {
        let token = ann_with(claims.clone());
        Socket::open_with(&gateway, &handshake().bearer(&token)).expect_echo("hi");
    }
    for (claims, cause) in [
        (json!({}), "claim:realm_access.roles"),
        (with("realm_access", json!({ "roles": ["chats"] })), "claim:realm_access.roles"),
        (with("realm_access", json!(["roles"])), "claim:realm_access.roles"),
        (with("role", json!("guest-of-hunter2")), "claim:role"),
        (with("role", json!("Editor")), "claim:role"),
        (with("role", Value::Null), "claim:role"),
        (with("scope", json!("chat:read chat:writer")), "claim:scope"),
        (with("scope", json!({ "chat:write": true })), "claim:scope"),
    ] {
        let token = ann_with(claims.clone());
        // Twice: the second time from the cache.
        for request in [Request::new("GET", "/api/x"), Request::new("GET", "/api/x"), handshake()] {
            let response = gateway.ask(request.bearer(&token));
            assert_eq!((response.status, response.code().as_str()), (403, "forbidden"), "{claims}");
            let challenge = response.field("www-authenticate");
            assert_eq!(challenge, Some("Bearer error=\"insufficient_scope\""), "{claims}");
            let record = record_of(&gateway, &response);
            assert_eq!((&record["cause"], &record["user"]), (&json!(cause), &json!("ann")), "{claims}");
            assert!(!format!("{record}{}", response.text()).contains("hunter2"), "a value is in {record}");
            assert!(!response.text().contains("claim"), "the client learns the claim: {}", response.text());
        }
    }
    assert_eq!((origin.heads(), gateway.metric("requests_forbidden_total")), (3, 24));
}

#[test]
fn without_a_valid_token_a_requirement_is_never_spoken_of() {
    let origin = Origin::echo();
    let gateway = before(&origin, "require = { role = 'editor' }").start();
    for (request, code) in [
        (Request::new("GET", "/api/x"), "token_missing"),
        (Request::new("GET", "/api/x").bearer("a.b.c"), "token_invalid"),
        (handshake(), "token_missing"),
    ] {
        let response = gateway.ask(request);
        assert_eq!((response.status, response.code().as_str()), (401, code));
        assert!(!response.field("www-authenticate").unwrap_or_default().contains("insufficient"));
    }
    // Where no route is, nothing is required of a user.
    let nowhere = gateway.ask(Request::new("GET", "/nowhere").token("ann"));
    assert_eq!(nowhere.code(), "no_route");
    assert_eq!(origin.heads(), 0);
}

#[test]
fn a_page_reads_a_403_like_any_other_answer() {
    let origin = Origin::echo();
    let gateway = before(&origin, "require = { role = 'editor' }")
        .env("CORS_ALLOWED_ORIGINS", "https://chat.example")
        .start();
    let asked = Request::new("GET", "/api/x").token("ann").field("Origin", "https://chat.example");
    let response = gateway.ask(asked);
    assert_eq!(response.code(), "forbidden");
    assert_eq!(response.field("access-control-allow-origin"), Some("https://chat.example"));
}

#[test]
fn a_forbidden_request_is_the_users_and_is_limited() {
    let origin = Origin::echo();
    let gateway = before(&origin, "require = { role = 'editor' }")
        .env("RATE_LIMIT_STORE", "memory")
        .env("RATE_LIMIT_RPS", "0.001")
        .env("RATE_LIMIT_BURST", "2")
        .start();
    let asked = || gateway.get("/api/x", "ann").code();
    assert_eq!([asked(), asked(), asked()], ["forbidden", "forbidden", "rate_limited"]);
}

#[test]
fn a_reload_changes_what_is_required_also_of_known_tokens() {
    let origin = Origin::echo();
    let gateway = before(&origin, "require = { role = 'editor' }").start();
    let token = ann_with(json!({ "role": "guest" }));
    let ask = || gateway.ask(Request::new("GET", "/api/x").bearer(&token)).status;
    assert_eq!([ask(), ask()], [403, 403]);
    gateway.rewrite_config(&routes(&origin, "require = { role = ['guest', 'editor'] }"));
    gateway.reload();
    assert_eq!([ask(), ask()], [200, 200]);
    gateway.rewrite_config(&routes(&origin, "require = { role = 'editor', more = '1' }"));
    gateway.reload();
    assert_eq!([ask(), ask()], [403, 403]);
    // A mistake changes nothing.
    gateway.rewrite_config(&routes(&origin, "require = { role = [] }"));
    let told = gateway.reload().join("\n");
    assert!(told.contains("has no value, so nobody could have it"), "{told}");
    assert_eq!(ask(), 403);
}

#[test]
fn what_makes_no_sense_of_claims_is_a_mistake_at_the_start() {
    for (keys, told) in [
        ("access = 'public'\nrequire = { role = 'a' }", "): require needs a verified user"),
        (
            "claims_to_headers = { X-Tenant = 'a' }",
            "claims_to_headers \"X-Tenant\": is not the name of a field",
        ),
        ("claims_to_headers = { X-Internal-User-Id = 'a' }", "is a field that the gateway sets itself"),
    ] {
        let origin = Origin::echo();
        let (code, _, log) = before(&origin, keys).run(&["run"]);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains(told), "{told}: {log}");
    }
}

// --- `claims_to_headers`

const TO_HEADERS: &str =
    "claims_to_headers = { X-Internal-Tenant = 'org.tenant_id', X-Internal-Roles = 'roles' }";

#[test]
fn a_service_gets_claims_as_fields() {
    let origin = either();
    let gateway = before(&origin, TO_HEADERS).start();
    for (claims, tenant, roles) in [
        (json!({ "org": { "tenant_id": "acme" }, "roles": ["a", "b"] }), Some("acme"), Some("a,b")),
        (json!({ "org": { "tenant_id": 7 }, "roles": "a b" }), Some("7"), Some("a b")),
        (json!({ "org": { "tenant_id": true }, "roles": [] }), Some("true"), None),
        (json!({ "org": {}, "roles": "" }), None, None),
        (json!({ "org": null }), None, None),
        (json!({}), None, None),
    ] {
        let token = ann_with(claims.clone());
        let check = || {
            assert_eq!(upstream_field(&origin, "x-internal-tenant").as_deref(), tenant, "{claims}");
            assert_eq!(upstream_field(&origin, "x-internal-roles").as_deref(), roles, "{claims}");
            assert_eq!(upstream_field(&origin, "x-internal-user-id").as_deref(), Some("ann"));
        };
        // The second time from the cache.
        Socket::open_with(&gateway, &handshake().bearer(&token)).expect_echo("hi");
        check();
        assert_eq!(gateway.ask(Request::new("GET", "/api/x").bearer(&token)).status, 200);
        assert_eq!(origin.last().target(), "/api/x");
        check();
    }
}

#[test]
fn no_spelling_of_such_a_field_comes_from_a_client() {
    let origin = echoing();
    let gateway = before(&origin, TO_HEADERS).start();
    let with = ann_with(json!({ "org": { "tenant_id": "acme" } }));
    let without = token("ann");
    for name in [
        "X-Internal-Tenant",
        "x-internal-tenant",
        "X-INTERNAL-TENANT",
        "X_Internal_Tenant",
        "X-Internal_Tenant",
        "X.Internal.Tenant",
        "X-Internal-Tenant-2",
        "X-Internal-Roles",
        "x~internal!roles",
    ] {
        for (token, tenant) in [(&with, Some("acme")), (&without, None)] {
            for nominated in ["", "X-Internal-Tenant"] {
                let request = handshake().bearer(token).field(name, "evil");
                let request = request.raw(&format!("Connection: {nominated}\r\n"));
                drop(Socket::open_with(&gateway, &request));
                let last = origin.last();
                assert_eq!(last.head.field("x-internal-tenant"), tenant, "{name}: {:?}", last.head);
                assert!(!format!("{:?}", last.head).contains("evil"), "{name}: {:?}", last.head);
            }
        }
    }
}

#[test]
fn a_claim_that_cannot_be_a_field_is_refused_and_never_left_out() {
    let origin = Origin::echo();
    let gateway = before(&origin, TO_HEADERS).start();
    for value in [
        json!("acme\r\nX-Internal-User-Id: root"),
        json!("acme\n"),
        json!("a\u{0}b"),
        json!("\u{e4}"),
        json!("acme "),
        json!("x".repeat(257)),
        json!(["a", "b,c"]),
        json!(["a", ["b"]]),
        json!({ "a": 1 }),
        json!(1e300),
    ] {
        let token = ann_with(json!({ "org": { "tenant_id": value } }));
        for request in [Request::new("GET", "/api/x"), handshake()] {
            let response = gateway.ask(request.bearer(&token));
            assert_eq!((response.status, response.code().as_str()), (403, "forbidden"), "{value}");
            let record = record_of(&gateway, &response);
            assert_eq!(record["cause"], json!("claim_value:org.tenant_id"), "{value}");
        }
    }
    assert_eq!(origin.heads(), 0);
    let fits = ann_with(json!({ "org": { "tenant_id": "x".repeat(256) } }));
    assert_eq!(gateway.ask(Request::new("GET", "/api/x").bearer(&fits)).status, 200);
    assert_eq!(upstream_field(&origin, "x-internal-tenant").map(|value| value.len()), Some(256));
}

#[test]
fn check_and_explain_tell_what_a_route_does_with_claims() {
    let origin = Origin::echo();
    let keys = format!("require = {{ role = ['editor', 'admin'] }}\n{TO_HEADERS}");
    let (code, shown, _) = before(&origin, &keys).run(&["check"]);
    assert_eq!(code, Some(0));
    let besides =
        "requires role = admin or editor, X-Internal-Roles from roles, X-Internal-Tenant from org.tenant_id";
    assert!(shown.contains(besides), "{shown}");
    let (code, told, _) = before(&origin, &keys).run(&["explain", "GET", "/api/x"]);
    assert_eq!(code, Some(0));
    for line in [
        "required claim  role = admin or editor; without it 403 forbidden\n",
        "X-Internal-User-Id, X-Internal-Roles (from the claim roles), X-Internal-Tenant (from",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}
