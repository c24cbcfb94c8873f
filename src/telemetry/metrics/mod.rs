//! Metrics: counters, gauges, histograms and labelled counters, in one group for each module that counts.
//!
//! A module declares its group with [`metric_group!`](crate::metric_group) and takes that group alone. The core that
//! owns a group is its only writer; the control thread reads it when it is scraped.

mod exposition;
mod group;
mod kinds;
mod named;

pub use exposition::{Exposition, Format, Kind};
pub use group::{Labels, Metric, MetricGroup, Value};
pub use kinds::{Codes, Counter, Gauge, Histogram, Labelled};
pub use named::Named;
