//! Both ends of the WebSocket benchmark: `ws origin` echoes, `ws load` opens tunnels through a proxy and measures.
//!
//! Each is one thread around one epoll: the two of them share one CPU, the proxy under test has the other.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use plan::{Plan, Traffic};

mod load;
mod tunnel;
mod plan;
mod origin;
mod socket;
mod frame;
mod handshake;
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
    flags.done()?;
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
    flags.done()?;
    load::run(plan).map_err(|e| e.to_string())
}

/// What was written on the command line: `--name value`, each name once.
struct Flags(Vec<(String, String)>);

impl Flags {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut flags = Vec::new();
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} has no value"))?;
            flags.push((name, value));
        }
        Ok(Self(flags))
    }

    fn take<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(at) = self.0.iter().position(|(given, _)| given == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        value.parse().map(Some).map_err(|_| format!("{name}: {value:?} is not such a value"))
    }

    fn done(&self) -> Result<(), String> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(format!("{name} is unknown, or given twice\n{USAGE}")))
    }
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
