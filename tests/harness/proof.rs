//! The harness against itself: a client straight to an origin, no gateway between them.

use super::gateway::{listening_line, without_colours};
use super::*;

fn straight(origin: &Origin) -> Client {
    Client::connect(origin.address)
}

#[test]
fn an_echo_tells_what_it_got_in_order() {
    let origin = Origin::echo();
    let request = Request::new("POST", "/a?b").field("X-One", "1").token("ann").body("hello");
    let seen = straight(&origin).send(request.bytes()).read_response().json();
    assert_eq!((seen["method"].as_str(), seen["target"].as_str()), (Some("POST"), Some("/a?b")));
    assert_eq!((&seen["fields"][1][0], &seen["body_length"]), (&"X-One".into(), &5.into()));
    let received = origin.last();
    assert_eq!((received.body.as_slice(), &received.raw), (b"hello".as_slice(), &request.bytes()));
}

#[test]
fn a_connection_carries_several_exchanges() {
    let origin = Origin::echo();
    let mut client = straight(&origin);
    for _ in 0..3 {
        assert_eq!(client.send(Request::new("GET", "/").bytes()).read_response().status, 200);
    }
    assert_eq!((origin.connections(), origin.requests().len(), origin.open()), (1, 3, 1));
    drop(client);
    eventually("the connection's script ends", || origin.open() == 0);
}

#[test]
fn a_chunked_answer_is_taken_apart() {
    let bytes = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n";
    let origin = Origin::fixed(bytes);
    let response = straight(&origin).send(Request::new("GET", "/").bytes()).read_response();
    assert_eq!((response.text().as_str(), response.interim.len()), ("hello!", 1));
    assert_eq!(response.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
}

#[test]
fn a_short_answer_is_seen_to_be_short() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n",
    ] {
        let origin = Origin::once(bytes);
        let response = straight(&origin).send(Request::new("GET", "/").bytes()).read_partial_response();
        assert_eq!((response.truncated, response.text().as_str()), (true, "hell"));
    }
}

#[test]
fn an_answer_without_length_ends_with_the_connection() {
    let origin = Origin::once("HTTP/1.1 200 OK\r\n\r\nhello");
    let mut client = straight(&origin);
    let response = client.send(Request::new("GET", "/").bytes()).read_response();
    assert_eq!((response.truncated, response.text().as_str()), (false, "hello"));
    client.expect_closed();
}

#[test]
fn a_reset_is_told_from_a_close() {
    let origin = Origin::new(|exchange| {
        exchange.read_head();
        exchange.reset();
    });
    let mut client = straight(&origin);
    client.send(Request::new("GET", "/").bytes()).expect_gone();
    let refused = std::panic::catch_unwind(|| {
        straight(&origin).send(Request::new("GET", "/").bytes()).expect_closed();
    });
    assert!(refused.is_err());
}

#[test]
fn the_start_line_of_the_log_gives_both_addresses() {
    let line = "\x1b[2m2026\x1b[0m INFO gateway is listening \x1b[3mpublic\x1b[0m=127.0.0.1:8080 cores=1 \
                admin=127.0.0.1:9";
    let addresses = listening_line(&without_colours(line)).map(|(a, b)| (a.port(), b.port()));
    assert_eq!(addresses, Some((8080, 9)));
    assert_eq!(listening_line("gateway is listening public=127.0.0.1:80"), None);
}

#[test]
fn tokens_verify_with_the_secret_and_no_other() {
    use jsonwebtoken::{DecodingKey, Validation, decode};
    let check = |secret: &str| {
        let key = DecodingKey::from_secret(secret.as_bytes()).expect("a secret");
        decode::<serde_json::Value>(&token("ann"), &key, &Validation::default()).is_ok()
    };
    assert!(check(SECRET));
    assert!(!check("another secret, which is long enough as well"));
}
