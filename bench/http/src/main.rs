//! The HTTP/1.1 load of the benchmarks: `http load` asks at a fixed rate, `http idle` holds connections open.
//!
//! One thread around one epoll: it shares a CPU with the origin, the proxy under test has the other. For the most that
//! a proxy can do there is wrk; a generator that waits for one answer before it asks again says nothing about latency.

use std::process::ExitCode;
use std::time::Duration;

use flags::Flags;
use plan::{Hold, Plan, Request};

mod load;
mod idle;
mod connection;
mod events;
mod answer;
mod schedule;
mod report;
mod plan;
mod flags;
#[cfg(test)]
mod tests;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let done = match words.next().as_deref() {
        Some("load") => Flags::parse(words).and_then(ask),
        Some("idle") => Flags::parse(words).and_then(hold),
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

fn ask(mut flags: Flags) -> Result<(), String> {
    let plan = Plan {
        request: request(&mut flags)?,
        rate: flags.take("--rate")?.ok_or("--rate REQUESTS_PER_SECOND is missing")?,
        connections: flags.take("--connections")?.unwrap_or(1),
        measured: seconds(flags.take("--seconds")?.unwrap_or(1.0))?,
        warm_up: seconds(flags.take("--warm-up")?.unwrap_or(0.0))?,
        expected: flags.take("--expect")?.unwrap_or(200),
    };
    flags.done(USAGE)?;
    plan.check()?;
    load::run(&plan).map_err(|error| error.to_string())
}

fn hold(mut flags: Flags) -> Result<(), String> {
    let plan = Hold {
        request: request(&mut flags)?,
        connections: flags.take("--connections")?.ok_or("--connections N is missing")?,
        stepped: flags.take("--stepped")?.unwrap_or(false),
    };
    flags.done(USAGE)?;
    idle::run(&plan).map_err(|error| error.to_string())
}

fn request(flags: &mut Flags) -> Result<Request, String> {
    let to = flags.take("--to")?.ok_or("--to ADDRESS:PORT is missing")?;
    let path = flags.take("--path")?.unwrap_or_else(|| "/".to_owned());
    Ok(Request::get(to, &path, &flags.take_all("--header")?))
}

fn seconds(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{seconds} seconds: {error}"))
}

const USAGE: &str = "\
http load --to ADDRESS:PORT --path /path [--header 'Name: value']... --rate REQUESTS_PER_SECOND --connections C
          --seconds S [--warm-up S0] [--expect 200]
http idle --to ADDRESS:PORT --path /path [--header 'Name: value']... --connections N [--stepped true]

load: one line of JSON at the end. idle: a line when all connections have had an answer; stepped, they stay open until
there is a line of standard input, or no more of it, and a last line says how many of them still are.";
