//! Live control of sessions: revocations by the control stream, in a real Redis, over instances and cores.

mod command;
mod faults;
mod logout;
mod renewal;
mod sockets;
mod tokens;

use crate::harness::*;

/// The key of the stream.
const STREAM: &str = "{rc}:control";

/// Two cores under control of this Redis.
fn controlled(redis: &Redis, origin: &Origin) -> Builder {
    controlled_at(&redis.addr(), origin)
}

fn controlled_at(address: &str, origin: &Origin) -> Builder {
    let builder = Gateway::builder().cores("2").everywhere(origin).env("REDIS_ADDR", address);
    builder.env("REVOCATION_STREAM", STREAM).env("JWT_MAX_LIFETIME", "24h")
}

/// A token of this user that was issued so many seconds ago, with further claims.
fn issued(user: &str, seconds_ago: u64, more: &str) -> String {
    let issued = now() - seconds_ago;
    let claims = format!(r#"{{"sub":"{user}","iat":{issued},"exp":{}{more}}}"#, issued + 3_600);
    token_with(claims, r#"{"alg":"HS256"}"#, SECRET)
}

/// Writes an entry; returns its id.
#[track_caller]
fn write(redis: &Redis, fields: &[&str]) -> String {
    let command: Vec<&str> = ["XADD", STREAM, "*"].iter().chain(fields).copied().collect();
    let id = redis.cli(&command);
    assert!(id.contains('-') && !id.starts_with('-'), "{id}");
    id
}

/// Everything of this user up to now.
fn ban(redis: &Redis, user: &str) -> String {
    write(redis, &["op", "revoke", "user", user])
}

fn opened(gateway: &Gateway, token: &str) -> Socket {
    Socket::open_with(gateway, &handshake().bearer(token))
}

/// The status of a request with this token, and the code of a refusal.
fn asked(gateway: &Gateway, token: &str) -> (u16, String) {
    let response = gateway.ask(Request::new("GET", "/api/v1/users/me").bearer(token));
    (response.status, if response.status < 400 { String::new() } else { response.code() })
}

fn revoked() -> (u16, String) {
    (401, "token_revoked".to_owned())
}

fn fine() -> (u16, String) {
    (200, String::new())
}

/// Waits until a token is refused, by every core: each new connection comes to one of them.
#[track_caller]
fn until_revoked(gateway: &Gateway, token: &str) {
    eventually("the token is refused", || (0..8).all(|_| asked(gateway, token) == revoked()));
}
