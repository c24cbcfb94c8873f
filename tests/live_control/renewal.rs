//! A new token for an open WebSocket.

use super::*;

const PATH: &str = "/_gateway/session/renew";
const HANDLE: &str = "0123456789abcdef0123456789abcdef";

fn renewing(redis: &Redis, origin: &Origin) -> Builder {
    controlled(redis, origin).env("SESSION_RENEW", "on")
}

/// A token that expires so many seconds from now.
fn expiring(user: &str, seconds: u64) -> String {
    let claims = format!(r#"{{"sub":"{user}","iat":{},"exp":{}}}"#, now() - 1, now() + seconds);
    token_with(claims, r#"{"alg":"HS256"}"#, SECRET)
}

fn with_handle(token: &str, handle: &str) -> Request {
    handshake().bearer(token).field("Sec-WebSocket-Protocol", &format!("chat, handle.{handle}"))
}

fn renew(gateway: &Gateway, token: &str, handle: &str) -> Response {
    gateway.ask(Request::new("POST", PATH).bearer(token).field("X-Socket-Handle", handle))
}

/// A short token opens two sockets; `renewed` is told of the second one's handle, and outlives the first.
#[track_caller]
fn outlives(of_sockets: &Gateway, renewed: impl FnOnce(&str)) {
    let short = expiring("ann", 5);
    let mut left = opened(of_sockets, &short);
    let mut kept = Socket::open_with(of_sockets, &with_handle(&short, HANDLE));
    renewed(HANDLE);
    let close = left.expect_goodbye(1008);
    assert_eq!(&close.payload[2..], b"token expired");
    // The same moment has passed for both.
    kept.expect_echo("still here");
}

#[test]
fn a_socket_with_a_new_token_lasts_as_long_as_that_one() {
    let (redis, origin) = (Redis::start(), echoing());
    let gateway = renewing(&redis, &origin).start();
    outlives(&gateway, |handle| {
        let response = renew(&gateway, &expiring("ann", 3_000), &handle.to_uppercase());
        let until = now() + 3_000;
        assert_eq!(response.status, 200, "{}", response.text());
        let told: serde_json::Value = serde_json::from_str(&response.text()).expect("JSON");
        assert!((until - 2..=until).contains(&told["expires"].as_u64().expect("a time")), "{told}");
        // A shorter one changes nothing.
        let again = renew(&gateway, &expiring("ann", 60), handle);
        assert_eq!((again.status, again.text().trim().to_owned()), (200, response.text().trim().to_owned()));
    });
}

#[test]
fn a_socket_on_another_instance_is_renewed_through_the_stream() {
    let (redis, origin) = (Redis::start(), echoing());
    let [one, other] = [(); 2].map(|()| renewing(&redis, &origin).start());
    outlives(&one, |handle| {
        let response = renew(&other, &expiring("ann", 3_000), handle);
        assert_eq!((response.status, response.text().trim()), (202, "{\"expires\":null}"));
        assert!(!redis.cli(&["XRANGE", STREAM, "-", "+"]).contains(handle), "a handle is a secret");
    });
}

#[test]
fn only_the_same_user_renews_and_only_with_a_token_that_counts() {
    let (redis, origin) = (Redis::start(), either());
    let gateway = renewing(&redis, &origin).start();
    let ann = issued("ann", 60, "");
    let mut socket = Socket::open_with(&gateway, &with_handle(&ann, HANDLE));
    let refused = |response: Response| (response.status, response.code());
    let bob = renew(&gateway, &issued("bob", 60, ""), HANDLE);
    assert_eq!(refused(bob), (403, "socket_not_yours".to_owned()));
    for handle in ["", "0123", "0123456789abcdef0123456789abcdeg", &"0".repeat(65)] {
        assert_eq!(refused(renew(&gateway, &ann, handle)), (400, "socket_handle".to_owned()), "{handle}");
    }
    let none = gateway.ask(Request::new("POST", PATH).field("X-Socket-Handle", HANDLE));
    assert_eq!(refused(none), (401, "token_missing".to_owned()));
    let forged =
        token_with(r#"{"sub":"ann","exp":9999999999}"#, r#"{"alg":"HS256"}"#, "another secret, as long");
    assert_eq!(renew(&gateway, &forged, HANDLE).status, 401);
    assert_eq!(gateway.ask(Request::new("GET", PATH).bearer(&ann)).status, 404);
    ban(&redis, "ann");
    socket.expect_goodbye(1008);
    until_revoked(&gateway, &ann);
    assert_eq!(refused(renew(&gateway, &ann, HANDLE)), revoked());
}

#[test]
fn a_user_who_has_lost_what_the_route_requires_does_not_stay() {
    let (redis, origin) = (Redis::start(), echoing());
    let routes = format!(
        "[upstreams.a]\nurl = 'http://{}'\n[[route]]\nname = 'p'\nkind = 'websocket'\npaths = ['/ws']\n\
         upstream = 'a'\nrequire = {{ scope = 'chat' }}\n",
        origin.address
    );
    let mut builder = renewing(&redis, &origin);
    for service in SERVICES {
        builder = builder.without(&format!("UPSTREAM_{}_URL", service.to_uppercase()));
    }
    let gateway = builder.config(&routes).start();
    let with_scope = issued("ann", 60, r#","scope":"chat""#);
    let _socket = Socket::open_with(&gateway, &with_handle(&with_scope, HANDLE));
    assert_eq!(renew(&gateway, &issued("ann", 10, ""), HANDLE).status, 403);
    assert_eq!(renew(&gateway, &issued("ann", 10, r#","scope":"chat""#), HANDLE).status, 200);
}

#[test]
fn a_handle_stays_here_and_where_there_are_no_renewals_it_is_a_subprotocol_as_any() {
    let (redis, (tell, told)) = (Redis::start(), std::sync::mpsc::channel());
    let origin = Origin::new(move |exchange| {
        let Some(request) = exchange.read_request() else { return };
        let _ = tell.send(request.head.field("sec-websocket-protocol").map(str::to_owned));
        exchange.write(switching(""));
        ServerSide::switched(exchange).echo();
    });
    let heard = || told.recv_timeout(PATIENCE).expect("a handshake");
    let token = issued("ann", 60, "");
    let gateway = renewing(&redis, &origin).start();
    let _on = Socket::open_with(&gateway, &with_handle(&token, HANDLE));
    assert_eq!(heard().as_deref(), Some("chat"));
    let marked = handshake().bearer(&token).field("Sec-WebSocket-Protocol", "realchat.v1, handle.00");
    let marked = Socket::open_with(&gateway, &marked);
    assert_eq!(heard().as_deref(), Some("realchat.v1"));
    assert_eq!(marked.head.field("sec-websocket-protocol"), Some("realchat.v1"));
    let without = controlled(&redis, &origin).start();
    let _off = Socket::open_with(&without, &with_handle(&token, HANDLE));
    assert_eq!(heard().as_deref(), Some(format!("chat, handle.{HANDLE}").as_str()));
    assert_eq!(renew(&without, &token, HANDLE).status, 404);
}
