//! The admin listener: read-only health, readiness, metrics and the status page on the control thread. It uses the same
//! HTTP/1 server as the public listener, with the same strict parsing, and answers only to names of its own.

mod guests;
mod hosts;
mod issuers;
mod last_reload;
mod listener;
mod metrics;
mod moment;
mod pages;
mod predecessor;
mod process;
mod state;
mod status;
mod token;
mod upstreams;

pub use issuers::IssuerRow;
pub use last_reload::LastReload;
pub use listener::serve;
pub use predecessor::DrainFigures;
pub use state::{Admin, SpanFigures};
pub use upstreams::{MemberRow, UpstreamRow};
