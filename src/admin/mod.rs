//! The admin listener: health and metrics for operators, on the control thread, read-only. It reads requests with the
//! same HTTP/1 server as the public listener, so it is as strict.

mod listener;
mod pages;

pub use listener::serve;
pub use pages::Admin;
