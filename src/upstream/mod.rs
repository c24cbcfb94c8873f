//! Upstreams: the internal services, their members, and the connections that one core keeps to them.

mod announced;
mod balance;
mod choice;
mod context;
mod exchange;
mod h1;
mod handshake;
mod home;
mod lease;
mod member;
mod metrics;
mod opening;
mod pool;
mod quota;
mod response;
mod retry;
mod roster;
mod service;
mod slot;
mod terms;

pub use balance::hash_of;
pub use choice::Choice;
pub use context::ExchangeContext;
pub use exchange::ResponseReader;
pub use handshake::TlsClient;
pub use home::Home;
pub use lease::{Lease, TooManyStreams, Use};
pub use member::Member;
pub use metrics::UpstreamMetrics;
pub use response::{Arrived, Expected, ResponseError};
pub use roster::{CoreNumber, CoreRecord, MemberRecord, Roster, RosterMember, Standing, roster};
pub use service::{LeaseError, Upstream};
pub use terms::Terms;
