//! OpenID Connect Back-Channel Logout: an issuer ends a session, on every instance.

use super::*;

const PATH: &str = "/oidc/logout";
const EVENTS: &str = r#""events":{"http://schemas.openid.net/event/backchannel-logout":{}}"#;

fn logging_out(redis: &Redis, origin: &Origin) -> Builder {
    let builder = controlled(redis, origin).env("BACKCHANNEL_LOGOUT_PATH", PATH);
    builder.env("BACKCHANNEL_LOGOUT_CLIENTS", "chat-web, chat-app")
}

/// A logout token with these claims beside the usual ones.
fn logout_token(claims: &str) -> String {
    let claims = format!(r#"{{"aud":["other","chat-web"],"iat":{},"jti":"j1",{EVENTS},{claims}}}"#, now());
    signed(&claims)
}

fn signed(claims: &str) -> String {
    token_with(claims, r#"{"alg":"HS256","typ":"logout+jwt"}"#, SECRET)
}

fn post(gateway: &Gateway, body: impl AsRef<[u8]>) -> Response {
    let request = Request::new("POST", PATH).field("Content-Type", "application/x-www-form-urlencoded");
    gateway.ask(request.body(body))
}

#[test]
fn a_logout_ends_a_session_or_a_user_on_every_instance() {
    let (redis, origin) = (Redis::start(), either());
    let [here, there] = [(); 2].map(|()| logging_out(&redis, &origin).start());
    let [session, other] = ["s1", "s2"].map(|sid| issued("ann", 60, &format!(r#","sid":"{sid}""#)));
    let mut sockets = [&here, &there].map(|gateway| opened(gateway, &session));
    let mut left = opened(&there, &other);
    let response = post(&here, format!("logout_token={}", logout_token(r#""sub":"ann","sid":"s1""#)));
    assert_eq!((response.status, response.text().as_str()), (200, ""));
    assert_eq!(response.field("Cache-Control"), Some("no-store"));
    sockets.iter_mut().for_each(|socket| drop(socket.expect_goodbye(1008)));
    for gateway in [&here, &there] {
        until_revoked(gateway, &session);
        assert_eq!(asked(gateway, &other), fine());
    }
    left.expect_echo("still here");
    // Without a session it is the user, whatever the session of a token.
    assert_eq!(post(&there, format!("a=b&logout_token={}", logout_token(r#""sub":"ann""#))).status, 200);
    left.expect_goodbye(1008);
    until_revoked(&here, &other);
    // Who has logged in since has a token that counts: an issuer may repeat itself.
    let [bob, carl] = [("bob", 10), ("carl", 100)].map(|(user, ago)| issued(user, ago, ""));
    for user in ["bob", "carl"] {
        let claims =
            format!(r#"{{"aud":"chat-app","iat":{},"jti":"j","sub":"{user}",{EVENTS}}}"#, now() - 60);
        assert_eq!(post(&here, format!("logout_token={}", signed(&claims))).status, 200);
    }
    until_revoked(&there, &carl);
    assert_eq!(asked(&there, &bob), fine());
}

#[test]
fn what_is_no_logout_token_ends_nothing() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = logging_out(&redis, &origin).start();
    let ann = issued("ann", 60, r#","sid":"s1""#);
    let now = now();
    let claims =
        |iat: u64, more: &str| format!(r#"{{"aud":"chat-web","iat":{iat},"jti":"j","sub":"ann"{more}}}"#);
    let events = format!(",{EVENTS}");
    let wrong = [
        // An access token, and an ID token.
        ann.clone(),
        signed(&claims(now, "")),
        signed(&claims(now, &format!(r#"{events},"nonce":"n""#))),
        signed(&claims(now, r#","events":{"another":{}}"#)),
        signed(&claims(now, r#","events":["http://schemas.openid.net/event/backchannel-logout"]"#)),
        signed(&claims(now - 3_600, &events)),
        signed(&claims(now + 3_600, &events)),
        signed(&claims(now, &format!(r#"{events},"exp":{}"#, now - 600))),
        signed(&claims(now, &events).replace("chat-web", "somebody-else")),
        signed(&claims(now, &events).replace(r#""jti":"j","#, "")),
        signed(&claims(now, &events).replace(r#","sub":"ann""#, "")),
        token_with(claims(now, &events), r#"{"alg":"HS256","typ":"at+jwt"}"#, SECRET),
        token_with(
            claims(now, &events),
            r#"{"alg":"HS256","typ":"logout+jwt"}"#,
            "another secret, as long as it",
        ),
        token_with(claims(now, &events), r#"{"alg":"none"}"#, SECRET),
        "x".to_owned(),
        String::new(),
    ];
    for token in &wrong {
        let response = post(&gateway, format!("logout_token={token}"));
        assert_eq!((response.status, response.code().as_str()), (400, "logout_token"), "{token}");
    }
    let right = signed(&claims(now, &events));
    for form in ["", "logout_token", &format!("logout_token={right}&logout_token={right}"), &right] {
        assert_eq!(post(&gateway, form).status, 400, "{form}");
    }
    let large = post(&gateway, format!("logout_token={}", "a".repeat(40_000)));
    assert_eq!((large.status, large.code().as_str()), (413, "body_too_large"));
    assert_ne!(gateway.ask(Request::new("GET", PATH)).status, 200);
    assert_eq!(asked(&gateway, &ann), fine());
    assert_eq!(redis.cli(&["EXISTS", STREAM]), "0");
    // Nor is a logout token an access token, whatever its type says.
    let claims = claims(now, &format!(r#"{events},"exp":{}"#, now + 100));
    for header in [r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"alg":"HS256"}"#] {
        assert_eq!(asked(&gateway, &token_with(claims.clone(), header, SECRET)).0, 401, "{header}");
    }
    // Chunked, and with an expectation, as some HTTP clients send it.
    let body = format!("logout_token={right}");
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let request = Request::new("POST", PATH).field("Transfer-Encoding", "chunked").raw_body(chunked);
    assert_eq!(gateway.ask(request).status, 200);
    until_revoked(&gateway, &ann);
}

#[test]
fn a_logout_waits_for_a_redis_that_is_away() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = logging_out(&redis, &origin).start();
    let ann = issued("ann", 60, "");
    redis.kill();
    gateway.wait_log("control stream");
    assert_eq!(post(&gateway, format!("logout_token={}", logout_token(r#""sub":"ann""#))).status, 200);
    gateway.wait_log("logouts of issuers wait");
    redis.start_again(&[]);
    until_revoked(&gateway, &ann);
}

#[test]
fn guesses_at_logout_tokens_are_limited_as_bad_credentials() {
    let (redis, origin) = (Redis::start(), either());
    let builder = logging_out(&redis, &origin).env("RATE_LIMIT_STORE", "redis").env("REDIS_TIMEOUT", "10s");
    let gateway = builder.env("RATE_LIMIT_RPS", "0.01").env("RATE_LIMIT_BURST", "3").start();
    let statuses: Vec<u16> = (0..5).map(|_| post(&gateway, "logout_token=a.b.c").status).collect();
    assert_eq!(statuses, [400, 400, 400, 429, 429]);
}
