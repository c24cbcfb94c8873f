//! The numbers as Prometheus text, exposition format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::Write;
use std::sync::Arc;

use super::counters::Histogram;
use super::{Counters, TunnelEnd};

/// A number of the process rather than of a core.
#[derive(Debug, Clone, Copy)]
pub struct Extra<'a> {
    /// Its name without prefix; the suffix `_total` of a counter is added.
    pub name: &'a str,
    /// `counter` or `gauge`.
    pub kind: &'a str,
    /// One sentence.
    pub help: &'a str,
    /// Its labels, if any, by name.
    pub labels: &'a [(&'a str, &'a str)],
    /// The value.
    pub value: u64,
}

/// Appends everything. `cores`: CPU number and counters of each core; `drivers`: CPU number and I/O driver of
/// each. Entries of `extra` that share a name must stand together.
pub fn render(
    cores: &[(usize, Arc<Counters>)],
    drivers: &[(usize, &str)],
    extra: &[Extra<'_>],
    out: &mut String,
) {
    family(out, "build_info", "gauge", "The version that runs.");
    sample(out, "build_info", "gauge", &[("version", env!("CARGO_PKG_VERSION"))], 1);

    family(out, "driver", "gauge", "The I/O driver of each core.");
    for (cpu, driver) in drivers {
        sample(out, "driver", "gauge", &[("core", &cpu.to_string()), ("driver", driver)], 1);
    }

    let cores: Vec<(String, &Counters)> = cores.iter().map(|(cpu, c)| (cpu.to_string(), &**c)).collect();
    let columns: Vec<Vec<u64>> = cores.iter().map(|(_, counters)| column(counters)).collect();
    let mut row = 0;
    Counters::default().each(|name, kind, help, _| {
        family(out, name, kind, help);
        for ((cpu, _), column) in cores.iter().zip(&columns) {
            sample(out, name, kind, &[("core", cpu)], column[row]);
        }
        row += 1;
    });

    family(out, "responses", "counter", "Final responses to clients by class.");
    for (cpu, counters) in &cores {
        for (class, count) in CLASSES.iter().zip(&counters.responses) {
            sample(out, "responses", "counter", &[("core", cpu), ("class", class)], count.get());
        }
    }

    family(out, "tunnels_closed", "counter", "WebSocket tunnels that have ended, by what ended them.");
    for (cpu, counters) in &cores {
        for (end, count) in TunnelEnd::ALL.iter().zip(&counters.tunnels_closed) {
            sample(out, "tunnels_closed", "counter", &[("core", cpu), ("reason", end.text())], count.get());
        }
    }

    latency(&cores, out);

    let mut last = "";
    for metric in extra {
        if metric.name != last {
            family(out, metric.name, metric.kind, metric.help);
        }
        last = metric.name;
        sample(out, metric.name, metric.kind, metric.labels, metric.value);
    }
}

/// A histogram's buckets are cumulative, and times are in seconds.
fn latency(cores: &[(String, &Counters)], out: &mut String) {
    const NAME: &str = "redis_latency_seconds";
    family(out, NAME, "histogram", "How long Redis took for the calls that it answered.");
    let seconds = |us: u64| us as f64 / 1e6;
    for (cpu, counters) in cores {
        let histogram = &counters.redis_latency;
        let mut total = 0;
        for (nth, bucket) in histogram.buckets.iter().enumerate() {
            total += bucket.get();
            let bound = Histogram::BOUNDS_US.get(nth);
            let bound = bound.map_or("+Inf".to_owned(), |us| seconds(*us).to_string());
            let _ = writeln!(out, "{PREFIX}{NAME}_bucket{{core=\"{cpu}\",le=\"{bound}\"}} {total}");
        }
        let sum = seconds(histogram.sum_us.get());
        let _ = writeln!(out, "{PREFIX}{NAME}_sum{{core=\"{cpu}\"}} {sum}");
        let _ = writeln!(out, "{PREFIX}{NAME}_count{{core=\"{cpu}\"}} {total}");
    }
}

fn column(counters: &Counters) -> Vec<u64> {
    let mut values = Vec::new();
    counters.each(|_, _, _, value| values.push(value));
    values
}

/// "Only one TYPE line may exist for a given metric name", before its first sample; HELP likewise.
fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let suffix = suffix(kind);
    let _ = write!(out, "# HELP {PREFIX}{name}{suffix} ");
    escape(out, help.trim(), false);
    let _ = writeln!(out, "\n# TYPE {PREFIX}{name}{suffix} {kind}");
}

fn sample(out: &mut String, name: &str, kind: &str, labels: &[(&str, &str)], value: u64) {
    let _ = write!(out, "{PREFIX}{name}{}", suffix(kind));
    for (nth, (label, text)) in labels.iter().enumerate() {
        let _ = write!(out, "{}{label}=\"", if nth == 0 { '{' } else { ',' });
        escape(out, text, true);
        out.push('"');
    }
    let _ = writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" });
}

fn suffix(kind: &str) -> &'static str {
    if kind == "counter" { "_total" } else { "" }
}

/// Backslash and line feed, and in a label's value the quote.
fn escape(out: &mut String, text: &str, is_label: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if is_label => out.push_str("\\\""),
            _ => out.push(c),
        }
    }
}

const PREFIX: &str = "realchat_gateway_";
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn text() -> String {
        let (a, b) = (Arc::new(Counters::default()), Arc::new(Counters::default()));
        a.requests.add(7);
        b.connections_open.add(2);
        b.responses[3].add(4);
        b.redis_latency.observe(300);
        b.redis_latency.observe(1_000_000);
        let extra = [
            Extra { name: "lines", kind: "counter", help: "a\\b\nc", labels: &[], value: 9 },
            Extra { name: "up", kind: "gauge", help: "Up.", labels: &[("name", "a\"\\\n")], value: 1 },
            Extra { name: "up", kind: "gauge", help: "Up.", labels: &[("name", "b")], value: 0 },
        ];
        let mut out = String::new();
        render(&[(0, a), (8, b)], &[(0, "io_uring"), (8, "epoll")], &extra, &mut out);
        out
    }

    #[test]
    fn every_number_has_its_line() {
        let text = text();
        for line in [
            "# HELP realchat_gateway_requests_total Request heads received, refused ones included.",
            "# TYPE realchat_gateway_requests_total counter",
            "realchat_gateway_requests_total{core=\"0\"} 7",
            "realchat_gateway_requests_total{core=\"8\"} 0",
            "# TYPE realchat_gateway_connections_open gauge",
            "realchat_gateway_connections_open{core=\"8\"} 2",
            "realchat_gateway_responses_total{core=\"8\",class=\"4xx\"} 4",
            "realchat_gateway_responses_total{core=\"0\",class=\"2xx\"} 0",
            "realchat_gateway_driver{core=\"0\",driver=\"io_uring\"} 1",
            "realchat_gateway_driver{core=\"8\",driver=\"epoll\"} 1",
            concat!("realchat_gateway_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# TYPE realchat_gateway_redis_latency_seconds histogram",
            "realchat_gateway_redis_latency_seconds_bucket{core=\"8\",le=\"0.00025\"} 0",
            "realchat_gateway_redis_latency_seconds_bucket{core=\"8\",le=\"0.025\"} 1",
            "realchat_gateway_redis_latency_seconds_bucket{core=\"8\",le=\"+Inf\"} 2",
            "realchat_gateway_redis_latency_seconds_sum{core=\"8\"} 1.0003",
            "realchat_gateway_redis_latency_seconds_count{core=\"8\"} 2",
            "realchat_gateway_lines_total 9",
            "# HELP realchat_gateway_lines_total a\\\\b\\nc",
            "realchat_gateway_up{name=\"a\\\"\\\\\\n\"} 1",
            "realchat_gateway_up{name=\"b\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_family_is_announced_once_and_stands_together() {
        let text = text();
        let mut announced = HashSet::new();
        let mut current = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap();
                assert!(announced.insert(current), "{current} twice");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                let parts = ["_bucket", "_sum", "_count"];
                let family = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
                assert_eq!(family, current);
            }
        }
        assert!(text.ends_with('\n') && announced.len() > 20);
    }

    #[test]
    fn no_core_is_no_panic() {
        let mut out = String::new();
        render(&[], &[], &[], &mut out);
        assert!(out.contains("# TYPE realchat_gateway_ticks_total counter"));
    }
}
