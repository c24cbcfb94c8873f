//! The control thread: everything slow or rare. It prepares immutable values and sends them to the cores.

pub mod mailbox;
pub mod manager;
pub mod names;
pub mod reload;
pub mod running;
pub mod shutdown;
pub mod signals;
pub mod watch;

pub use mailbox::{Mailbox, Order, Postbox, Target};
