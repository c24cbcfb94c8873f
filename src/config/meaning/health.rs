//! Active health checks of an upstream.

use std::time::Duration;

/// How the members of an upstream are probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Path and query of the `GET`.
    pub path: String,
    /// From one probe of a member to the next, before jitter.
    pub interval: Duration,
    /// How long a probe may take, connecting included. At most `interval`.
    pub timeout: Duration,
    /// The statuses of a healthy member.
    pub expect: Vec<u16>,
    /// Successes in a row after which a member that is out is back.
    pub rise: u32,
    /// Failures in a row after which a member is out.
    pub fall: u32,
}
