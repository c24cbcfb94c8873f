//! Both ends of the WebSocket benchmark: `ws origin` echoes, `ws load` opens tunnels through a proxy and measures.
//!
//! Each is one thread around one epoll: the two of them share one CPU, the proxy under test has the other.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use flags::Flags;
use plan::{Plan, Traffic};

mod load;
mod tunnel;
mod plan;
mod origin;
mod socket;
mod frame;
mod handshake;
// The other load's: both read the same kind of command line, and this one needs no flag more than once.
#[allow(dead_code)]
#[path = "../../http/src/flags.rs"]
mod flags;
#[cfg(test)]
mod tests;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let done = match words.next().as_deref() {
        Some("origin") => Flags::parse(words).and_then(serve),
        Some("load") => Flags::parse(words).and_then(measure),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(mut flags: Flags) -> Result<(), String> {
    let listen = flags.take("--listen")?.ok_or("--listen ADDRESS:PORT is missing")?;
    let seconds = flags.take("--seconds")?.unwrap_or(ORIGIN_SECONDS);
    flags.done(USAGE)?;
    origin::run(listen, Duration::from_secs(seconds)).map_err(|e| format!("{listen}: {e}"))
}

fn measure(mut flags: Flags) -> Result<(), String> {
    let traffic: Traffic = flags.take("--traffic")?.unwrap_or(Traffic::Echo);
    let plan = Plan {
        to: flags.take::<SocketAddr>("--to")?.ok_or("--to ADDRESS:PORT is missing")?,
        path: flags.take("--path")?.unwrap_or_else(|| "/ws".to_owned()),
        token: flags.take("--token")?,
        idle: flags.take("--idle")?.unwrap_or(0),
        busy: flags.take("--busy")?.unwrap_or(0),
        traffic,
        frame_bytes: flags.take("--bytes")?.unwrap_or(MESSAGE_BYTES),
        measured: Duration::from_secs_f64(flags.take("--seconds")?.unwrap_or(1.0)),
        stepped: flags.take("--stepped")?.unwrap_or(false),
    };
    flags.done(USAGE)?;
    load::run(plan).map_err(|e| e.to_string())
}

/// A message of the chat, in bytes, when nothing else is asked for.
const MESSAGE_BYTES: usize = 100;

/// An origin that was forgotten ends by itself after so many seconds.
const ORIGIN_SECONDS: u64 = 4 * 3600;

const USAGE: &str = "\
ws origin --listen ADDRESS:PORT [--seconds LIFETIME]
ws load --to ADDRESS:PORT [--path /ws] [--token TOKEN] [--idle N] [--busy M]
        [--traffic echo|down|up] [--bytes PER_FRAME] [--seconds S] [--stepped true]

Stepped: a line of JSON when all sockets are open, then a line of standard input starts the measured time; after the
result the sockets stay open until a line more, or the end of standard input.";
