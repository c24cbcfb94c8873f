//! The crossing: live tunnels move to the process that succeeds this one in a hot upgrade, and their peers see nothing.
//!
//! ```text
//! old core                                   new core
//! stops up to 64 tunnels between two polls
//!   ── record: states, both sockets of each ──▶ reads the states
//!   ◀───────────────── verdict on each tunnel ── and serves those that it has taken
//! forgets these, goes on with the others
//! ```
//!
//! Each core of the old process has a pair of sockets of its own; the new process has their other ends over its cores,
//! however many these are. One record is under way at a time, so a tunnel stands still for the time of one.
//!
//! **A tunnel has one owner at any time.** The old process keeps sockets and state until it has read the verdict. The
//! new one polls the sockets only after the verdict was *sent*: if it cannot be, it drops them. The old process takes a
//! record back only by `shutdown(2)` of its end, after which nothing can be sent to it, followed by a look at what was
//! queued before: a verdict found there counts.
//!
//! | what happens | what becomes of the tunnels |
//! |---|---|
//! | the new process ends or refuses before its verdict | the old one goes on with all of them, and says goodbye |
//! | the new process ends after its verdict | what it has taken is lost, as in any crash |
//! | the old process ends in the middle | what it has not sent is lost; what the new one has taken lives |
//! | the new process does not know the version, lacks descriptors, or has no such route | these stay, and get 1012 |
//! | TLS on either side; a goodbye under way; the time is over | these stay, and get 1012 |
//!
//! | file | holds |
//! |---|---|
//! | `record` | the bytes of records and verdicts, without I/O |
//! | `departures`, `depart` | the old side: which tunnels are called, and how they go |
//! | `arrive` | the new side |
//! | `lines` | the sockets between the processes, until the cores take them |

mod arrive;
mod depart;
mod departures;
mod lines;
mod record;

pub use self::arrive::arrive;
pub use self::depart::depart;
pub use self::departures::{Departed, Departures, Leaver, Stay};
pub use self::lines::Lines;
