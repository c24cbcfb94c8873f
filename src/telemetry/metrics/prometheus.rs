//! Metrics as Prometheus text, exposition format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
#![allow(missing_docs)] // Of some fields and methods the name says everything.

use std::fmt::Write;

use super::group::{Metric, MetricGroup, Value};
use super::kinds::{Histogram, Labelled};

/// One core's metrics.
#[derive(Clone, Copy)]
pub struct Core<'a> {
    /// The number of the core's CPU.
    pub cpu: usize,
    pub driver: &'a str,
    pub metrics: &'a dyn MetricGroup,
}

/// A metric of the process, not of a core.
#[derive(Debug, Clone, Copy)]
pub struct Extra<'a> {
    /// The name without prefix; a counter gets the suffix `_total`.
    pub name: &'a str,
    /// `counter` or `gauge`.
    pub kind: &'a str,
    /// One sentence.
    pub help: &'a str,
    /// The labels, by name.
    pub labels: &'a [(&'a str, &'a str)],
    pub value: u64,
}

/// Appends all metrics. Entries of `extra` with the same name must be adjacent. `none`: metrics of the same type, all
/// zero; they give the names if there is no core.
pub fn render(cores: &[Core<'_>], none: &dyn MetricGroup, extra: &[Extra<'_>], out: &mut String) {
    family(out, "build_info", "gauge", "The version that runs.");
    sample(out, "build_info", "gauge", &[("version", env!("CARGO_PKG_VERSION"))], 1);

    family(out, "driver", "gauge", "The I/O driver of each core.");
    for core in cores {
        let labels = [("core", core.cpu.to_string()), ("driver", core.driver.to_owned())];
        sample(out, "driver", "gauge", &labels.each_ref().map(|(name, value)| (*name, value.as_str())), 1);
    }

    // "All lines for a given metric must be provided as one single group": a pass for each metric over all cores.
    let mut families = Vec::new();
    none.each(&mut |metric| families.push(Family::announced(&metric)));
    for core in cores {
        let cpu = core.cpu.to_string();
        let mut family = families.iter_mut();
        core.metrics.each(&mut |metric| {
            if let Some(family) = family.next() {
                family.add(&metric, &cpu);
            }
        });
    }
    families.iter().for_each(|family| out.push_str(&family.text));

    let mut last = "";
    for metric in extra {
        if metric.name != last {
            family(out, metric.name, metric.kind, metric.help);
        }
        last = metric.name;
        sample(out, metric.name, metric.kind, metric.labels, metric.value);
    }
}

/// The lines of one metric.
struct Family {
    text: String,
}

impl Family {
    fn announced(metric: &Metric<'_>) -> Family {
        let mut text = String::new();
        family(&mut text, metric.name, kind(&metric.value), metric.help);
        Family { text }
    }

    /// Adds the samples of one core.
    fn add(&mut self, metric: &Metric<'_>, cpu: &str) {
        let (out, name) = (&mut self.text, metric.name);
        match &metric.value {
            Value::Counter(value) | Value::Gauge(value) => {
                sample(out, name, kind(&metric.value), &[("core", cpu)], *value);
            }
            Value::Labelled(family) => labelled(out, name, family, cpu),
            Value::Histogram(histogram) => buckets(out, name, histogram, cpu),
        }
    }
}

fn labelled(out: &mut String, name: &str, family: &Labelled, cpu: &str) {
    for (value, count) in family.each() {
        sample(out, name, "counter", &[("core", cpu), (family.label(), value)], count);
    }
}

/// The buckets of a histogram are cumulative; times are in seconds.
fn buckets(out: &mut String, name: &str, histogram: &Histogram, cpu: &str) {
    let seconds = |us: u64| us as f64 / 1e6;
    let mut total = 0;
    for (bound_us, count) in histogram.cumulative() {
        total = count;
        let bound = bound_us.map_or("+Inf".to_owned(), |us| seconds(us).to_string());
        let _ = writeln!(out, "{PREFIX}{name}_bucket{{core=\"{cpu}\",le=\"{bound}\"}} {total}");
    }
    let sum = seconds(histogram.sum_us());
    let _ = writeln!(out, "{PREFIX}{name}_sum{{core=\"{cpu}\"}} {sum}");
    let _ = writeln!(out, "{PREFIX}{name}_count{{core=\"{cpu}\"}} {total}");
}

fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Counter(_) | Value::Labelled(_) => "counter",
        Value::Gauge(_) => "gauge",
        Value::Histogram(_) => "histogram",
    }
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

/// Escapes backslash and line feed, and the quote in a label's value.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    crate::metric_group! {
        /// A group of every kind.
        struct Group {
            /// Request heads received, refused ones included.
            counter requests = "requests";
            /// Connections that are open now.
            gauge connections_open = "connections_open";
            /// Final responses to clients by class.
            labelled responses("class", &["2xx", "4xx"]) = "responses";
            /// How long Redis took.
            histogram redis_latency(&[250, 500, 25_000]) = "redis_latency_seconds";
        }
    }

    fn text() -> String {
        let (a, b) = (Group::default(), Group::default());
        a.requests.add(7);
        b.connections_open.add(2);
        b.responses.at(1).add(4);
        b.redis_latency.observe(300);
        b.redis_latency.observe(1_000_000);
        let extra = [
            Extra { name: "lines", kind: "counter", help: "a\\b\nc", labels: &[], value: 9 },
            Extra { name: "up", kind: "gauge", help: "Up.", labels: &[("name", "a\"\\\n")], value: 1 },
            Extra { name: "up", kind: "gauge", help: "Up.", labels: &[("name", "b")], value: 0 },
        ];
        let cores =
            [Core { cpu: 0, driver: "io_uring", metrics: &a }, Core { cpu: 8, driver: "epoll", metrics: &b }];
        let mut out = String::new();
        render(&cores, &Group::default(), &extra, &mut out);
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
        assert!(text.ends_with('\n') && announced.len() == 8);
    }

    #[test]
    fn no_core_is_no_panic() {
        let mut out = String::new();
        render(&[], &Group::default(), &[], &mut out);
        assert!(out.contains("# TYPE realchat_gateway_requests_total counter"));
    }
}
