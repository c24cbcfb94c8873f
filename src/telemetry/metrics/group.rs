//! Groups of metrics: what a module declares, and how a scrape reads it.

use super::kinds::{Codes, Histogram, Labelled};

/// One metric as a scrape sees it.
#[derive(Debug)]
pub struct Metric<'m> {
    /// The name without prefix and without the suffix of its kind.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Kind and value.
    pub value: Value<'m>,
}

/// The value of a metric, by kind.
#[derive(Debug)]
pub enum Value<'m> {
    /// It only grows.
    Counter(u64),
    /// It grows and shrinks.
    Gauge(u64),
    /// A duration that only grows, in µs.
    Time(u64),
    /// A duration that grows and shrinks, in µs.
    Span(u64),
    /// Durations by size.
    Histogram(&'m Histogram),
    /// One counter for each value of a label.
    Labelled(&'m Labelled),
    /// One counter for each code that was counted.
    Codes(&'m Codes),
}

/// Labels: name and value of each.
pub type Labels<'l> = &'l [(&'l str, &'l str)];

/// The metrics of one module, on one core.
pub trait MetricGroup {
    /// Calls `visit` with every metric, always in the same order.
    fn each(&self, visit: &mut dyn FnMut(Metric<'_>));
}

/// Declares a group of metrics. Each line gives the help text, the kind, the field, and the name in a scrape:
///
/// ```
/// realchat_gateway::metric_group! {
///     /// The connection to Redis.
///     pub struct ExampleMetrics {
///         /// Calls queued for Redis.
///         counter calls = "redis_calls";
///         /// 1 while the circuit breaker is open.
///         gauge breaker_open = "redis_breaker_open";
///         /// Time from a call to its answer.
///         histogram latency(&[250, 500, 1_000]) = "redis_latency_seconds";
///         /// Answers by kind.
///         labelled answers("kind", &["integers", "error"]) = "redis_answers";
///         /// Failures by code.
///         codes failures("code") = "redis_failures";
///         /// How long the core has worked.
///         time busy = "busy_seconds";
///         /// How late the core is.
///         span lag = "lag_seconds";
///     }
/// }
/// let metrics = ExampleMetrics::default();
/// metrics.calls.add(1);
/// metrics.answers.at(1).add(1);
/// ```
#[macro_export]
macro_rules! metric_group {
    ($(#[$meta:meta])* $visibility:vis struct $group:ident {
        $($(#[doc = $help:literal])+ $kind:ident $field:ident $(($($argument:expr),+))? = $name:literal;)+
    }) => {
        $(#[$meta])*
        #[derive(Debug)]
        $visibility struct $group {
            $($(#[doc = $help])+ pub $field: $crate::metric_group!(@type $kind),)+
        }

        impl Default for $group {
            fn default() -> Self {
                Self { $($field: $crate::metric_group!(@new $kind $(($($argument),+))?),)+ }
            }
        }

        impl $crate::telemetry::metrics::MetricGroup for $group {
            fn each(&self, visit: &mut dyn FnMut($crate::telemetry::metrics::Metric<'_>)) {
                $(visit($crate::telemetry::metrics::Metric {
                    name: $name,
                    help: concat!($($help),+),
                    value: $crate::metric_group!(@value $kind self.$field),
                });)+
            }
        }
    };
    (@type counter) => { $crate::telemetry::metrics::Counter };
    (@type gauge) => { $crate::telemetry::metrics::Gauge };
    (@type histogram) => { $crate::telemetry::metrics::Histogram };
    (@type labelled) => { $crate::telemetry::metrics::Labelled };
    (@type codes) => { $crate::telemetry::metrics::Codes };
    (@type time) => { $crate::telemetry::metrics::Counter };
    (@type span) => { $crate::telemetry::metrics::Gauge };
    (@new counter) => { Default::default() };
    (@new gauge) => { Default::default() };
    (@new time) => { Default::default() };
    (@new span) => { Default::default() };
    (@new codes ($label:expr)) => { $crate::telemetry::metrics::Codes::new($label) };
    (@new histogram ($bounds:expr)) => { $crate::telemetry::metrics::Histogram::new($bounds) };
    (@new labelled ($label:expr, $values:expr)) => { $crate::telemetry::metrics::Labelled::new($label, $values) };
    (@value counter $metric:expr) => { $crate::telemetry::metrics::Value::Counter($metric.get()) };
    (@value gauge $metric:expr) => { $crate::telemetry::metrics::Value::Gauge($metric.get()) };
    (@value histogram $metric:expr) => { $crate::telemetry::metrics::Value::Histogram(&$metric) };
    (@value labelled $metric:expr) => { $crate::telemetry::metrics::Value::Labelled(&$metric) };
    (@value codes $metric:expr) => { $crate::telemetry::metrics::Value::Codes(&$metric) };
    (@value time $metric:expr) => { $crate::telemetry::metrics::Value::Time($metric.get()) };
    (@value span $metric:expr) => { $crate::telemetry::metrics::Value::Span($metric.get()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::metric_group! {
        /// A group of every kind.
        struct Group {
            /// Calls.
            counter calls = "calls";
            /// Open.
            gauge open = "open";
            /// Latency.
            histogram latency(&[1, 2]) = "latency_seconds";
            /// Answers.
            labelled answers("kind", &["a", "b"]) = "answers";
            /// Failures.
            codes failures("code") = "failures";
            /// Busy.
            time busy = "busy_seconds";
            /// Lag.
            span lag = "lag_seconds";
        }
    }

    #[test]
    fn a_scrape_sees_every_metric_of_a_group_once_by_name() {
        let group = Group::default();
        group.calls.add(3);
        group.open.set(2);
        group.latency.observe(1);
        group.answers.at(1).add(1);
        group.failures.add("late");
        group.busy.add(7);
        group.lag.set(8);
        let mut seen = Vec::new();
        group.each(&mut |metric| {
            let text = match metric.value {
                Value::Counter(n) | Value::Gauge(n) | Value::Time(n) | Value::Span(n) => n.to_string(),
                Value::Histogram(histogram) => histogram.sum_us().to_string(),
                Value::Labelled(family) => format!("{:?}", family.each().collect::<Vec<_>>()),
                Value::Codes(codes) => format!("{:?}", codes.each().collect::<Vec<_>>()),
            };
            seen.push(format!("{} {} {text}", metric.name, metric.help.trim()));
        });
        let answers = "answers Answers. [(\"a\", 0), (\"b\", 1)]";
        let failures = "failures Failures. [(\"late\", 1)]";
        let times = ["busy_seconds Busy. 7", "lag_seconds Lag. 8"];
        let before = ["calls Calls. 3", "open Open. 2", "latency_seconds Latency. 1", answers, failures];
        assert_eq!(seen, [&before[..], &times].concat());
    }
}
