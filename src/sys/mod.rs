//! System calls that Rust cannot check. This is the only folder with `unsafe`.
#![allow(unsafe_code)]

mod fd;
mod queue;

pub use fd::fd_of;
pub use queue::unacknowledged;
