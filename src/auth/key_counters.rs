//! What each key has verified, on one core.

use std::sync::{Arc, Mutex, PoisonError};

use crate::telemetry::metrics::{Labels, MetricGroup};

crate::metric_group! {
    /// Metrics of one key on one core.
    pub struct KeyMetrics {
        /// Signatures of tokens that a key was found to have made, by its issuer and its name. What comes from the
        /// cache of verified tokens is in none of them.
        counter verified = "tokens_verified";
    }
}

/// What a key is called in a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLabel {
    /// The name of its issuer.
    pub issuer: String,
    /// Its `kid`; of a key without one, what it is.
    pub key: String,
}

/// The counters of the keys of one core: as many as there are keys in force. The core changes the list when it takes
/// other keys, and a scrape copies it; nobody holds the lock for a request.
#[derive(Debug, Default)]
pub struct KeyCounters(Mutex<Vec<(KeyLabel, Arc<KeyMetrics>)>>);

impl KeyCounters {
    /// The counters of these keys, in their order: the one that a key has had before, if it was in force until now.
    /// What was counted of other keys is forgotten.
    pub(super) fn of(&self, labels: &[KeyLabel]) -> Vec<Arc<KeyMetrics>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = |label: &KeyLabel| {
            let before = known.iter().find(|(other, _)| other == label);
            before.map_or_else(Arc::default, |(_, counter)| counter.clone())
        };
        let counters: Vec<_> = labels.iter().map(counter).collect();
        *known = labels.iter().cloned().zip(counters.iter().cloned()).collect();
        counters
    }

    /// Calls `visit` with the metrics of each key and their labels.
    pub fn each_group(&self, visit: &mut dyn FnMut(Labels<'_>, &dyn MetricGroup)) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (KeyLabel { issuer, key }, counter) in &known {
            visit(&[("issuer", issuer), ("key", key)], &**counter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stays_keeps_its_number_and_one_that_goes_is_forgotten() {
        let label = |key: &str| KeyLabel { issuer: "id".to_owned(), key: key.to_owned() };
        let counters = KeyCounters::default();
        counters.of(&[label("a"), label("b")]).iter().for_each(|counter| counter.verified.add(2));
        counters.of(&[label("b"), label("c")])[0].verified.add(1);
        let mut shown = Vec::new();
        counters.each_group(&mut |labels, group| {
            group.each(&mut |metric| shown.push(format!("{} {:?}", labels[1].1, metric.value)));
        });
        assert_eq!(shown, ["b Counter(3)", "c Counter(0)"]);
    }
}
