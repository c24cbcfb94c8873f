//! The control thread: everything slow or rare. It prepares immutable values and sends them to the cores.

pub mod mailbox;
pub mod names;
pub mod shutdown;
pub mod watch;

pub use mailbox::{Mailbox, Order, Postbox, Target};
