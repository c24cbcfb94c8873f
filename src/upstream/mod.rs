//! Upstreams: the internal services, their members, and the connections that one core keeps to them.

mod balance;
mod exchange;
mod h1;
mod handshake;
mod lease;
mod member;
mod metrics;
mod pool;
mod response;
mod roster;
mod service;
mod slot;
mod context;

pub use context::ExchangeContext;
pub use exchange::ResponseReader;
pub use handshake::TlsClient;
pub use lease::{Lease, Use};
pub use member::Member;
pub use metrics::UpstreamMetrics;
pub use response::{Arrived, Expected, ResponseError};
pub use roster::{CoreNumber, CoreRecord, MemberRecord, Roster, RosterMember, Standing, roster};
pub use service::{LeaseError, Upstream};
