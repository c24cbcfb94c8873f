//! One core's state, in two halves: what one configuration means ([`Snapshot`]) and what outlives every configuration
//! ([`Resources`]).
//!
//! ```text
//! ActiveCore ──▶ Core ──▶ Snapshot     config, routes, limiter, upstreams: replaced as a whole by a reload
//!                    └──▶ Resources    I/O, metrics, logs, request ids, tunnels: made once
//! ```

mod active;
pub mod bulletin;
mod limit_labels;
pub mod live;
pub mod metrics;
pub mod readiness;
pub mod request_id;
mod refusal_notes;
mod resources;
mod roll_call;
mod snapshot;
mod state;

pub use active::ActiveCore;
pub use metrics::Metrics;
pub use refusal_notes::RefusalNotes;
pub use resources::{ConnectionsBound, Logouts, Prepared, Resources, Room};
pub use roll_call::{Presences, Present, RollCall};
pub use snapshot::{Replacement, Snapshot, body_bytes_max, head_limits};
pub use state::{Beginning, Core};
