//! The control thread: slow or rare work that must not block the cores. It prepares immutable values and tells the
//! cores which of them should be in force.

pub mod certificates;
pub mod desired;
mod drain_board;
pub mod fetch;
pub mod health;
mod heap;
pub mod inherit;
mod jitter;
pub mod keys;
pub mod mailbox;
pub mod manager;
pub mod masters;
pub mod members;
pub mod pid_file;
pub mod process;
mod refusals;
pub mod reload;
pub mod running;
pub mod shutdown;
pub mod signals;
pub mod sockets;
mod stamp;
pub mod stream;
pub mod traces;
pub mod upgrade;
pub mod upgrade_board;
pub mod upgrade_request;
pub mod watch;

pub use desired::{Desired, Drain, ListenerDrain, Phase, Step, Target};
pub use mailbox::{Cores, Mailbox, News};
