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
mod gateway;
mod load;
mod message;
mod origin;
mod proof;
mod redis;
mod socket;
mod token;

use std::time::{Duration, Instant};

pub use browser::{Browser, Page};
pub use client::{Client, Request, Response};
pub use gateway::{Builder, Gateway, PROGRAM, SERVICES, Statuses, Then};
pub use load::Load;
pub use origin::{Exchange, Origin, Received};
pub use redis::{Redis, RedisClient};
pub use socket::{Frame, KEY, ServerSide, Socket, echoing, handshake, handshake_on, switching, telling};
pub use token::{SECRET, now, sign, token, token_with};

/// How long any single wait of a test may last.
pub const PATIENCE: Duration = Duration::from_secs(8);

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

/// Lets this process, and what it starts, open as many files as it may.
pub fn open_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit rises");
}

/// Bytes as a failing test prints them.
pub fn show(bytes: &[u8]) -> String {
    let shown = bytes[..bytes.len().min(400)].escape_ascii().to_string();
    if bytes.len() > 400 { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}
