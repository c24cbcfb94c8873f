//! What the limits of a configuration are called in metrics and in the access log, and what is counted of each.

use std::sync::Arc;

use crate::config::Config;
use crate::limit::{LimitDecisions, LimitId, LimitOutcome};
use crate::telemetry::metrics::Named;

/// One limit.
pub struct LimitLabel {
    /// Its name: `global`, `bad_credentials`, or that of its route and its place there, as in `shop:1`, which no
    /// route can be called.
    pub name: String,
    decisions: Arc<LimitDecisions>,
}

/// The limits of one configuration.
pub struct LimitLabels {
    global: LimitLabel,
    strangers: LimitLabel,
    /// Those of each route.
    of_routes: Vec<Vec<LimitLabel>>,
}

impl LimitLabels {
    /// Those of this configuration. A limit that another one has had before goes on with its numbers.
    pub(super) fn new(config: &Config, metrics: &Named<LimitDecisions>) -> LimitLabels {
        let label = |name: String| LimitLabel { decisions: metrics.of(&name), name };
        let of_route = |route: &crate::config::Route| {
            (1..=route.limits.len()).map(|nth| label(format!("{}:{nth}", route.name))).collect()
        };
        LimitLabels {
            global: label("global".to_owned()),
            strangers: label("bad_credentials".to_owned()),
            of_routes: config.routes.iter().map(of_route).collect(),
        }
    }

    /// The limit of a request whose route has this index.
    pub fn of(&self, limit: LimitId, route: Option<usize>) -> Option<&LimitLabel> {
        match limit {
            LimitId::Global => Some(&self.global),
            LimitId::Strangers => Some(&self.strangers),
            LimitId::Own(nth) => self.of_routes.get(route?)?.get(nth),
        }
    }

    /// All names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let of_routes = self.of_routes.iter().flatten();
        [&self.global, &self.strangers].into_iter().chain(of_routes).map(|label| label.name.as_str())
    }
}

impl LimitLabel {
    /// It has decided so.
    pub fn count(&self, outcome: LimitOutcome) {
        self.decisions.decisions.at(outcome as usize).add(1);
    }
}
