//! What the admin listener knows of the process.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::issuers::IssuerRow;
use super::last_reload::LastReload;
use super::predecessor::DrainFigures;
use super::upstreams::UpstreamRow;
use crate::config::Config;
use crate::gateway::core::Metrics;
use crate::gateway::core::readiness::Readiness;
use crate::net::Io;
use crate::net::runtime::Driver;
use crate::telemetry::metrics::{Counter, Gauge, MetricGroup};
use crate::tls::Termination;

/// What has become of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanFigures {
    /// The collector has them.
    pub exported: u64,
    /// The collector could not be reached, or was not ready, for too long.
    pub undelivered: u64,
    /// The collector does not want them.
    pub refused: u64,
}

/// The state of the admin listener.
pub struct Admin {
    /// The readiness of the process.
    pub readiness: Arc<Readiness>,
    /// CPU, I/O driver and metrics of each core.
    pub cores: Vec<(usize, Driver, Metrics)>,
    /// The I/O driver of the control thread.
    pub control: Driver,
    /// Number of access-log lines that could not be written. `None` if the access log is off.
    pub access_log_refused: Option<Arc<Counter>>,
    /// Timers and buffers of the control thread.
    pub io: Rc<Io>,
    /// Set when the listener is handed over to the successor process.
    pub is_handed_over: Rc<Cell<bool>>,
    /// What came of the last reload.
    pub last_reload: Arc<LastReload>,
    /// The version of the configuration that every core should have applied.
    pub config_version: Arc<Gauge>,
    /// Returns the current configuration.
    pub config: Box<dyn Fn() -> Arc<Config>>,
    /// Returns what has become of spans: how many the collector has, and how many were lost, by reason. `None`: they
    /// go nowhere.
    pub spans: Box<dyn Fn() -> Option<SpanFigures>>,
    /// Returns what the process before this one still has open.
    pub predecessor: Box<dyn Fn() -> Option<DrainFigures>>,
    /// Returns the upstreams and their members.
    pub upstreams: Box<dyn Fn() -> Vec<UpstreamRow>>,
    /// Returns the issuers and their keys.
    pub issuers: Box<dyn Fn() -> Vec<IssuerRow>>,
    /// The metrics of the control stream, if there is one.
    pub stream: Option<Arc<dyn MetricGroup>>,
    /// Returns the current TLS towards clients.
    pub tls: Box<dyn Fn() -> Option<Arc<Termination>>>,
}
