//! What the kernel knows of this process, under the names that Prometheus' client libraries use
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::telemetry::metrics::{Exposition, Kind};

/// Adds them. What cannot be read is left out. The files are the kernel's: reading them waits for no disk.
pub(super) fn expose(all: &mut Exposition) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::read) {
        let us = |ticks: u64| ticks * 1_000_000 / clock_ticks_per_second();
        let help = "CPU time of the process, in user and system mode.";
        all.process("process_cpu_seconds", Kind::Counter, help, us(stat.cpu_ticks));
        let help = "Memory that the process has mapped, in bytes.";
        all.process("process_virtual_memory_bytes", Kind::Gauge, help, stat.virtual_bytes);
        let help = "Memory of the process that is in RAM, in bytes.";
        all.process(
            "process_resident_memory_bytes",
            Kind::Gauge,
            help,
            stat.resident_pages * page_size() as u64,
        );
        all.process("process_threads", Kind::Gauge, "Threads of the process.", stat.threads);
        if let Some(booted_s) = booted_unix_s() {
            let help = "When the process began, in seconds since 1970.";
            let begun_us = booted_s * 1_000_000 + us(stat.begun_ticks);
            all.process("process_start_time_seconds", Kind::Gauge, help, begun_us);
        }
    }
    if let Some(open) = open_descriptors() {
        all.process("process_open_fds", Kind::Gauge, "File descriptors that are open.", open);
    }
    if let Some(max) = getrlimit(Resource::Nofile).current {
        all.process("process_max_fds", Kind::Gauge, "File descriptors that may be open.", max);
    }
}

/// When the process began, in seconds since 1970.
pub(super) fn started_unix_s() -> Option<u64> {
    let stat = Stat::read(&fs::read_to_string("/proc/self/stat").ok()?)?;
    Some(booted_unix_s()? + stat.begun_ticks / clock_ticks_per_second())
}

/// Part of `/proc/self/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// After the boot.
    begun_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// The name, in parentheses, may have spaces and parentheses in it. What follows it begins with field 3.
    fn read(text: &str) -> Option<Stat> {
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            begun_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn booted_unix_s() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Since Linux 6.2 the size of the folder is the number; before, the entries are counted.
fn open_descriptors() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Format;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 700 42 13 14 15 16 9 18 5000 8192 3 0";
        let expected =
            Stat { cpu_ticks: 742, threads: 9, begun_ticks: 5_000, virtual_bytes: 8_192, resident_pages: 3 };
        assert_eq!(Stat::read(&format!("17 (a ) b) {rest}")), Some(expected));
        for malformed in ["", "17 (a", "17 (a) S 1 2", &format!("17 (a) {}", rest.replace("700", "x"))] {
            assert_eq!(Stat::read(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn this_process_has_every_figure() {
        let mut all = Exposition::default();
        expose(&mut all);
        let text = all.text(Format::Prometheus);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse::<f64>().expect("a number")
        };
        assert!(value("process_resident_memory_bytes") > 1e6 && value("process_threads") >= 2.0);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let now_s = crate::clock::unix_s() as f64;
        assert!((now_s - 86_400.0..=now_s + 2.0).contains(&value("process_start_time_seconds")));
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
    }
}
