//! The backends over real sockets, with raw bytes: what they answer. What they make of HTTP is in `wire`, what they
//! make of WebSocket in `chat`.

mod chat;
mod wire;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::backends::{Backends, bind_page, start};
use super::bounds::{MESSAGES_LISTED_MAX, MESSAGES_MAX, PROFILE_BYTES_MAX, USERS_MAX};
use super::mint::TokenMint;
use super::{Entrance, Page};
use crate::http::Scheme;

#[test]
fn registers_once_and_logs_in() {
    let auth = BACKENDS.auth;
    let carol = r#"{"user":"carol","password":"sesame"}"#;
    assert_eq!(post(auth, "/api/v1/auth/register", carol), (201, json!({ "user": "carol" })));
    assert_eq!(post(auth, "/api/v1/auth/register", carol).0, 409);
    assert_eq!(post(auth, "/api/v1/auth/login", carol).0, 200);
    assert_eq!(post(auth, "/api/v1/auth/login", r#"{"user":"carol","password":"open"}"#).0, 401);
    assert_eq!(post(auth, "/api/v1/auth/login", r#"{"user":"nobody","password":"open"}"#).0, 401);
    for malformed in ["", "{}", "[1]", r#"{"user":"a b","password":"x"}"#, r#"{"user":"dora","password":""}"#]
    {
        assert_eq!(post(auth, "/api/v1/auth/register", malformed).0, 400, "{malformed}");
    }
    assert_eq!(get(auth, "/api/v1/auth/login", "").0, 405);
}

#[test]
fn a_wrong_password_is_a_problem_document() {
    let body = r#"{"user":"alice","password":"builder"}"#;
    let (head, body) = exchange(BACKENDS.auth, &request("POST", "/api/v1/auth/login", "", body));
    assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{head}");
    assert!(head.contains("content-type: application/problem+json\r\n"), "{head}");
    assert_eq!(body["status"], 401);
}

#[test]
fn tokens_carry_what_the_gateway_asks_for() {
    let login = r#"{"user":"alice","password":"wonderland"}"#;
    let (status, body) = post(BACKENDS.auth, "/api/v1/auth/login", login);
    assert_eq!((status, &body["expires_in"]), (200, &json!(3600)));
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.set_issuer(&["demo"]);
    rules.set_audience(&["chat"]);
    let key = jsonwebtoken::DecodingKey::from_secret(SECRET).unwrap();
    let token = jsonwebtoken::decode::<Value>(body["token"].as_str().unwrap(), &key, &rules).unwrap();
    assert_eq!(token.claims["sub"], "alice");
    assert_eq!(token.claims["exp"].as_u64().unwrap() - token.claims["iat"].as_u64().unwrap(), 3600);
}

#[test]
fn keeps_no_more_users_than_named() {
    let auth = backends().auth;
    let register =
        |n: usize| post(auth, "/api/v1/auth/register", &format!(r#"{{"user":"u{n}","password":"x"}}"#)).0;
    for n in 2..USERS_MAX {
        assert_eq!(register(n), 201);
    }
    assert_eq!(register(USERS_MAX), 507);
    assert_eq!(register(2), 409);
}

#[test]
fn echoes_fields_in_order_as_written() {
    let fields = "X-B: 1\r\nx-a: two words \r\nX-b: 3\r\nContent-Length: 5\r\n";
    let raw = format!("PATCH /api/v1/users/7/echo?q=%20&r HTTP/1.1\r\nHost: h\r\n{fields}\r\nhello");
    let (_, seen) = exchange(BACKENDS.profile, raw.as_bytes());
    let headers =
        json!([["Host", "h"], ["X-B", "1"], ["x-a", "two words"], ["X-b", "3"], ["Content-Length", "5"]]);
    let expected = json!({ "backend": "profile", "method": "PATCH", "path": "/api/v1/users/7/echo?q=%20&r",
        "headers": headers, "body_bytes": 5 });
    assert_eq!(seen, expected);
}

#[test]
fn every_backend_echoes_under_its_prefix_only() {
    let Backends { auth, message, delivery, profile, conversation, .. } = *BACKENDS;
    let five = [
        (auth, "auth", "/api/v1/auth/echo"),
        (message, "message", "/api/v1/messages/echo"),
        (delivery, "delivery", "/ws/echo"),
        (profile, "profile", "/api/v1/users/echo"),
        (conversation, "conversation", "/api/v1/conversations/a/echo"),
    ];
    for (addr, name, path) in five {
        assert_eq!(get(addr, path, "").1["backend"], name);
        assert_eq!(get(addr, "/elsewhere/echo", "").0, 404);
    }
}

#[test]
fn identity_is_the_gateways_header_only() {
    let profile = BACKENDS.profile;
    assert_eq!(get(profile, "/api/v1/users/me", "X-User-Id: alice\r\nAuthorization: Bearer x\r\n").0, 403);
    assert_eq!(get(profile, "/api/v1/users/me", "X-Internal-User-Id:\r\n").0, 400);
    assert_eq!(get(profile, "/api/v1/users/me", &format!("{ALICE}X-Internal-User-Id: bob\r\n")).0, 400);
    assert_eq!(get(BACKENDS.conversation, "/api/v1/conversations", "").0, 403);
    assert_eq!(get(BACKENDS.message, "/api/v1/messages?conversation=1", "").0, 403);
}

#[test]
fn profiles_are_stored_per_user_and_bounded() {
    let profile = backends().profile;
    let put = |body: &str| call(profile, "PUT", "/api/v1/users/me", ALICE, body);
    assert_eq!(get(profile, "/api/v1/users/me", ALICE), (200, json!({ "user": "alice", "state": null })));
    assert_eq!(put(r#"{"mood":"curious"}"#).0, 200);
    assert_eq!(get(profile, "/api/v1/users/me", ALICE).1["state"], json!({ "mood": "curious" }));
    assert_eq!(get(profile, "/api/v1/users/me", "X-Internal-User-Id: bob\r\n").1["state"], Value::Null);
    assert_eq!(put("no json").0, 400);
    assert_eq!(put(&format!("\"{}\"", "x".repeat(PROFILE_BYTES_MAX))).0, 413);
    assert_eq!(put(&"[".repeat(PROFILE_BYTES_MAX)).0, 400);
}

#[test]
fn conversations_are_for_their_members() {
    let addr = backends().conversation;
    let created =
        call(addr, "POST", "/api/v1/conversations", ALICE, r#"{"title":"tea","members":["hatter"]}"#);
    assert_eq!(created, (201, json!({ "id": "2", "title": "tea", "members": ["alice", "hatter"] })));
    assert_eq!(get(addr, "/api/v1/conversations", ALICE).1["conversations"].as_array().unwrap().len(), 2);
    assert_eq!(get(addr, "/api/v1/conversations/2", ALICE).0, 200);
    assert_eq!(get(addr, "/api/v1/conversations/2", "X-Internal-User-Id: bob\r\n").0, 403);
    assert_eq!(get(addr, "/api/v1/conversations/3", ALICE).0, 404);
    assert_eq!(call(addr, "DELETE", "/api/v1/conversations/2", ALICE, "").0, 405);
}

#[test]
fn forgets_the_oldest_messages() {
    let addr = backends().message;
    let mut stream = connect(addr);
    let mut say = |conversation: &str, text: &str| {
        let path = format!("/api/v1/messages?conversation={conversation}");
        let body = json!({ "text": text }).to_string();
        stream.write_all(&request("POST", &path, ALICE, &body)).unwrap();
        status(&answer(&mut stream).0)
    };
    assert_eq!(say("old", "first"), 201);
    assert_eq!(get(addr, "/api/v1/messages?conversation=old", ALICE).1["messages"][0]["from"], "alice");
    for n in 0..MESSAGES_MAX {
        assert_eq!(say("new", &n.to_string()), 201);
    }
    assert_eq!(say("new", &"x".repeat(4097)), 413);
    assert_eq!(get(addr, "/api/v1/messages?conversation=old", ALICE).1["messages"], json!([]));
    let (_, listed) = get(addr, "/api/v1/messages?conversation=new", ALICE);
    let listed = listed["messages"].as_array().unwrap();
    assert_eq!(listed.len(), MESSAGES_LISTED_MAX);
    assert_eq!(listed.last().unwrap()["text"], (MESSAGES_MAX - 1).to_string());
    assert_eq!(get(addr, "/api/v1/messages", ALICE).0, 400);
}

#[test]
fn the_page_is_whole_and_may_reach_the_gateway_alone() {
    let mut stream = connect(BACKENDS.page);
    stream.write_all(&request("GET", "/", "", "")).unwrap();
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/html"), "{head}");
    let policy = head.split("content-security-policy: ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("ws://localhost:8081 "), "{policy}");
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut html = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut html).unwrap();
    let html = String::from_utf8(html).unwrap();
    assert!(html.contains(&format!("<script nonce=\"{nonce}\">")) && html.contains(r#"content="8081""#));
    assert!(!html.contains("{{"), "everything is filled in");
    stream.write_all(&request("GET", "/", "", "")).unwrap();
    assert!(!read_head(&mut stream).contains(nonce), "a nonce is for one answer");
    assert_eq!(call(BACKENDS.page, "POST", "/", "", "").0, 405);
    assert_eq!(get(BACKENDS.page, "/echo", "").0, 404);
}

#[test]
fn there_is_no_page_before_there_is_a_gateway() {
    let page = start(mint(), Page::default(), bind_page(0).unwrap()).unwrap().page;
    let (head, _) = exchange(page, &request("GET", "/", "", ""));
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: 1\r\n"), "{head}");
}

#[test]
fn a_page_port_that_is_taken_is_named() {
    let error = bind_page(BACKENDS.page.port()).unwrap_err();
    assert!(error.to_string().contains(&BACKENDS.page.to_string().replace(':', " port ")), "{error}");
}

static BACKENDS: LazyLock<Backends> = LazyLock::new(backends);
const SECRET: &[u8] = b"a secret of the tests, 32 bytes long";
const ALICE: &str = "X-Internal-User-Id: alice\r\n";

/// Five of its own for a test that fills one up, and a page that leads to port 8081.
fn backends() -> Backends {
    let page = Page::default();
    page.lead_to(Entrance { scheme: Scheme::Http, port: 8081 });
    start(mint(), page, bind_page(0).unwrap()).unwrap()
}

fn mint() -> TokenMint {
    TokenMint {
        secret: SECRET.to_vec(),
        issuer: Some("demo".into()),
        audience: Some("chat".into()),
        user_claim: vec!["sub".into()],
        ttl: Duration::from_secs(3600),
    }
}

fn get(addr: SocketAddr, path: &str, fields: &str) -> (u16, Value) {
    call(addr, "GET", path, fields, "")
}

fn post(addr: SocketAddr, path: &str, body: &str) -> (u16, Value) {
    call(addr, "POST", path, "", body)
}

fn call(addr: SocketAddr, method: &str, path: &str, fields: &str, body: &str) -> (u16, Value) {
    let (head, body) = exchange(addr, &request(method, path, fields, body));
    (status(&head), body)
}

fn request(method: &str, path: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
        .into()
}

fn exchange(addr: SocketAddr, raw: &[u8]) -> (String, Value) {
    let mut stream = connect(addr);
    // A refusal may come before the last byte is out.
    let _ = stream.write_all(raw);
    answer(&mut stream)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn answer(stream: &mut TcpStream) -> (String, Value) {
    let head = read_head(stream);
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}
