//! Metrics: counters, gauges, histograms and labelled counters, in one group for each module that counts.
//!
//! A module declares its group with [`metric_group!`](crate::metric_group) and takes that group alone. The core that
//! owns a group is its only writer; the control thread reads it when it is scraped.

mod group;
mod kinds;
pub mod prometheus;

pub use group::{Metric, MetricGroup, Value};
pub use kinds::{Counter, Gauge, Histogram, Labelled};
