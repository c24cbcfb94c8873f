//! The control thread: slow or rare work that must not block the cores. It prepares immutable values and sends them
//! to the cores.

pub mod inherit;
pub mod mailbox;
pub mod manager;
pub mod names;
pub mod pid_file;
pub mod process;
pub mod reload;
pub mod running;
pub mod shutdown;
pub mod signals;
pub mod sockets;
pub mod upgrade;
pub mod watch;

pub use mailbox::{ListenerDrain, Order, OrderReceiver, OrderSender, Target};
