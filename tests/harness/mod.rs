//! What every integration test stands on: the gateway as a process, a raw client, a scripted origin, tokens.
//!
//! A test says which bytes go in and what must come out; nothing here repairs or normalises what it reads,
//! and nothing waits longer than [`PATIENCE`], except for a browser.

// Each feature uses its own part of the harness; one feature alone, or one binary, would leave the rest unused.
#![allow(dead_code, unused_imports)]
// `pub` here means: for the tests. Nothing of a test binary is reachable from outside.
#![allow(unreachable_pub)]

mod browser;
mod client;
mod dns;
mod gateway;
pub mod h2;
mod load;
mod message;
mod origin;
mod proof;
pub mod provider;
mod redis;
mod redis_cluster;
pub mod signer;
mod socket;
mod temp_file;
pub mod tls;
mod token;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub use browser::{Browser, Page};
pub use client::{Client, Request, Response};
pub use dns::{DnsServer, Says};
pub use gateway::{Builder, Gateway, PROGRAM, SERVICES, Statuses, Then};
pub use load::{Load, answer as whole_answer};
pub use origin::{Exchange, Origin, Received};
pub use redis::{Redis, RedisClient};
pub use redis_cluster::RedisCluster;
pub use socket::{
    Frame, KEY, ServerSide, Socket, echoing, either, handshake, handshake_on, switching, telling,
};
pub use temp_file::TempFile;
pub use token::{SECRET, now, sign, token, token_with};

/// How long any single wait of a test may last. Generous: on a machine that has much else to do, a process may not run
/// for seconds, and a test that passes never waits for that long. Shorter than the defaults that a wait is to be told
/// from (`BODY_TIMEOUT` and the others of 30 s and more).
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An upper bound of a duration that only has to be told from a timeout of half a minute or "never". A closer bound
/// would measure the machine.
pub const SOON: Duration = Duration::from_secs(15);

/// An address at which nobody listens: privileged, and outside the range the kernel gives to others.
pub const NOBODY: &str = "127.0.0.1:1";

/// Waits until `holds`; fails with `what` when it never does.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that is free on every IPv4 address, for what binds it later, or on several addresses. It is outside the range
/// from which the kernel gives ports to connections, so nobody gets it meanwhile by chance.
#[track_caller]
pub fn port_for_later() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..PORTS_FOR_LATER {
        let nth = std::process::id() as u16 ^ NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT_FOR_LATER + nth % PORTS_FOR_LATER;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

const FIRST_PORT_FOR_LATER: u16 = 12_000;
const PORTS_FOR_LATER: u16 = 16_384;

/// Whether anybody listens on this port, without a connection that would wake the listener.
pub fn listens(address: SocketAddr) -> bool {
    let port = format!(":{:04X}", address.port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("/proc");
    let is_listener = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some(LISTEN)
    };
    sockets.lines().any(is_listener)
}

/// `TCP_LISTEN` as /proc/net/tcp writes it.
const LISTEN: &str = "0A";

/// Lets this process, and what it starts, open as many files as it may.
pub fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit rises");
}

/// What the clients of this test speak: `http`, or `https` where a TLS client stands in between.
pub fn scheme() -> &'static str {
    if tls::is_wanted() { "https" } else { "http" }
}

/// Bytes as a failing test prints them.
pub fn show(bytes: &[u8]) -> String {
    let shown = bytes[..bytes.len().min(400)].escape_ascii().to_string();
    if bytes.len() > 400 { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}
