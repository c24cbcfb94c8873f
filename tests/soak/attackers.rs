//! The attackers: each one kind of misuse, with a name and a rate. What each does is what somebody with one address and
//! little bandwidth can do; the rates leave the processor that they share with everybody else's clients some air.

use std::io::Write;
use std::net::TcpStream;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::Signal;

use crate::MAX_CONNECTIONS;
use crate::field::{Field, is_open, is_quiet, read_some};
use crate::harness::*;

pub struct Attacker {
    pub name: &'static str,
    pub what: &'static str,
    pub run: fn(Field<'_>),
}

pub const ATTACKERS: &[Attacker] = &[
    Attacker { name: "forged-small", what: "200 requests/s with forged tokens", run: forged_small },
    Attacker { name: "forged-large", what: "50 requests/s with forged tokens of 8 KiB", run: forged_large },
    Attacker {
        name: "pipelined",
        what: "320 forged tokens/s, 16 at a time on 100 connections",
        run: pipelined,
    },
    Attacker { name: "partial-heads", what: "300 heads of 31 KiB that never end, 50/s", run: partial_heads },
    Attacker { name: "slow-bodies", what: "300 bodies at 2 KiB/s on a public route, 50/s", run: slow_bodies },
    Attacker {
        name: "stalled-readers",
        what: "40 downloads of 8 MiB that nobody reads",
        run: stalled_readers,
    },
    Attacker {
        name: "idle-connections",
        what: "idle connections up to the cap, 500/s",
        run: idle_connections,
    },
    Attacker {
        name: "half-handshakes",
        what: "100 handshakes that go no further, 20/s",
        run: half_handshakes,
    },
    Attacker { name: "stalled-tunnels", what: "40 flooding tunnels that nobody reads", run: stalled_tunnels },
    Attacker {
        name: "empty-continuations",
        what: "20,000 empty frames/s in one message",
        run: continuations,
    },
    Attacker { name: "pings", what: "10,000 pings/s on one tunnel", run: pings },
    Attacker { name: "many-sockets", what: "300 tunnels of one user, 50/s", run: many_sockets },
    Attacker { name: "malformed-heads", what: "100 malformed heads/s", run: malformed_heads },
    Attacker { name: "churn", what: "200 connections/s that end with a reset", run: churn },
    Attacker { name: "admin-idlers", what: "100 idle connections to the admin port", run: admin_idlers },
    Attacker { name: "reloads", what: "another configuration and SIGHUP every two seconds", run: reloads },
];

/// What the configuration file says in turn.
pub const CONFIGURATIONS: [&str; 2] = ["body_timeout = '30s'\n", "body_timeout = '31s'\n"];

const ME: &str = "/api/v1/users/me";
const LOGIN: &str = "/api/v1/auth/login";

/// A token that somebody has signed with another secret, this long or a little longer.
fn forged(field: &mut Field<'_>, length: usize) -> String {
    let user = field.dice.below(1 << 30);
    let claims = format!(r#"{{"sub":"u{user}","exp":{}}}"#, now() + 600);
    // Three quarters, as base64 makes four bytes of three: an object with very many members.
    let members: Vec<String> = (0..length * 3 / 4 / 8).map(|n| format!(r#""{n:04}":1"#)).collect();
    let more = if length > 1_000 { format!(",\"x\":{{{}}}", members.join(",")) } else { String::new() };
    token_with(claims, format!(r#"{{"alg":"HS256"{more}}}"#), "a secret that somebody has made up for this")
}

fn forged_small(field: Field<'_>) {
    flood(field, 200, 100);
}

fn forged_large(field: Field<'_>) {
    flood(field, 50, 7_000);
}

/// Requests with forged tokens, one after the other, on 16 connections.
fn flood(mut field: Field<'_>, per_second: u64, length: usize) {
    let mut connections: Vec<Option<TcpStream>> = (0..16).map(|_| None).collect();
    let tokens: Vec<String> = (0..32).map(|_| forged(&mut field, length)).collect();
    while field.paced(per_second) {
        let (at, token) = (field.dice.below(connections.len()), &tokens[field.dice.below(tokens.len())]);
        let Some(mut stream) = connections[at].take().or_else(|| field.connect()) else { continue };
        if stream.write_all(&Request::new("GET", ME).bearer(token).bytes()).is_ok() {
            field.count_sent(1);
            if read_some(&mut stream) {
                field.count_answer();
                connections[at] = Some(stream);
            }
        }
    }
}

/// Sixteen requests at a time, whose answers are read when the connection has its next turn.
fn pipelined(mut field: Field<'_>) {
    let mut connections: Vec<Option<TcpStream>> = (0..100).map(|_| None).collect();
    let token = forged(&mut field, 100);
    let batch = Request::new("GET", ME).bearer(&token).bytes().repeat(16);
    while field.paced(20) {
        let at = field.dice.below(connections.len());
        let Some(mut stream) = connections[at].take().or_else(|| field.connect()) else { continue };
        let _ = stream.set_nonblocking(true);
        while read_some(&mut stream) {
            field.count_answer();
        }
        let _ = stream.set_nonblocking(false);
        if stream.write_all(&batch).is_ok() {
            field.count_sent(16);
            connections[at] = Some(stream);
        }
    }
}

fn partial_heads(field: Field<'_>) {
    let fields: String = (0..31).map(|n| format!("X-Filler-{n}: {}\r\n", "f".repeat(985))).collect();
    let head = format!("GET {ME} HTTP/1.1\r\nHost: chat.test\r\n{fields}");
    let begin = |field: &mut Field<'_>| {
        let mut stream = field.connect()?;
        stream.write_all(&head.as_bytes()[..head.len() - field.dice.below(20_000)]).ok()?;
        field.count_sent(1);
        Some(stream)
    };
    field.hold(300, 50, begin, |_, stream| is_quiet(stream));
}

fn slow_bodies(field: Field<'_>) {
    let head = Request::new("POST", LOGIN).field("Content-Length", "1000000").bytes();
    let begin = |field: &mut Field<'_>| {
        let mut stream = field.connect()?;
        stream.write_all(&head).ok()?;
        Some(stream)
    };
    field.hold(300, 50, begin, |field, stream| {
        field.count_sent(1);
        is_quiet(stream) && stream.write_all(&[b'b'; 2 << 10]).is_ok()
    });
}

fn stalled_readers(field: Field<'_>) {
    let request = Request::new("GET", "/api/v1/users/large").token("stalled").bytes();
    let begin = |field: &mut Field<'_>| {
        let mut stream = field.connect()?;
        set_socket_recv_buffer_size(&stream, 16 << 10).ok()?;
        stream.write_all(&request).ok()?;
        field.count_sent(1);
        Some(stream)
    };
    field.hold(40, 10, begin, |_, stream| is_open(stream));
}

fn idle_connections(field: Field<'_>) {
    let request = Request::new("GET", "/healthz").bytes();
    let begin = |field: &mut Field<'_>| {
        let mut stream = field.connect()?;
        stream.write_all(&request).ok()?;
        field.count_sent(1);
        read_some(&mut stream).then(|| field.count_answer())?;
        Some(stream)
    };
    field.hold(MAX_CONNECTIONS, 500, begin, |_, stream| is_quiet(stream));
}

fn half_handshakes(field: Field<'_>) {
    let whole = handshake_on("/ws?silent").token("half").bytes();
    let begin = |field: &mut Field<'_>| {
        let mut stream = field.connect()?;
        // Half of them stop in the head, the others wait for an upstream that never switches.
        let length = if field.dice.below(2) == 0 { whole.len() } else { whole.len() / 2 };
        stream.write_all(&whole[..length]).ok()?;
        field.count_sent(1);
        Some(stream)
    };
    field.hold(100, 20, begin, |_, stream| is_quiet(stream));
}

/// A tunnel of this user's, if it is given one.
fn tunnel(field: &Field<'_>, target: &str, user: &str) -> Option<TcpStream> {
    let mut stream = field.connect()?;
    stream.write_all(&handshake_on(target).token(user).bytes()).ok()?;
    field.count_sent(1);
    let mut status = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut status).ok()?;
    field.count_answer();
    if !status.ends_with(b"101") {
        field.count_refused();
        return None;
    }
    // The rest of the head, which is short and came with it.
    read_some(&mut stream);
    Some(stream)
}

fn stalled_tunnels(field: Field<'_>) {
    let begin = |field: &mut Field<'_>| {
        let user = format!("stalled-{}", field.dice.below(1 << 30));
        let stream = tunnel(field, "/ws?flood", &user)?;
        set_socket_recv_buffer_size(&stream, 16 << 10).ok()?;
        Some(stream)
    };
    field.hold(40, 10, begin, |_, stream| is_open(stream));
}

fn many_sockets(field: Field<'_>) {
    field.hold(300, 50, |field| tunnel(field, "/ws", "many"), |_, stream| is_quiet(stream));
}

fn continuations(field: Field<'_>) {
    let begun = Frame::new(0x01, "begun").masked();
    frames(field, "continuations", &begun, &Frame::new(0x00, "").masked(), 1_000);
}

fn pings(field: Field<'_>) {
    frames(field, "pings", &[], &Frame::ping("x").masked(), 500);
}

/// One tunnel on which a frame comes in bursts, twenty a second. Answers are thrown away.
fn frames(mut field: Field<'_>, user: &str, first: &[u8], frame: &[u8], burst: usize) {
    let (burst_bytes, mut open) = (frame.repeat(burst), None::<TcpStream>);
    while field.paced(20) {
        let Some(mut stream) = open.take() else {
            let user = format!("{user}-{}", field.dice.below(1 << 30));
            open = tunnel(&field, "/ws", &user).filter(|mut stream| stream.write_all(first).is_ok());
            continue;
        };
        let _ = stream.set_nonblocking(true);
        let mut is_over = false;
        while !is_over && !is_quiet(&stream) {
            is_over = !read_some(&mut stream);
        }
        let _ = stream.set_nonblocking(false);
        if is_over || stream.write_all(&burst_bytes).is_err() {
            field.count_refused();
        } else {
            field.count_sent(burst as u64);
            open = Some(stream);
        }
    }
}

fn malformed_heads(mut field: Field<'_>) {
    const HEADS: [&str; 6] = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        "\0\x01\x02\x03\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    ];
    while field.paced(100) {
        let Some(mut stream) = field.connect() else { continue };
        if stream.write_all(HEADS[field.dice.below(HEADS.len())].as_bytes()).is_ok() {
            field.count_sent(1);
            if read_some(&mut stream) {
                field.count_answer();
            }
        }
    }
}

fn churn(mut field: Field<'_>) {
    let request = Request::new("GET", ME).token("churn").bytes();
    while field.paced(200) {
        let Some(mut stream) = field.connect() else { continue };
        let length = field.dice.below(request.len() + 1);
        if stream.write_all(&request[..length]).is_ok() {
            field.count_sent(1);
        }
        let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO));
    }
}

fn admin_idlers(field: Field<'_>) {
    let admin = field.gateway.admin;
    field.hold(100, 50, |field| field.connect_to(admin), |_, stream| is_quiet(stream));
}

fn reloads(field: Field<'_>) {
    for nth in 1.. {
        // In steps, so that the end of the attack does not wait.
        if !(0..20).all(|_| field.paced(10)) {
            return;
        }
        field.gateway.rewrite_config(CONFIGURATIONS[nth % 2]);
        field.gateway.signal(Signal::HUP);
        field.count_sent(1);
    }
}
