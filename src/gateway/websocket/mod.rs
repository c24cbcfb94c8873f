//! WebSockets: the handshake, the upgrade of both connections, and the tunnel that follows.

pub mod handles;
pub mod handshake;
pub mod leashes;
mod metrics;
pub mod online;
pub mod renewal;
pub mod pace;
pub mod slots;
pub mod tunnel;
pub mod upgrade;

pub use metrics::TunnelMetrics;
pub use tunnel::{Departed, Departures, DrainSchedule, Handover, Lines, Stay, Tunnels};
