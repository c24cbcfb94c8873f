//! The kinds of metrics: numbers with one writer, which other threads read.
#![allow(missing_docs)] // Of some fields and methods the name says everything.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::CODES_MAX;

/// A number that only grows. It has one writer, so adding is a load and a store, without an atomic read-modify-write. A
/// reader sees a value that was right a moment ago.
#[derive(Debug, Default)]
pub struct Counter(Number);

/// A number that grows and shrinks. It has one writer, as a [`Counter`] has.
#[derive(Debug, Default)]
pub struct Gauge(Number);

#[derive(Debug, Default)]
struct Number(AtomicU64);

impl Number {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Counter {
    /// Adds; wraps at 2^64 as Prometheus counters may.
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Gauge {
    /// Raises the value.
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    /// Lowers the value.
    pub fn subtract(&self, n: u64) {
        self.0.set(self.0.get().wrapping_sub(n));
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.set(value);
    }

    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Durations by size, in µs.
#[derive(Debug)]
pub struct Histogram {
    /// Upper ends of the buckets, in µs, ascending.
    bounds_us: &'static [u64],
    /// Observations up to each bound (and above the one before it), then those above the last.
    buckets: Box<[Counter]>,
    sum_us: Counter,
}

impl Histogram {
    /// A histogram without observations.
    pub fn new(bounds_us: &'static [u64]) -> Histogram {
        let buckets = (0..=bounds_us.len()).map(|_| Counter::default()).collect();
        Histogram { bounds_us, buckets, sum_us: Counter::default() }
    }

    /// Counts one duration.
    pub fn observe(&self, us: u64) {
        let bucket = self.bounds_us.iter().position(|bound| us <= *bound);
        self.buckets[bucket.unwrap_or(self.bounds_us.len())].add(1);
        self.sum_us.add(us);
    }

    /// The upper end of each bucket (`None`: unbounded), and the observations in it and in those below it.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let mut total = 0;
        self.buckets.iter().enumerate().map(move |(nth, bucket)| {
            total += bucket.get();
            (self.bounds_us.get(nth).copied(), total)
        })
    }

    /// The upper ends of the buckets, in µs.
    pub fn bounds_us(&self) -> &'static [u64] {
        self.bounds_us
    }

    /// The sum of all observations, in µs.
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

/// One counter for each value of a label. The values are known at compile time.
#[derive(Debug)]
pub struct Labelled {
    label: &'static str,
    values: &'static [&'static str],
    counters: Box<[Counter]>,
}

impl Labelled {
    /// All counters at 0.
    pub fn new(label: &'static str, values: &'static [&'static str]) -> Labelled {
        Labelled { label, values, counters: values.iter().map(|_| Counter::default()).collect() }
    }

    /// The counter of the label's value at this index.
    ///
    /// # Panics
    /// The label has fewer values.
    pub fn at(&self, index: usize) -> &Counter {
        &self.counters[index]
    }

    /// The label's name.
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// Each value of the label with its count.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.values.iter().copied().zip(self.counters.iter().map(Counter::get))
    }
}

/// One counter for each code that was counted. The codes are words of the program, so there are few; the list of them
/// comes together while it runs.
#[derive(Debug)]
pub struct Codes {
    label: &'static str,
    counters: Box<[(OnceLock<&'static str>, Counter)]>,
}

impl Codes {
    /// No code was counted yet.
    pub fn new(label: &'static str) -> Codes {
        Codes { label, counters: (0..CODES_MAX).map(|_| Default::default()).collect() }
    }

    /// Counts one more of a code. If there are too many codes, it counts as the last one's.
    pub fn add(&self, code: &'static str) {
        let is_its = |known: &OnceLock<&'static str>| *known.get_or_init(|| code) == code;
        let found = self.counters.iter().find(|(known, _)| is_its(known)).or(self.counters.last());
        if let Some((_, counter)) = found {
            counter.add(1);
        }
    }

    /// The label's name.
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// Each code that was counted, with its count.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counters.iter().map_while(|(known, counter)| Some((*known.get()?, counter.get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_apart_up_to_their_bound() {
        let codes = Codes::new("code");
        ["late", "lost", "late"].into_iter().for_each(|code| codes.add(code));
        assert_eq!(codes.each().collect::<Vec<_>>(), [("late", 2), ("lost", 1)]);
        for nth in 0..CODES_MAX {
            codes.add(format!("code {nth}").leak());
        }
        assert_eq!(codes.each().count(), CODES_MAX);
        assert_eq!(codes.each().map(|(_, count)| count).sum::<u64>(), 3 + CODES_MAX as u64);
    }

    #[test]
    fn a_gauge_goes_up_and_down() {
        let gauge = Gauge::default();
        gauge.add(5);
        gauge.subtract(2);
        assert_eq!(gauge.get(), 3);
    }

    #[test]
    fn an_observation_counts_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[250, 500]);
        for us in [0, 250, 251, 500, 501] {
            histogram.observe(us);
        }
        let counts: Vec<_> = histogram.cumulative().collect();
        assert_eq!(counts, [(Some(250), 2), (Some(500), 4), (None, 5)]);
        assert_eq!(histogram.sum_us(), 1_502);
    }

    #[test]
    fn a_labelled_counter_counts_each_value_apart() {
        let family = Labelled::new("class", &["2xx", "4xx"]);
        family.at(1).add(3);
        assert_eq!(family.each().collect::<Vec<_>>(), [("2xx", 0), ("4xx", 3)]);
    }
}
