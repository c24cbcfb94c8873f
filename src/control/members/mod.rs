//! The members of services: where they come from, who they are now, and how the cores learn it.
//!
//! ```text
//! configuration ─▶ Service ─▶ Directory ◀─answers── Lookup (system's resolver, DNS server, files)
//!                                 │                     on the thread of names
//!                              Rosters ─▶ Cores ─▶ every core
//!                               ▲   ▲
//!        what the cores have seen ┘   └ Prober
//! ```

mod directory;
mod enrolled;
mod lookup;
mod prober;
mod rosters;
mod service;
mod watch;

pub use directory::ListedMember;
pub use prober::Prober;
pub use rosters::Rosters;
pub use service::Service;
pub use watch::MemberWatch;
