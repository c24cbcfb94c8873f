//! The floor of the benchmarks: what a proxied request costs on this runtime when nothing is done but moving it.
//!
//! `floor --listen ADDRESS:PORT --origin ADDRESS:PORT --cores 0,1` is a thread per core with a ring and a listener of
//! its own, as the gateway is, and for each request the same socket operations:
//!
//! ```text
//!   poll client ─ recv ─ lend an upstream connection (recv MSG_PEEK) ─ send
//!   poll upstream ─ recv ─ send ─ give it back
//! ```
//!
//! It must never face anything but the benchmark. What it leaves out:
//!
//! - A head is passed on as it came. Nobody looks at it but for two things, which tell where a message ends: the first
//!   empty line, and a `Content-Length`, spelled so. Without one there is no body, so chunks do not get through.
//! - A head fits one read of 64 KiB. One that arrives in two pieces is the end of its connection.
//! - One request at a time: one that arrives together with the next is the end of its connection, too.
//! - An answer is read when the request has been passed on to its last byte, and not before.
//! - No `Connection: close`, no HTTP/1.0, no interim answers, no HEAD, no 304 with a length.
//! - No timeouts (its runtime has no timer at all), no limits, no counters, no log, no drain, no second attempt:
//!   whatever goes wrong ends both connections.

use std::net::SocketAddr;
use std::process::ExitCode;

mod worker;
mod relay;
mod message;
mod upstream;
mod socket;
mod buffers;
#[cfg(test)]
mod tests;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match parse(&words).and_then(|plan| worker::run(&plan).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
pub struct Plan {
    pub listen: SocketAddr,
    pub origin: SocketAddr,
    /// The numbers of the CPUs, each of which gets a thread.
    pub cores: Vec<usize>,
}

fn parse(words: &[String]) -> Result<Plan, String> {
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1)).ok_or_else(|| format!("{name} is missing\n{USAGE}"))
    };
    let address = |name| value(name)?.parse().map_err(|error| format!("{name}: {error}"));
    let cores = value("--cores")?.split(',').map(str::parse).collect::<Result<_, _>>();
    Ok(Plan {
        listen: address("--listen")?,
        origin: address("--origin")?,
        cores: cores.map_err(|error| format!("--cores: {error}"))?,
    })
}

const USAGE: &str = "floor --listen ADDRESS:PORT --origin ADDRESS:PORT --cores 0,1";
