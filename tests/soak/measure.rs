//! What is measured, and what is right: latencies of clients, and what the gateway has of everything.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::clients;
use crate::harness::*;

/// Which processors are whose. What is started inherits those of the thread that starts it.
pub struct Cpus {
    gateways: usize,
    others: Vec<usize>,
}

impl Cpus {
    /// The first processor of this process is the gateway's. Where there is one alone, everybody has it.
    pub fn of_this_process() -> Cpus {
        let all = sched_getaffinity(None).expect("the processors of this thread");
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
        let others = if all.len() > 1 { all[1..].to_vec() } else { all.clone() };
        Cpus { gateways: all[0], others }
    }

    pub fn take_gateways(&self) {
        take(&[self.gateways]);
    }

    pub fn take_others(&self) {
        take(&self.others);
    }

    /// As `CORES` takes it. A number alone would be a count.
    pub fn gateways_text(&self) -> String {
        format!("{0}-{0}", self.gateways)
    }

    pub fn told(&self) -> String {
        format!("the gateway on CPU {}, everything else on {:?}", self.gateways, self.others)
    }
}

fn take(cpus: &[usize]) {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    sched_setaffinity(None, &set).expect("processors of this process");
}

/// Durations of exchanges, in order.
pub struct Latencies(Vec<u32>);

impl Latencies {
    pub fn of(mut took_us: Vec<u32>) -> Latencies {
        took_us.sort_unstable();
        Latencies(took_us)
    }

    /// The duration that so many of a thousand do not exceed.
    fn permille(&self, permille: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let us = self.0.get((self.0.len() * permille / 1_000).min(last)).copied().unwrap_or(u32::MAX);
        Duration::from_micros(us.into())
    }
}

/// The p99 under attack is at most three times the quiet one, or what the machine itself takes.
pub fn judge_latencies(quiet: &Latencies, attacked: &Latencies, floor: Duration) -> Option<String> {
    println!("\n{:<22} {:>9} {:>12} {:>12} {:>12}", "well-behaved clients", "answers", "p50", "p99", "max");
    for (name, all) in [("  quiet", quiet), ("  attacked", attacked)] {
        let [p50, p99, max] = [500, 990, 1_000].map(|permille| format!("{:.2?}", all.permille(permille)));
        println!("{name:<22} {:>9} {p50:>12} {p99:>12} {max:>12}", all.0.len());
    }
    let (before, under) = (quiet.permille(990), attacked.permille(990));
    let most = (3 * before).max(floor);
    let is_wrong = under > most || attacked.0.is_empty();
    is_wrong.then(|| format!("p99 under attack: {under:.2?}, at most {most:.2?} (quiet: {before:.2?})"))
}

/// The gauges of `/metrics` that have to be back.
const GAUGES: [&str; 5] =
    ["connections_open", "requests_in_flight", "tunnels_open", "handshakes_pending", "redis_breaker_open"];

/// The place of `connections_open`.
const CONNECTIONS: usize = 0;

/// Counters that tell whether limits held. They are reported and not judged: Redis shares its processor with attackers,
/// so a late reply may be the machine's fault.
const COUNTERS: [&str; 4] = [
    "limit_unlimited_timeout_total",
    "limit_unlimited_breaker_total",
    "redis_timeouts_total",
    "reloads_total",
];

/// What the gateway has at one moment.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    descriptors: u64,
    resident_kib: u64,
    threads: u64,
    /// Of the whole machine, in pages: /proc/net/sockstat.
    socket_pages: u64,
    /// Pipes that the gateway keeps, each two descriptors.
    pipes: u64,
    gauges: [u64; GAUGES.len()],
    counters: [u64; COUNTERS.len()],
}

impl Sample {
    /// What can be seen from outside.
    pub fn of_process(gateway: &Gateway) -> Sample {
        let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let pages = sockstat.lines().find(|line| line.starts_with("TCP:"));
        let pages = pages.and_then(|line| line.split_whitespace().last()?.parse().ok());
        Sample {
            descriptors: gateway.fd_count() as u64,
            resident_kib: gateway.rss_kib(),
            threads: gateway.threads() as u64,
            socket_pages: pages.unwrap_or_default(),
            ..Sample::default()
        }
    }

    /// With the gateway's own numbers; `None`: it does not give them, as somebody has the admin port.
    pub fn of_all(gateway: &Gateway) -> Option<Sample> {
        let text = metrics(gateway)?;
        let sum = |name: &str| {
            let samples =
                text.lines().filter_map(|line| line.strip_prefix("realchat_gateway_")?.rsplit_once(' '));
            let values = samples.filter(|(sample, _)| sample.split('{').next() == Some(name));
            values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
        };
        let pipes = sum("pipes_open");
        let (gauges, counters) = (GAUGES.map(sum), COUNTERS.map(sum));
        Some(Sample { pipes, gauges, counters, ..Sample::of_process(gateway) })
    }

    pub fn raise(&mut self, by: &Sample) {
        self.descriptors = self.descriptors.max(by.descriptors);
        self.resident_kib = self.resident_kib.max(by.resident_kib);
        self.threads = self.threads.max(by.threads);
        self.socket_pages = self.socket_pages.max(by.socket_pages);
    }
}

/// Probes of the admin port, as an orchestrator sends them: one a second. A pod that fails them is restarted.
#[derive(Default)]
pub struct Probes {
    asked: u64,
    failed: u64,
}

impl Probes {
    pub fn ask(&mut self, gateway: &Gateway) {
        self.asked += 1;
        self.failed += u64::from(answer(gateway, "/readyz", PROBE_MAX).is_none());
    }

    pub fn judge(&self) -> Option<String> {
        println!("\nprobes of /readyz: {}, {} of them failed", self.asked, self.failed);
        (self.failed > 0).then(|| format!("{} of {} probes of /readyz failed", self.failed, self.asked))
    }
}

/// How long a probe waits. Kubernetes' default is a second; the processor is shared here.
const PROBE_MAX: Duration = Duration::from_secs(3);

/// The text of `/metrics`, if there is one.
fn metrics(gateway: &Gateway) -> Option<String> {
    answer(gateway, "/metrics", Duration::from_secs(5))
}

/// A good answer of the admin port.
fn answer(gateway: &Gateway, path: &str, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&gateway.admin, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", gateway.admin);
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200 ").then_some(text)
}

/// What the gateway may have after the attack.
pub struct Limits {
    before: Sample,
    resident_kib: u64,
}

impl Limits {
    /// After the attack the gateway is at most a tenth and 2 MiB larger.
    pub fn after(before: &Sample) -> Limits {
        Limits { before: before.clone(), resident_kib: before.resident_kib * 11 / 10 + 2 * 1024 }
    }

    /// Well-behaved clients that have no connection at the moment may have one afterwards.
    fn to_come(&self) -> u64 {
        clients::COUNT.saturating_sub(self.before.gauges[CONNECTIONS])
    }

    /// What of the sample is over its limit.
    pub fn broken(&self, sample: &Sample) -> Vec<String> {
        let mut broken = Vec::new();
        let mut at_most = |what: &str, is: u64, most: u64| {
            if is > most {
                broken.push(format!("{what}: {is}, at most {most}"));
            }
        };
        let pipes = 2 * sample.pipes.saturating_sub(self.before.pipes);
        let descriptors = self.before.descriptors + pipes + self.to_come();
        at_most("descriptors", sample.descriptors, descriptors);
        at_most("resident KiB", sample.resident_kib, self.resident_kib);
        at_most("threads", sample.threads, self.before.threads);
        for (at, name) in GAUGES.iter().enumerate() {
            let to_come = if at == CONNECTIONS { self.to_come() } else { 0 };
            at_most(name, sample.gauges[at], self.before.gauges[at] + to_come);
        }
        broken
    }
}

pub fn judge_samples(
    before: &Sample,
    peak: &Sample,
    after: &Option<Sample>,
    limits: &Limits,
    took: Duration,
) -> Vec<String> {
    let Some(after) = after else {
        return vec!["the admin port gives no metrics after the attack".to_owned()];
    };
    println!("\n{:<30} {:>10} {:>10} {:>10}", "the gateway", "before", "peak", "after");
    let line = |name: &str, before: u64, peak: Option<u64>, after: u64| {
        let peak = peak.map_or("-".to_owned(), |peak| peak.to_string());
        println!("  {name:<28} {before:>10} {peak:>10} {after:>10}");
    };
    line("descriptors", before.descriptors, Some(peak.descriptors), after.descriptors);
    line("resident KiB", before.resident_kib, Some(peak.resident_kib), after.resident_kib);
    line("threads", before.threads, Some(peak.threads), after.threads);
    line("pipes_open", before.pipes, None, after.pipes);
    for (at, name) in GAUGES.iter().enumerate() {
        line(name, before.gauges[at], None, after.gauges[at]);
    }
    for (at, name) in COUNTERS.iter().enumerate() {
        line(name, before.counters[at], None, after.counters[at]);
    }
    line("socket pages of the machine", before.socket_pages, Some(peak.socket_pages), after.socket_pages);
    let broken = limits.broken(after);
    let back = if broken.is_empty() { "back to before" } else { "not back" };
    println!("  {back} after {took:.1?}");
    broken.into_iter().map(|what| format!("after the attack: {what}")).collect()
}
