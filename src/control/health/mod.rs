//! Health of members: what all cores have seen of each (`outlier`), what its probes say (`active`), and who is out
//! because of it (`verdict`). Pure: numbers and the time go in, changes come out.

mod active;
mod failing;
mod outlier;
mod verdict;

pub use active::Active;
pub use failing::{Failing, Outage, Word};
pub use outlier::Seen;
pub use verdict::{Change, MemberHealth, Reason, UpstreamHealth};
