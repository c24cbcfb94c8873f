//! The pace of handshakes: how many are taken at once, who counts, and when the others come back.

use crate::harness::*;

/// Ten handshakes per second, one of them at once.
fn paced(origin: &Origin) -> Builder {
    Gateway::builder().everywhere(origin).env("WS_HANDSHAKE_RATE", "10")
}

/// A handshake of this user's on a connection of its own: its status, and the `Retry-After` of a refusal.
fn attempt(gateway: &Gateway, user: &str) -> (u16, u64, Client) {
    let mut client = gateway.client();
    let head = client.send(handshake().bearer(&token(user)).bytes()).read_head();
    let status = head.word(1).parse().expect("a status");
    if status == 101 {
        return (status, 0, client);
    }
    let number = |name: &str| head.field(name).map_or(0, |value| value.parse::<u64>().expect("a number"));
    let length = number("content-length");
    assert_eq!(client.skip(length), length);
    (status, number("retry-after"), client)
}

#[test]
fn over_the_pace_a_handshake_is_told_when_to_come_back_and_requests_pass() {
    let origin = either();
    let gateway = paced(&origin).start();
    let mut socket = Socket::open(&gateway, "user-0");
    let mut waits = Vec::new();
    for nth in 1..100 {
        let (status, wait_s, mut client) = attempt(&gateway, &format!("user-{nth}"));
        // The machine may be slow enough for one to pass.
        if status != 101 {
            assert_eq!(status, 503);
            waits.push(wait_s);
            // The same connection takes the next request, which is no handshake.
            let request = Request::new("GET", "/api/v1/users/me").token("ann");
            assert_eq!(client.send(request.bytes()).read_response().status, 200);
        }
    }
    assert!(waits.len() > 60, "{waits:?}");
    assert!(waits.iter().all(|wait| (1..=15).contains(wait)) && waits[0] <= 2, "{waits:?}");
    let late = &waits[waits.len() / 2..];
    assert!(late.iter().any(|wait| *wait > 3), "the more are refused, the later they come back: {waits:?}");
    assert!(late.windows(2).any(|pair| pair[0] != pair[1]), "each has a time of its own: {waits:?}");
    assert_eq!(gateway.metric("handshakes_paced_total"), waits.len() as u64);
    socket.expect_echo("open sockets go on");
}

#[test]
fn whoever_could_not_open_one_takes_nothing_from_those_who_can() {
    let origin = echoing();
    let gateway = paced(&origin).env("WS_HANDSHAKE_RATE", "1").env("WS_MAX_PER_USER", "1").start();
    for _ in 0..50 {
        assert_eq!(gateway.ask(handshake()).status, 401);
        assert_eq!(gateway.ask(handshake().bearer("a.b.c")).status, 401);
        assert_eq!(gateway.ask(Request::new("GET", "/ws").token("ann")).status, 426);
    }
    let _socket = Socket::open(&gateway, "ann");
    // A second one of the same user's is refused for that, whatever the pace says, and lengthens no line.
    for _ in 0..20 {
        assert_eq!(gateway.ask(handshake().bearer(&token("ann"))).code(), "too_many_websockets");
    }
    let (status, wait_s, _client) = attempt(&gateway, "bob");
    assert!(status == 101 || (status == 503 && (1..=2).contains(&wait_s)), "{status}, {wait_s} s");
    eventually("the next one has its turn", || attempt(&gateway, "bob").0 == 101);
}

#[test]
fn a_reload_changes_the_pace_and_off_is_none() {
    let origin = echoing();
    let toml = |rate: &str| format!("ws_handshake_rate = {rate}\n");
    let gateway =
        Gateway::builder().everywhere(&origin).without("WS_HANDSHAKE_RATE").config(&toml("1")).start();
    let open = |count: usize| -> Vec<u16> { (0..count).map(|_| attempt(&gateway, "ann").0).collect() };
    assert_eq!(open(3)[..2], [101, 503]);
    gateway.rewrite_config(&toml("'off'"));
    gateway.reload();
    assert_eq!(open(100), [101; 100]);
}
