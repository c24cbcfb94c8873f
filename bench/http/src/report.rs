//! What came of a load: counts, and latencies with three significant digits.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::connection::Lost;
use crate::plan::Plan;

pub struct Report {
    asked_rate: f64,
    expected: u16,
    /// From the first measured request's due time to the last answer, or to the end of the schedule if that is later.
    pub measured: Duration,
    statuses: BTreeMap<u16, u64>,
    lost: BTreeMap<Lost, u64>,
    unanswered: u64,
    /// In nanoseconds, like the next two: from when a request was due to the last byte of its answer.
    pub latency: Histogram<u64>,
    /// From when it was sent.
    pub uncorrected: Histogram<u64>,
    /// From when it could have been sent to when it was: what the generator itself adds.
    late: Histogram<u64>,
}

impl Report {
    pub fn new(plan: &Plan) -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS)
                .expect("such bounds are possible")
        };
        Self {
            asked_rate: plan.rate,
            expected: plan.expected,
            measured: plan.measured,
            statuses: BTreeMap::new(),
            lost: BTreeMap::new(),
            unanswered: 0,
            latency: histogram(),
            uncorrected: histogram(),
            late: histogram(),
        }
    }

    pub fn answered(&mut self, status: u16, latency_ns: u64, uncorrected_ns: u64) {
        *self.statuses.entry(status).or_default() += 1;
        self.latency.saturating_record(latency_ns);
        self.uncorrected.saturating_record(uncorrected_ns);
    }

    /// A connection ended, perhaps under a request.
    pub fn lost(&mut self, lost: Lost) {
        *self.lost.entry(lost).or_default() += 1;
    }

    /// A request that has waited for so long in vain. It would have taken longer still.
    pub fn unanswered(&mut self, waited_ns: u64) {
        self.unanswered += 1;
        self.latency.saturating_record(waited_ns);
    }

    pub fn was_late(&mut self, late_ns: u64) {
        self.late.saturating_record(late_ns);
    }

    /// Requests that were answered.
    pub fn requests(&self) -> u64 {
        self.statuses.values().sum()
    }

    pub fn errors(&self) -> u64 {
        self.lost.values().sum::<u64>() + self.unanswered
    }

    /// The errors by their kind, a line each.
    pub fn losses(&self) -> impl Iterator<Item = String> {
        let unanswered = (self.unanswered > 0).then(|| format!("{} × no answer in time", self.unanswered));
        self.lost.iter().map(|(lost, count)| format!("{count} × {lost:?}")).chain(unanswered)
    }

    pub fn json(&self) -> String {
        let requests = self.requests();
        let seconds = self.measured.as_secs_f64();
        let unexpected = requests - self.statuses.get(&self.expected).unwrap_or(&0);
        let statuses: Vec<_> = self.statuses.iter().map(|(status, n)| format!("\"{status}\": {n}")).collect();
        format!(
            "{{\"requests\": {requests}, \"errors\": {}, \"unexpected_status\": {unexpected}, \
             \"status\": {{{}}}, \"seconds\": {seconds:.3}, \"asked_rate\": {}, \"rate\": {:.1}, \
             \"latency_us\": {}, \"uncorrected_us\": {}, \"generator_us\": {}}}",
            self.errors(),
            statuses.join(", "),
            self.asked_rate,
            requests as f64 / seconds,
            percentiles(&self.latency),
            percentiles(&self.uncorrected),
            percentiles(&self.late),
        )
    }
}

fn percentiles(histogram: &Histogram<u64>) -> String {
    let us = |ns: u64| ns as f64 / 1e3;
    let at = |(name, quantile)| format!("\"{name}\": {:.1}, ", us(histogram.value_at_quantile(quantile)));
    let listed: String = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)].map(at).concat();
    format!("{{{listed}\"max\": {:.1}}}", us(histogram.max()))
}

/// Longer ones count as this, in nanoseconds.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;
