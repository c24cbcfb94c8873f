//! The chat room over real sockets, with a WebSocket client of its own kind: straight to the backend, as the gateway
//! would come.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::super::bounds::{OUTBOX_BYTES_MAX, SOCKETS_MAX, SPOKEN_BYTES_MAX, TEXT_BYTES_MAX};
use super::{ALICE, BACKENDS, backends, call, connect, exchange, get, read_head, request, status};

/// A user's socket.
struct Chatter(WebSocket<TcpStream>);

impl Chatter {
    fn join(room: SocketAddr, user: &str) -> Chatter {
        Chatter::try_join(room, user, connect(room)).unwrap()
    }

    fn try_join(room: SocketAddr, user: &str, stream: TcpStream) -> Result<Chatter, u16> {
        let mut request = format!("ws://{room}/ws").into_client_request().unwrap();
        request.headers_mut().insert("X-Internal-User-Id", user.parse().unwrap());
        request.headers_mut().insert("Sec-WebSocket-Protocol", "other, realchat.v1".parse().unwrap());
        match tungstenite::client(request, stream) {
            Ok((socket, response)) => {
                assert_eq!(response.headers()["sec-websocket-protocol"], "realchat.v1");
                Ok(Chatter(socket))
            }
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn say(&mut self, text: &str) {
        self.send(&json!({ "type": "message", "text": text }).to_string());
    }

    fn send(&mut self, spoken: &str) {
        self.0.send(Message::text(spoken)).unwrap();
    }

    /// The next thing that the room says.
    fn hear(&mut self) -> Value {
        match self.0.read().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The next thing of this type; what comes before is passed over.
    fn hear_of(&mut self, kind: &str) -> Value {
        loop {
            let heard = self.hear();
            if heard["type"] == kind {
                return heard;
            }
        }
    }

    /// The code of the Close that comes next; then the connection ends in order.
    fn closed(mut self) -> u16 {
        let code = loop {
            match self.0.read().unwrap() {
                Message::Close(frame) => break frame.map_or(1005, |frame| frame.code.into()),
                other => drop(other),
            }
        };
        assert!(matches!(self.0.read(), Err(Error::ConnectionClosed)));
        code
    }
}

#[test]
fn two_users_meet_and_talk() {
    let room = backends().delivery;
    let mut alice = Chatter::join(room, "alice");
    assert_eq!(alice.hear(), json!({ "type": "history", "messages": [] }));
    assert_eq!(alice.hear(), json!({ "type": "presence", "users": ["alice"] }));
    let mut bob = Chatter::join(room, "bob");
    assert_eq!(alice.hear(), json!({ "type": "presence", "users": ["alice", "bob"] }));
    bob.say("hello, ålice");
    let heard = alice.hear();
    assert_eq!((&heard["from"], &heard["text"]), (&json!("bob"), &json!("hello, ålice")));
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(now_ms.abs_diff(heard["at"].as_u64().unwrap()) < 60_000, "{heard}");
    alice.say("hello, bob");
    assert_eq!(
        (bob.hear_of("message")["text"].clone(), bob.hear()["text"].clone()),
        (json!("hello, ålice"), json!("hello, bob"))
    );
    let past = Chatter::join(room, "carol").hear();
    assert_eq!((&past["type"], past["messages"].as_array().unwrap().len()), (&json!("history"), 2));
    drop(bob);
    assert_eq!(alice.hear_of("presence")["users"], json!(["alice", "bob", "carol"]));
    let left =
        std::iter::from_fn(|| Some(alice.hear()["users"].clone())).find(|users| *users == json!(["alice"]));
    assert!(left.is_some());
}

#[test]
fn a_user_with_two_sockets_is_present_once() {
    let room = backends().delivery;
    let mut bob = Chatter::join(room, "bob");
    let (first, mut second) = (Chatter::join(room, "alice"), Chatter::join(room, "alice"));
    assert_eq!(second.hear_of("presence")["users"], json!(["alice", "bob"]));
    drop(first);
    second.say("still here");
    bob.hear_of("history");
    assert_eq!(bob.hear()["users"], json!(["bob"]));
    assert_eq!(bob.hear()["users"], json!(["alice", "bob"]));
    assert_eq!(bob.hear()["text"], "still here");
    drop(second);
    assert_eq!(bob.hear()["users"], json!(["bob"]));
}

#[test]
fn what_is_no_message_is_told_so_and_the_talk_goes_on() {
    let mut alice = Chatter::join(backends().delivery, "alice");
    alice.hear_of("presence");
    let long = json!({ "type": "message", "text": "x".repeat(TEXT_BYTES_MAX + 1) }).to_string();
    for wrong in ["hello", "{", r#"{"type":"message","text":7}"#, r#"{"type":"message","text":""}"#, &long] {
        alice.send(wrong);
        assert_eq!(alice.hear()["type"], "error", "{wrong}");
    }
    alice.0.send(Message::binary(&b"{}"[..])).unwrap();
    assert_eq!(alice.hear()["type"], "error");
    alice.say("but this is one");
    assert_eq!(alice.hear()["text"], "but this is one");
}

#[test]
fn answers_pings_and_closes_as_it_is_closed() {
    let room = backends().delivery;
    let mut alice = Chatter::join(room, "alice");
    alice.hear_of("presence");
    alice.0.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(alice.0.read().unwrap(), Message::Pong("are you there".into()));
    let mut bob = Chatter::join(room, "bob");
    alice.0.close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() })).unwrap();
    alice.hear_of("presence");
    assert_eq!(alice.closed(), 1001);
    bob.hear_of("history");
    assert_eq!(bob.hear()["users"], json!(["alice", "bob"]));
    assert_eq!(bob.hear()["users"], json!(["bob"]));
}

#[test]
fn says_why_it_closes_on_a_client_that_breaks_the_protocol() {
    let mut alice = Chatter::join(backends().delivery, "alice");
    alice.send(&"x".repeat(SPOKEN_BYTES_MAX + 1));
    assert_eq!(alice.closed(), 1009);
    let mut alice = Chatter::join(backends().delivery, "alice");
    alice.0.get_mut().write_all(b"\x81\x01x").unwrap();
    assert_eq!(alice.closed(), 1002);
}

#[test]
fn what_came_with_the_handshake_is_heard() {
    let mut stream = connect(backends().delivery);
    let handshake = request("GET", "/ws", &format!("{HANDSHAKE}{ALICE}"), "");
    let early = [&handshake[..], b"\x89\x80\0\0\0\0"].concat();
    stream.write_all(&early).unwrap();
    let head = read_head(&mut stream).to_ascii_lowercase();
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    assert!(!head.contains("sec-websocket-protocol"), "none was offered: {head}");
    let mut seen = Vec::new();
    while !seen.windows(2).any(|two| two == b"\x8a\x00") {
        let mut space = [0; 512];
        let count = stream.read(&mut space).unwrap();
        assert!(count > 0, "no pong in {}", seen.escape_ascii());
        seen.extend_from_slice(&space[..count]);
    }
}

#[test]
fn what_is_no_handshake_gets_an_answer() {
    let room = BACKENDS.delivery;
    let good = HANDSHAKE;
    let (head, _) = exchange(room, &request("GET", "/ws", "", ""));
    assert!(head.starts_with("HTTP/1.1 426 ") && head.contains("upgrade: websocket\r\n"), "{head}");
    let old = good.replace("13", "8");
    let (head, _) = exchange(room, &request("GET", "/ws", &format!("{old}{ALICE}"), ""));
    assert!(head.starts_with("HTTP/1.1 426 ") && head.contains("sec-websocket-version: 13\r\n"), "{head}");
    let keyless = good.split("Sec-WebSocket-Key").next().unwrap();
    assert_eq!(get(room, "/ws", &format!("{keyless}{ALICE}")).0, 400);
    assert_eq!(call(room, "POST", "/ws", &format!("{good}{ALICE}"), "").0, 405);
    assert_eq!(get(room, "/ws", good).0, 403, "nobody");
    assert_eq!(get(room, "/ws", &format!("{good}{ALICE}{ALICE}")).0, 400, "twice");
    let long = format!("{good}X-Internal-User-Id: {}\r\n", "x".repeat(65));
    assert_eq!(get(room, "/ws", &long).0, 400, "too long");
    assert_eq!(get(room, "/elsewhere", "").0, 404);
}

#[test]
fn a_full_room_refuses_and_takes_again() {
    let room = backends().delivery;
    let mut chatters: Vec<Chatter> = (0..SOCKETS_MAX).map(|_| Chatter::join(room, "alice")).collect();
    assert_eq!(Chatter::try_join(room, "bob", connect(room)).err(), Some(503));
    let (head, _) = exchange(room, &request("GET", "/ws", &format!("{HANDSHAKE}{ALICE}"), ""));
    assert!(status(&head) == 503 && head.contains("retry-after: 5\r\n"), "{head}");
    chatters.pop();
    let deadline = Instant::now() + Duration::from_secs(8);
    while Chatter::try_join(room, "bob", connect(room)).is_err() {
        assert!(Instant::now() < deadline, "the place in the room is never free");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_slow_consumer_is_closed_with_1013_and_holds_nobody_up() {
    let room = backends().delivery;
    let mut slow = Chatter::join(room, "slow");
    let mut quick = Chatter::join(room, "quick");
    let mut listener = Chatter::join(room, "listener");
    quick.hear_of("presence");
    // Each byte becomes six: what the kernel keeps for a socket is full sooner.
    let text = "\u{1}".repeat(TEXT_BYTES_MAX);
    let (mut said, until) = (0, Instant::now() + Duration::from_secs(20));
    // The room says that it gave one up by going on without it once its connection is gone, which takes long;
    // until then, more than the kernel and the outbox can hold is said.
    while said * TEXT_BYTES_MAX * 6 < KERNEL_BYTES + 2 * OUTBOX_BYTES_MAX {
        assert!(Instant::now() < until, "{said}");
        quick.say(&text);
        quick.hear_of("message");
        listener.hear_of("message");
        said += 1;
    }
    let mut heard = 0;
    let code = loop {
        match slow.0.read().unwrap() {
            Message::Close(frame) => break u16::from(frame.unwrap().code),
            _ => heard += 1,
        }
    };
    assert_eq!(code, 1013);
    assert!(heard < said, "{heard} of {said}");
    assert!(matches!(slow.0.read(), Err(Error::ConnectionClosed)));
    loop {
        let users = listener.hear_of("presence")["users"].clone();
        if users == json!(["listener", "quick"]) {
            return;
        }
    }
}

#[test]
fn one_who_talks_without_listening_is_not_read_on() {
    let room = backends().delivery;
    let mut deaf = Chatter::join(room, "deaf");
    deaf.0.get_ref().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let text = json!({ "type": "message", "text": "\u{1}".repeat(TEXT_BYTES_MAX) }).to_string();
    // Its own queue never runs over: reading stops before, and it is the client that has to wait.
    let stuck = (0..4 * KERNEL_BYTES / text.len()).any(|_| deaf.0.send(Message::text(&*text)).is_err());
    assert!(stuck, "everything was taken");
    let mut bob = Chatter::join(room, "bob");
    assert_eq!(bob.hear_of("presence")["users"], json!(["bob", "deaf"]));
}

#[test]
fn a_burst_from_one_who_listens_is_heard_whole() {
    let mut alice = Chatter::join(backends().delivery, "alice");
    let text = "x".repeat(TEXT_BYTES_MAX);
    let mut stream = alice.0.get_ref().try_clone().unwrap();
    let spoken = json!({ "type": "message", "text": text }).to_string();
    let length = (spoken.len() as u16).to_be_bytes();
    let frame = [&[0x81, 0xfe, length[0], length[1], 0, 0, 0, 0], spoken.as_bytes()].concat();
    let burst = 3 * OUTBOX_BYTES_MAX / TEXT_BYTES_MAX;
    let talker = std::thread::spawn(move || (0..burst).for_each(|_| stream.write_all(&frame).unwrap()));
    (0..burst).for_each(|_| drop(alice.hear_of("message")));
    talker.join().unwrap();
}

/// More than the kernel keeps for both ends of a loopback connection (tcp_rmem and tcp_wmem, 6 MiB and 4 MiB unless
/// somebody raised them).
const KERNEL_BYTES: usize = 12 * 1024 * 1024;

/// The fields of a good one, with the key of RFC 6455, section 1.3.
const HANDSHAKE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
