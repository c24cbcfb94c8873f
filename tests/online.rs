//! One user's sockets over all instances, and who is online: real gateways on one real Redis.

mod cap;
mod cluster;
mod events;
mod failures;
mod upgrade;

use crate::harness::*;

/// A gateway that tells this Redis everything, with leases as short as they may be.
fn telling_redis(origin: &Origin, redis: &Redis) -> Builder {
    Gateway::builder()
        .everywhere(origin)
        .env("REDIS_ADDR", &redis.addr())
        .env("REDIS_TIMEOUT", "1s")
        .env("WS_LEASE", "3s")
        .env("WS_EVENTS", "redis:{rc}:events")
}

/// The key of a user's sockets.
fn sockets_of(user: &str) -> String {
    format!("{{rc:u:{user}}}")
}

/// How many sockets Redis knows of a user.
fn count(redis: &Redis, user: &str) -> usize {
    redis.cli(&["ZCARD", &sockets_of(user)]).parse().expect("a number")
}

/// A handshake of this user's on a connection of its own: its status, and the connection.
fn attempt(gateway: &Gateway, user: &str) -> (u16, Client) {
    let mut client = gateway.client();
    let head = client.send(handshake().bearer(&token(user)).bytes()).read_head();
    (head.word(1).parse().expect("a status"), client)
}

/// One event, as a consumer reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Event {
    event: String,
    user: String,
    conn: String,
    instance: String,
    core: String,
    route: String,
    reason: String,
    at: u64,
}

/// All events of the stream, in its order.
fn events(redis: &Redis) -> Vec<Event> {
    let text = redis.cli(&["XRANGE", "{rc}:events", "-", "+"]);
    let mut events = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let is_id = line.split_once('-').is_some_and(|(ms, nth)| {
            ms.len() == 13 && [ms, nth].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        });
        if is_id {
            events.push(Event::default());
            continue;
        }
        let (event, value) =
            (events.last_mut().expect("an id comes first"), lines.next().unwrap_or_default());
        match line {
            "event" => event.event = value.to_owned(),
            "user" => event.user = value.to_owned(),
            "conn" => event.conn = value.to_owned(),
            "instance" => event.instance = value.to_owned(),
            "core" => event.core = value.to_owned(),
            "route" => event.route = value.to_owned(),
            "reason" => event.reason = value.to_owned(),
            "at" => event.at = value.parse().expect("microseconds"),
            other => panic!("{other:?} is no field: {text}"),
        }
    }
    events
}

/// The events of this kind.
fn of_kind(redis: &Redis, kind: &str) -> Vec<Event> {
    events(redis).into_iter().filter(|event| event.event == kind).collect()
}

/// Waits until there are so many events of this kind.
fn wait_events(redis: &Redis, kind: &str, count: usize) -> Vec<Event> {
    eventually(&format!("{count} times {kind}"), || of_kind(redis, kind).len() >= count);
    of_kind(redis, kind)
}
