//! System calls that the compiler cannot check. This is the only folder with `unsafe` code.
#![allow(unsafe_code)]

mod fd;
mod heap;
mod queue;

pub use fd::fd_of;
pub use heap::trim_heap;
pub use queue::unacknowledged;
