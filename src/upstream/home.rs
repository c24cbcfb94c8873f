//! What the upstreams of one core have in common.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use super::metrics::UpstreamMetrics;
use super::quota::Quota;
use super::roster::CoreNumber;
use crate::telemetry::metrics::Named;

/// What the upstreams of one core have in common.
pub struct Home {
    /// Which core it is.
    pub(super) core: CoreNumber,
    /// A number that all cores of the process share, and another process does not.
    pub(super) seed: u64,
    /// What they have open.
    pub(super) quota: Rc<Quota>,
    /// Their metrics, by name.
    pub(super) metrics: Arc<Named<UpstreamMetrics>>,
}

impl Home {
    /// That of this core. `open_max`: connections to upstreams after which idle ones are closed.
    pub fn new(core: CoreNumber, open_max: usize, metrics: Arc<Named<UpstreamMetrics>>) -> Home {
        let seed = *PROCESS_SEED.get_or_init(|| RandomState::new().hash_one(()));
        Home { core, seed, quota: Rc::new(Quota::new(open_max)), metrics }
    }
}

/// Of all cores.
static PROCESS_SEED: OnceLock<u64> = OnceLock::new();
