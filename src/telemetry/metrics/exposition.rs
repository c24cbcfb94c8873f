//! The text of a scrape: Prometheus text 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>) or OpenMetrics 1.0
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::group::{self, Labels, Metric, MetricGroup};
use super::kinds::Histogram;

/// How a scrape is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It grows and shrinks.
    Gauge,
    /// Durations by size.
    Histogram,
}

/// What a scrape shows. Samples with the same name and the same labels are added up, so the groups of several cores
/// make one number unless the label tells them apart.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<Family>,
    index: HashMap<String, usize>,
}

/// The samples of one metric.
#[derive(Debug)]
struct Family {
    /// With the prefix, without the suffix of its kind.
    name: String,
    kind: Kind,
    help: String,
    samples: Vec<Sample>,
    /// Of a sample by its labels.
    index: HashMap<String, usize>,
}

/// A value and its labels.
#[derive(Debug)]
struct Sample {
    /// As the text has them.
    labels: String,
    /// The same, each apart.
    pairs: Vec<(String, String)>,
    value: Number,
}

#[derive(Debug, Clone)]
enum Number {
    Whole(u64),
    /// Seconds, in µs.
    Time(u64),
    Buckets {
        bounds_us: &'static [u64],
        cumulative: Vec<u64>,
        sum_us: u64,
    },
}

impl Exposition {
    /// Adds every metric of a group, each with these labels.
    pub fn group(&mut self, labels: Labels<'_>, group: &dyn MetricGroup) {
        group.each(&mut |metric| self.metric(labels, &metric));
    }

    /// Adds a metric of the gateway's, named without prefix and suffix.
    pub fn number(&mut self, name: &str, kind: Kind, help: &str, labels: Labels<'_>, value: u64) {
        self.family(&format!("{PREFIX}{name}"), kind, help).add(labels, Number::Whole(value));
    }

    /// Adds a metric that processes of every kind have: it has no prefix. A time is in µs.
    pub fn process(&mut self, name: &str, kind: Kind, help: &str, value: u64) {
        let is_time = name.ends_with("_seconds");
        let value = if is_time { Number::Time(value) } else { Number::Whole(value) };
        self.family(name, kind, help).add(&[], value);
    }

    fn metric(&mut self, labels: Labels<'_>, metric: &Metric<'_>) {
        let family =
            self.family(&format!("{PREFIX}{}", metric.name), kind(&metric.value), metric.help.trim());
        let counted = |family: &mut Family, label, value, count| {
            family.add(&[labels, &[(label, value)]].concat(), Number::Whole(count));
        };
        match &metric.value {
            group::Value::Counter(value) | group::Value::Gauge(value) => {
                family.add(labels, Number::Whole(*value))
            }
            group::Value::Time(us) | group::Value::Span(us) => family.add(labels, Number::Time(*us)),
            group::Value::Labelled(all) => {
                all.each().for_each(|(value, count)| counted(family, all.label(), value, count));
            }
            group::Value::Codes(all) => {
                all.each().for_each(|(value, count)| counted(family, all.label(), value, count));
            }
            group::Value::Histogram(histogram) => family.add(labels, Number::of(histogram)),
        }
    }

    fn family(&mut self, name: &str, kind: Kind, help: &str) -> &mut Family {
        let at = match self.index.get(name) {
            Some(at) => *at,
            None => {
                self.index.insert(name.to_owned(), self.families.len());
                self.families.push(Family {
                    name: name.to_owned(),
                    kind,
                    help: help.to_owned(),
                    samples: Vec::new(),
                    index: HashMap::new(),
                });
                self.families.len() - 1
            }
        };
        &mut self.families[at]
    }

    /// The same as JSON: the samples of each metric, by the name of its samples without the gateway's prefix. That of a
    /// histogram has the upper ends of its buckets in seconds, the observations up to each and all, and their sum.
    pub fn json(&self) -> Value {
        let family = |family: &Family| {
            let name = family.name.strip_prefix(PREFIX).unwrap_or(&family.name);
            (format!("{name}{}", family.total()), family.samples.iter().map(Sample::json).collect::<Value>())
        };
        Value::Object(self.families.iter().map(family).collect())
    }

    /// The text.
    pub fn text(&self, format: Format) -> String {
        let mut out = String::new();
        self.families.iter().for_each(|family| family.write(format, &mut out));
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

impl Family {
    fn add(&mut self, labels: Labels<'_>, value: Number) {
        let text = written(labels);
        match self.index.get(&text) {
            Some(at) => self.samples[*at].value.add(value),
            None => {
                self.index.insert(text.clone(), self.samples.len());
                let pairs = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                self.samples.push(Sample { labels: text, pairs: pairs.collect(), value });
            }
        }
    }

    /// What the names of its samples end in.
    fn total(&self) -> &'static str {
        if self.kind == Kind::Counter { "_total" } else { "" }
    }

    /// "Only one TYPE line may exist for a given metric name", before its first sample; HELP likewise. The name of a
    /// counter ends in `_total` in its samples, and in these lines only in Prometheus text.
    fn write(&self, format: Format, out: &mut String) {
        let total = self.total();
        let announced = if format == Format::Prometheus { total } else { "" };
        let name = &self.name;
        let _ = write!(out, "# HELP {name}{announced} ");
        escape(out, &self.help, Text::Help(format));
        let _ = writeln!(out, "\n# TYPE {name}{announced} {}", self.kind.name());
        for Sample { labels, value, .. } in &self.samples {
            let _ = match value {
                Number::Whole(value) => writeln!(out, "{name}{total}{} {value}", braced(labels)),
                Number::Time(us) => writeln!(out, "{name}{total}{} {}", braced(labels), seconds(*us)),
                Number::Buckets { bounds_us, cumulative, sum_us } => {
                    buckets(out, name, labels, (bounds_us, cumulative), *sum_us)
                }
            };
        }
    }
}

impl Sample {
    fn json(&self) -> Value {
        let labels = self.pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let labels = Value::Object(labels.collect());
        match &self.value {
            Number::Whole(value) => json!({ "labels": labels, "value": value }),
            Number::Time(us) => json!({ "labels": labels, "value": seconds(*us) }),
            Number::Buckets { bounds_us, cumulative, sum_us } => {
                let bounds: Vec<f64> = bounds_us.iter().map(|us| seconds(*us)).collect();
                json!({ "labels": labels, "bounds": bounds, "counts": cumulative, "sum": seconds(*sum_us) })
            }
        }
    }
}

impl Number {
    fn of(histogram: &Histogram) -> Number {
        Number::Buckets {
            bounds_us: histogram.bounds_us(),
            cumulative: histogram.cumulative().map(|(_, count)| count).collect(),
            sum_us: histogram.sum_us(),
        }
    }

    fn add(&mut self, other: Number) {
        match (self, other) {
            (Number::Whole(value), Number::Whole(more)) | (Number::Time(value), Number::Time(more)) => {
                *value = value.wrapping_add(more);
            }
            (
                Number::Buckets { cumulative, sum_us, .. },
                Number::Buckets { cumulative: more, sum_us: sum_more, .. },
            ) => {
                cumulative.iter_mut().zip(more).for_each(|(count, more)| *count += more);
                *sum_us = sum_us.wrapping_add(sum_more);
            }
            // A name has one kind: the test of the gateway's metrics holds them to it.
            _ => {}
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// The buckets of a histogram are cumulative; times are in seconds.
fn buckets(
    out: &mut String,
    name: &str,
    labels: &str,
    (bounds_us, cumulative): (&[u64], &[u64]),
    sum_us: u64,
) -> std::fmt::Result {
    let comma = if labels.is_empty() { "" } else { "," };
    let bounds = bounds_us.iter().map(|us| seconds(*us).to_string()).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(cumulative) {
        writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}")?;
    }
    writeln!(out, "{name}_sum{} {}", braced(labels), seconds(sum_us))?;
    writeln!(out, "{name}_count{} {}", braced(labels), cumulative.last().unwrap_or(&0))
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn kind(value: &group::Value<'_>) -> Kind {
    use group::Value as Of;
    match value {
        Of::Counter(_) | Of::Time(_) | Of::Labelled(_) | Of::Codes(_) => Kind::Counter,
        Of::Gauge(_) | Of::Span(_) => Kind::Gauge,
        Of::Histogram(_) => Kind::Histogram,
    }
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

/// `a="b",c="d"`.
fn written(labels: Labels<'_>) -> String {
    let mut out = String::new();
    for (nth, (label, value)) in labels.iter().enumerate() {
        let _ = write!(out, "{}{label}=\"", if nth == 0 { "" } else { "," });
        escape(&mut out, value, Text::Label);
        out.push('"');
    }
    out
}

/// Where a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Help(Format),
    Label,
}

/// Escapes backslash and line feed, and the quote where the format wants it.
fn escape(out: &mut String, text: &str, kind: Text) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if kind != Text::Help(Format::Prometheus) => out.push_str("\\\""),
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
            /// Errors by code.
            codes errors("code") = "errors";
            /// How long it worked.
            time busy = "busy_seconds";
            /// How late it is.
            span lag = "lag_seconds";
        }
    }

    fn exposition() -> Exposition {
        let (a, b) = (Group::default(), Group::default());
        a.requests.add(7);
        b.connections_open.add(2);
        b.responses.at(1).add(4);
        b.redis_latency.observe(300);
        b.redis_latency.observe(1_000_000);
        a.errors.add("no_route");
        b.errors.add("limited");
        b.errors.add("no_route");
        a.busy.add(1_500_000);
        b.lag.set(2_000);
        let mut all = Exposition::default();
        all.group(&[("core", "0")], &a);
        all.group(&[("core", "8")], &b);
        all.number("lines", Kind::Counter, "a\\b\nc \"d\"", &[], 9);
        all.number("up", Kind::Gauge, "Up.", &[("name", "a\"\\\n")], 1);
        all.number("up", Kind::Gauge, "Up.", &[("name", "b")], 0);
        all.process("process_cpu_seconds", Kind::Counter, "CPU time.", 2_500_000);
        all
    }

    #[test]
    fn every_number_has_its_line() {
        let text = exposition().text(Format::Prometheus);
        for line in [
            "# HELP realchat_gateway_requests_total Request heads received, refused ones included.",
            "# TYPE realchat_gateway_requests_total counter",
            "realchat_gateway_requests_total{core=\"0\"} 7",
            "realchat_gateway_requests_total{core=\"8\"} 0",
            "# TYPE realchat_gateway_connections_open gauge",
            "realchat_gateway_connections_open{core=\"8\"} 2",
            "realchat_gateway_responses_total{core=\"8\",class=\"4xx\"} 4",
            "realchat_gateway_responses_total{core=\"0\",class=\"2xx\"} 0",
            "# TYPE realchat_gateway_redis_latency_seconds histogram",
            "realchat_gateway_redis_latency_seconds_bucket{core=\"8\",le=\"0.00025\"} 0",
            "realchat_gateway_redis_latency_seconds_bucket{core=\"8\",le=\"0.025\"} 1",
            "realchat_gateway_redis_latency_seconds_bucket{core=\"8\",le=\"+Inf\"} 2",
            "realchat_gateway_redis_latency_seconds_sum{core=\"8\"} 1.0003",
            "realchat_gateway_redis_latency_seconds_count{core=\"8\"} 2",
            "realchat_gateway_errors_total{core=\"8\",code=\"no_route\"} 1",
            "realchat_gateway_busy_seconds_total{core=\"0\"} 1.5",
            "realchat_gateway_lag_seconds{core=\"8\"} 0.002",
            "realchat_gateway_lines_total 9",
            "# HELP realchat_gateway_lines_total a\\\\b\\nc \"d\"",
            "realchat_gateway_up{name=\"a\\\"\\\\\\n\"} 1",
            "realchat_gateway_up{name=\"b\"} 0",
            "process_cpu_seconds_total 2.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn json_has_the_same_numbers_with_their_labels_apart() {
        let json = exposition().json();
        assert_eq!(json["requests_total"][0], json!({ "labels": { "core": "0" }, "value": 7 }));
        assert_eq!(json["up"][0]["labels"]["name"], "a\"\\\n");
        assert_eq!(json["process_cpu_seconds_total"][0]["value"], 2.5);
        assert_eq!(
            json["redis_latency_seconds"][1],
            json!({
                "labels": { "core": "8" }, "bounds": [0.00025, 0.0005, 0.025], "counts": [0, 1, 1, 2], "sum": 1.0003,
            })
        );
    }

    #[test]
    fn without_a_label_of_their_own_the_cores_are_added_up() {
        let (a, b) = (Group::default(), Group::default());
        for group in [&a, &b] {
            group.requests.add(3);
            group.responses.at(0).add(2);
            group.redis_latency.observe(300);
            group.errors.add("limited");
        }
        let mut all = Exposition::default();
        all.group(&[], &a);
        all.group(&[], &b);
        let text = all.text(Format::Prometheus);
        for line in [
            "realchat_gateway_requests_total 6",
            "realchat_gateway_responses_total{class=\"2xx\"} 4",
            "realchat_gateway_redis_latency_seconds_bucket{le=\"0.0005\"} 2",
            "realchat_gateway_redis_latency_seconds_sum 0.0006",
            "realchat_gateway_redis_latency_seconds_count 2",
            "realchat_gateway_errors_total{code=\"limited\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_family_is_announced_once_and_stands_together() {
        for format in [Format::Prometheus, Format::OpenMetrics] {
            let text = exposition().text(format);
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
                    let is_total = format == Format::OpenMetrics && name.ends_with("_total");
                    assert_eq!(if is_total { name.trim_end_matches("_total") } else { family }, current);
                }
            }
            assert!(text.ends_with('\n') && announced.len() == 10, "{announced:?}");
            assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
        }
    }
}
