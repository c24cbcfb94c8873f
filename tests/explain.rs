//! `explain`: what the gateway says would become of a request, and that it is what becomes of it.

use crate::harness::*;

const CONFIG: &str = "cors_allowed_origins = ['https://app.example']\nws_allowed_origins = ['https://app.example']\n\
    [upstreams.a]\nurl = 'http://a'\n[upstreams.b]\nurl = 'http://b'\n\
    [[route]]\nname = 'plain'\npaths = ['/x']\nupstream = 'a'\n\
    tokens_from = ['header', 'header:X-Auth-Token', 'cookie:session']\n\
    require = { role = ['admin', 'editor'], scope = 'chat' }\nclaims_to_headers = { X-Internal-Tenant = 'tenant' }\n\
    request_headers = { set = { X-Edge = '1' }, remove = ['X-Debug'] }\n\
    [[route]]\nname = 'two'\npaths = ['/x']\nupstream = 'b'\naccess = 'optional'\nheaders = { X-Api-Version = '2' }\n\
    [[route]]\nname = 'of-host'\npaths = ['/x']\nhosts = ['b.example']\nupstream = 'b'\naccess = 'public'\n\
    [[route]]\nname = 'beta'\npaths = ['/beta']\nupstream = 'b'\nheaders = { X-Beta = true }\n\
    [[route]]\nname = 'live'\npaths = ['/ws']\nupstream = 'a'\nkind = 'websocket'\n";

/// What `explain` prints for these fields.
#[track_caller]
fn told(method: &str, url: &str, fields: &[&str]) -> String {
    let mut arguments = vec!["explain", method, url];
    fields.iter().for_each(|field| arguments.extend(["--header", field]));
    let (code, told, stderr) =
        Gateway::builder().config(CONFIG).env("RATE_LIMIT_STORE", "memory").run(&arguments);
    assert_eq!(code, Some(0), "{stderr}");
    told
}

#[track_caller]
fn has(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
}

fn of(claims: &str) -> String {
    let claims = format!(r#"{{"sub":"ann","exp":{},"iat":{}{claims}}}"#, now() + 600, now());
    token_with(claims, r#"{"alg":"HS256"}"#, SECRET)
}

#[test]
fn the_fields_of_a_request_find_its_route() {
    has(&told("GET", "/x", &["X-A: 1"]), &["route           plain (upstream a"]);
    has(&told("GET", "/beta", &["X-A: 1"]), &["route           none for these fields: 404 no_route"]);
    let two = told("GET", "/x", &["x-api-version: 2"]);
    has(
        &two,
        &["route           two (upstream b", "with x-api-version: 2", "token           none: anonymous"],
    );
    has(&two, &["bucket          rl:ip:<client address>", "passed on       x-api-version"]);
    assert!(!two.contains("rl:u:") && !two.contains("X-Internal-User-Id"), "{two}");
    for (url, fields) in [
        ("/x", &["Host: B.example:80"][..]),
        ("https://b.example/x", &[]),
        ("https://a.example/x", &["host: b.example"]),
    ] {
        has(&told("GET", url, fields), &["route           of-host"]);
    }
}

#[test]
fn a_token_is_judged_and_what_its_claims_say_is_told() {
    let token = of(r#","role":"editor","scope":"a chat","tenant":"acme""#);
    for field in [
        format!("Authorization: Bearer {token}"),
        format!("X-Auth-Token: {token}"),
        format!("Cookie: session={token}"),
    ] {
        let told = told("GET", "/x", &[&field, "X-Debug: 1", "X-Kept: 1"]);
        has(
            &told,
            &[
                "s: user ann\n",
                "required claim  role = admin or editor; the token has it\n",
                "bucket          rl:u:ann: ",
                "X-Internal-User-Id: ann, X-Internal-Tenant: acme (from the claim tenant), ",
                "changed         set X-Edge: 1, remove X-Debug\n",
            ],
        );
        let line =
            |start: &str| told.lines().find(|line| line.starts_with(start)).expect("a line").to_owned();
        assert!(line("removed").contains("X-Debug") && line("passed on").contains("X-Kept"), "{told}");
        assert!(!told.contains(&token) && !told.contains("rl:bad:"), "{told}");
    }
    let lacking = told("GET", "/x", &[&format!("Authorization: Bearer {}", of(r#","role":"editor""#))]);
    has(
        &lacking,
        &[
            "required claim  scope = chat; not in the token: 403 forbidden\n",
            "403 forbidden (claim:scope)\n",
            "bucket          rl:u:ann: ",
        ],
    );
    assert!(!lacking.contains("passed on"), "nothing goes upstream: {lacking}");
}

#[test]
fn a_token_that_is_refused_is_told_with_its_reason_and_charged_to_the_address() {
    let expired = token_with(r#"{"sub":"ann","exp":1}"#, r#"{"alg":"HS256"}"#, SECRET);
    let twice = format!("X-Auth-Token: {expired}");
    for (fields, reason) in [
        (vec![format!("Authorization: Bearer {expired}")], "401 token_expired"),
        (vec!["X-Auth-Token: a.b".to_owned()], "401 token_invalid (malformed)"),
        (vec![twice.clone(), twice], "401 token_invalid (two_credentials)"),
        (vec!["X-A: 1".to_owned()], "token           401 token_missing"),
    ] {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let told = told("GET", "/x", &fields);
        has(&told, &[reason, "bucket          rl:bad:<client address>: ", "upstream        gets nothing"]);
        assert!(!told.contains("rl:u:") && !told.contains("passed on") && !told.contains(&expired), "{told}");
    }
    let cookie = format!("Cookie: session={}", of(r#","role":"admin","scope":"chat""#));
    has(&told("POST", "/x", &[&cookie]), &["403 cross_site", "bucket          rl:bad:"]);
    has(&told("POST", "/x", &[&cookie, "Origin: https://app.example"]), &["bucket          rl:u:ann: "]);
}

#[test]
fn a_handshake_is_judged() {
    let upgrade =
        ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    let with = |more: &[&'static str]| told("GET", "/ws", &[&upgrade[..], more].concat());
    has(&with(&["Sec-WebSocket-Version: 13"]), &["handshake       complete\n"]);
    has(&with(&["Sec-WebSocket-Version: 12"]), &["handshake       refused: 426 "]);
    has(
        &with(&["Sec-WebSocket-Version: 13", "Origin: https://evil.example"]),
        &["handshake       refused: 403 "],
    );
}

#[test]
fn a_field_that_is_none_is_a_mistake_that_does_not_repeat_it() {
    for (field, why) in [
        ("Authorization Bearer s3cret", "--header 1: is not NAME: VALUE"),
        ("X A: s3cret", "--header 1: does not begin with the name of a field and a colon"),
        ("X-A: s3cret\r\nX-B: 1", "--header 1: the value of X-A has a control character"),
    ] {
        let (code, stdout, stderr) =
            Gateway::builder().config(CONFIG).run(&["explain", "GET", "/x", "--header", field]);
        assert_eq!((code, stdout.as_str(), stderr.trim_end()), (Some(2), "", why));
    }
    has(&told("GET", "/x", &["Host: a", "Host: b"]), &["refused         400 "]);
}

#[test]
fn what_may_be_a_token_in_a_path_is_not_printed() {
    for url in ["/x;jwt=hunter2", "/x%3Bjwt=hunter2", "/x?token=hunter2", "https://b.example/x;jwt=hunter2"] {
        let told = told("GET", url, &["X-Any: 1"]);
        assert!(told.contains("path            /x") && !told.contains("hunter2"), "{told}");
    }
}
