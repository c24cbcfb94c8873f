//! Traces: which requests become spans, and where these go.

use std::fmt;
use std::time::Duration;

use super::tokens::{KeysUrl, Secret};

/// Traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Which requests are sampled.
    pub sample: TraceSample,
    /// Where spans go: the URL of the collector, to which `/v1/traces` is added.
    pub endpoint: Option<KeysUrl>,
    /// The whole URL instead.
    pub traces_endpoint: Option<KeysUrl>,
    /// The fields of each request to the collector.
    pub headers: Vec<(String, Secret)>,
    /// What the gateway is called.
    pub service_name: String,
    /// What else is said of it.
    pub resource: Vec<(String, String)>,
    /// How long the collector may take for one request.
    pub timeout: Duration,
}

/// Which part of the requests without a parent is sampled, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSample(u32);

impl Traces {
    /// Where spans go. `None`: nowhere.
    pub fn url(&self) -> Option<KeysUrl> {
        let below = |base: &KeysUrl| KeysUrl(format!("{}/v1/traces", base.0.trim_end_matches('/')));
        self.traces_endpoint.clone().or_else(|| self.endpoint.as_ref().map(below))
    }
}

impl TraceSample {
    /// No request.
    pub const OFF: TraceSample = TraceSample(0);
    /// Every request.
    pub const ALL: TraceSample = TraceSample(1_000_000);

    /// A part in millionths, up to [`TraceSample::ALL`].
    pub fn of_millionths(millionths: u32) -> Option<TraceSample> {
        (millionths <= TraceSample::ALL.0).then_some(TraceSample(millionths))
    }

    /// Whether requests become part of traces at all.
    pub fn is_on(self) -> bool {
        self != TraceSample::OFF
    }

    /// Whether a trace is sampled. `number`: one that is the same wherever the trace goes. Programs that sample by
    /// the id of a trace agree if their parts are the same.
    pub fn takes(self, number: u64) -> bool {
        let below = u128::from(self.0) << 63;
        u128::from(number >> 1) * 1_000_000 < below
    }
}

impl fmt::Display for TraceSample {
    /// The form in which an operator writes it: `0`, `0.05`, `1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / TraceSample::ALL.0, self.0 % TraceSample::ALL.0);
        match rest {
            0 => write!(f, "{whole}"),
            _ => f.write_str(format!("{whole}.{rest:06}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_numbers_is_sampled() {
        let part = |millionths| TraceSample::of_millionths(millionths).unwrap();
        let taken = |sample: TraceSample| {
            (0..10_000_u64).filter(|nth| sample.takes(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))).count()
        };
        assert_eq!((taken(TraceSample::OFF), taken(TraceSample::ALL)), (0, 10_000));
        assert!(TraceSample::ALL.takes(u64::MAX) && !TraceSample::OFF.takes(0));
        assert!((900..1_100).contains(&taken(part(100_000))), "{}", taken(part(100_000)));
        assert_eq!(TraceSample::of_millionths(1_000_001), None);
    }

    #[test]
    fn is_shown_as_it_is_written() {
        for (millionths, text) in [(0, "0"), (1, "0.000001"), (50_000, "0.05"), (1_000_000, "1")] {
            assert_eq!(TraceSample::of_millionths(millionths).unwrap().to_string(), text);
        }
    }
}
