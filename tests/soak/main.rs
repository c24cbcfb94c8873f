//! The soak: 50 well-behaved clients on HTTP and WebSockets, first alone, then beside attackers of every kind that is
//! known. It says what the attack cost the others, and whether the gateway is afterwards what it was before.
//!
//! `scripts/soak --help` has the command line. A plain `cargo test` leaves it out: it wants the machine for itself.
//!
//! What can be promised: attackers and well-behaved clients share processors with each other, so every figure has the
//! cost of *making* an attack in it. The gateway therefore has one CPU for itself and everything else the others, every
//! attacker keeps to a rate and is the nicest of all threads, and a bound of a time has a floor below which it is the
//! machine that is measured.

// `pub` here means: for the other files of the soak.
#![allow(unreachable_pub)]

#[path = "../harness/mod.rs"]
mod harness;

mod attackers;
mod clients;
mod field;
mod measure;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::nice;

use attackers::{ATTACKERS, Attacker};
use clients::{Clients, Phase};
use field::{Field, Tally};
use harness::*;
use measure::{Latencies, Limits, Probes, Sample};

/// What was asked on the command line.
struct Options {
    seconds: u64,
    seed: u64,
    is_quick: bool,
    only: Vec<&'static Attacker>,
}

fn main() -> ExitCode {
    // `scripts/soak` sets it, and `cargo test` does not.
    if std::env::var_os("SOAK").is_none() {
        println!("the soak is left out: scripts/soak runs it");
        return ExitCode::SUCCESS;
    }
    match options(std::env::args().skip(1)) {
        Ok(options) => soak(&options),
        Err(mistake) => {
            eprintln!("{mistake}");
            ExitCode::from(2)
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options =
        Options { seconds: SECONDS, seed: u64::from(std::process::id()), is_quick: false, only: Vec::new() };
    let mut seconds = None;
    let number = |word: Option<String>, of: &str| -> Result<u64, String> {
        word.and_then(|word| word.parse().ok()).ok_or(format!("{of}: a number is missing"))
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => seconds = Some(number(words.next(), "--seconds")?.max(6)),
            "--seed" => options.seed = number(words.next(), "--seed")?,
            "--quick" => options.is_quick = true,
            "--only" => {
                let names = words.next().ok_or("--only: a name is missing")?;
                for name in names.split(',') {
                    let found = ATTACKERS.iter().find(|attacker| attacker.name == name);
                    options.only.push(found.ok_or(format!("--only: nobody is called {name}; see --list"))?);
                }
            }
            "--list" => {
                ATTACKERS.iter().for_each(|attacker| println!("{:<22} {}", attacker.name, attacker.what));
                std::process::exit(0);
            }
            other => return Err(format!("{other}: not known; see scripts/soak --help")),
        }
    }
    options.seconds = seconds.unwrap_or(if options.is_quick { QUICK_SECONDS } else { SECONDS });
    if options.only.is_empty() {
        options.only = ATTACKERS.iter().collect();
    }
    Ok(options)
}

fn soak(options: &Options) -> ExitCode {
    open_many_files();
    let cpus = measure::Cpus::of_this_process();
    cpus.take_others();
    println!("seed {}, {} s, {}", options.seed, options.seconds, cpus.told());
    let (redis, origin) = (Redis::start(), clients::origin());
    cpus.take_gateways();
    let gateway = gateway(&redis, &origin, &cpus.gateways_text());
    cpus.take_others();

    // A quarter of the time for the quiet figures, the rest for the attack.
    let quiet = Duration::from_secs(options.seconds / 4);
    let clients = Clients::start(gateway.public, options.seed);
    clients.enter(Phase::Warming);
    thread::sleep(Duration::from_secs(2).min(quiet));
    clients.enter(Phase::Quiet);
    thread::sleep(quiet);
    clients.rest();
    let before = settled(&gateway);

    clients.enter(Phase::Attacked);
    let (tallies, peak, probes) = attack(options, &gateway, Duration::from_secs(options.seconds) - quiet);
    clients.rest();
    let limits = Limits::after(&before);
    let (after, took) = back_to(&gateway, &limits);
    let seen = clients.stop();

    report_attack(options, &tallies);
    let [alone, attacked] = [Phase::Quiet, Phase::Attacked].map(|phase| Latencies::of(seen.of(phase)));
    let floor = Duration::from_millis(if options.is_quick { QUICK_FLOOR_MS } else { FLOOR_MS });
    let mut wrong: Vec<String> = Vec::new();
    wrong.extend(measure::judge_latencies(&alone, &attacked, floor));
    wrong.extend(seen.judge());
    wrong.extend(probes.judge());
    wrong.extend(measure::judge_samples(&before, &peak, &after, &limits, took));
    wrong.extend(judge_log(&gateway));
    if wrong.is_empty() {
        println!("\nthe soak has passed");
        return ExitCode::SUCCESS;
    }
    println!("\nthe soak has failed (again: --seed {}):", options.seed);
    wrong.iter().for_each(|line| println!("  {line}"));
    ExitCode::FAILURE
}

/// The gateway as an operator would have it, but for small numbers that attackers reach soon.
fn gateway(redis: &Redis, origin: &Origin, cpu: &str) -> Gateway {
    let builder = Gateway::builder().everywhere(origin).cores(cpu).config(attackers::CONFIGURATIONS[0]);
    builder
        .env("RATE_LIMIT_STORE", "redis")
        .env("REDIS_ADDR", &redis.addr())
        .env("RATE_LIMIT_RPS", "30")
        .env("RATE_LIMIT_BURST", "60")
        .env("MAX_CONNECTIONS", &MAX_CONNECTIONS.to_string())
        // Pooled connections are descriptors too, and are to go within the minute.
        .env("UPSTREAM_KEEP_ALIVE", "5s")
        .start()
}

/// Runs the attackers for so long. What each did, and the most that the gateway had of anything.
fn attack(options: &Options, gateway: &Gateway, time: Duration) -> (Vec<Tally>, Sample, Probes) {
    let is_over = AtomicBool::new(false);
    let tallies: Vec<Tally> = options.only.iter().map(|_| Tally::default()).collect();
    let (mut peak, mut probes) = (Sample::of_process(gateway), Probes::default());
    thread::scope(|scope| {
        for (nth, (attacker, tally)) in options.only.iter().zip(&tallies).enumerate() {
            let field = Field::new(gateway, &is_over, tally, options.seed, nth as u8);
            thread::Builder::new()
                .name(attacker.name.to_owned())
                .spawn_scoped(scope, move || {
                    give_way_to_others();
                    (attacker.run)(field);
                })
                .expect("a thread");
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            probes.ask(gateway);
            for _ in 0..4 {
                thread::sleep(Duration::from_millis(250));
                peak.raise(&Sample::of_process(gateway));
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
    (tallies, peak, probes)
}

/// Attackers have machines of their own elsewhere. Here they share a processor with the clients, the origin and Redis,
/// and how long these wait for it is not what is measured: an attacker's thread gets it when they do not want it
/// (nice(2), which on Linux is about the thread).
fn give_way_to_others() {
    nice(19).expect("a thread may be nicer");
}

/// A sample when nothing is in flight.
fn settled(gateway: &Gateway) -> Sample {
    eventually("nothing is in flight", || gateway.metric("requests_in_flight") == 0);
    Sample::of_all(gateway).expect("the numbers of a gateway that nobody attacks")
}

/// Waits, for a minute at most, until everything is within its limits again. How it is then, and when that was.
fn back_to(gateway: &Gateway, limits: &Limits) -> (Option<Sample>, Duration) {
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < BACK_MAX {
        last = Sample::of_all(gateway).or(last);
        if last.as_ref().is_some_and(|sample| limits.broken(sample).is_empty()) {
            break;
        }
        thread::sleep(Duration::from_millis(500));
    }
    (last, begun.elapsed())
}

fn report_attack(options: &Options, tallies: &[Tally]) {
    println!("\n{:<22} {:>9} {:>9} {:>9} {:>9}", "attacker", "connects", "refused", "sent", "answers");
    for (attacker, tally) in options.only.iter().zip(tallies) {
        let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let (connects, refused) = (count(&tally.connects), count(&tally.refused));
        println!(
            "{:<22} {connects:>9} {refused:>9} {:>9} {:>9}",
            attacker.name,
            count(&tally.sent),
            count(&tally.answers)
        );
    }
}

/// What the gateway says of itself: a panic, a core that has stalled and a reload that was lost are failures, whatever
/// the figures are.
fn judge_log(gateway: &Gateway) -> Vec<String> {
    let log = gateway.log();
    let errors: Vec<&String> = log.iter().filter(|line| line.contains("ERROR")).collect();
    println!("\nthe gateway's log: {} lines, {} of them errors", log.len(), errors.len());
    errors.iter().take(5).for_each(|line| println!("  {line}"));
    let is_fatal =
        |line: &&&String| ["aborts", "has stalled", "not applied"].iter().any(|word| line.contains(word));
    errors.iter().filter(is_fatal).map(|line| format!("the gateway's log: {line}")).collect()
}

/// Clients that the gateway takes at once: more than are well-behaved, and within an attacker's reach.
pub const MAX_CONNECTIONS: usize = 2_000;

/// How long it takes where nothing is said.
const SECONDS: u64 = 600;
const QUICK_SECONDS: u64 = 20;

/// A p99 below this is the machine's own: a scheduler's time slice or two.
const FLOOR_MS: u64 = 15;
/// The same where gateway and attackers are not optimized, and the machine may have other work.
const QUICK_FLOOR_MS: u64 = 100;

/// How long the gateway may take to be as before.
const BACK_MAX: Duration = Duration::from_secs(60);
